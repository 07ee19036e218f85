"""Ranks, ties, probabilities and the words that go with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.nouns import Estimate, Quantile
from harness.ranking import COST, LATENCY, OBJECTIVES, THROUGHPUT, Entry, Ranking, rank

NONE = Estimate(value=None, low=None, high=None, reason="no price is known for the instance")


def _estimate(value: float, spread: float) -> Estimate:
    return Estimate(value=value, low=value / spread, high=value * spread)


def _quantile(value: float, spread: float, n: int = 2000) -> Quantile:
    return Quantile(value=value, low=value / spread, high=value * spread, n=n)


def _entry(name: str, cost: float, spread: float = 1.05, **more: object) -> Entry:
    """A candidate whose three figures all get worse with `cost`."""
    entry = Entry(
        id=name,
        usd_per_million=_estimate(cost, spread),
        capacity_per_s=_estimate(100 / cost, spread),
        latency_ms={"p50": _quantile(10 * cost, spread), "p99": _quantile(30 * cost, spread)},
    )
    return replace(entry, **more)  # type: ignore[arg-type]


def _rank(*entries: Entry, objective: str = COST, seed: int = 1) -> Ranking:
    return rank(entries, objective, np.random.default_rng(seed), reference_rate_per_s=40.0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_clear_differences_are_ranked_in_order(objective: str) -> None:
    got = _rank(_entry("tvm", 1.38), _entry("ort", 1.0), _entry("eager", 3.0), objective=objective)
    assert [(p.id, p.rank, p.tie_group) for p in got.places] == [("ort", 1, 1), ("tvm", 2, 2), ("eager", 3, 3)]
    assert got.winner is not None
    assert got.winner.probability_best > 0.999
    assert got.unranked == ()


@pytest.mark.parametrize(
    ("objective", "metric", "reason", "why"),
    [
        (
            COST,
            "usd_per_million",
            "1.38x (1.29-1.48) the cost of ort at the same SLO",
            "ort has the lowest cost at the same SLO; ",
        ),
        (
            THROUGHPUT,
            "capacity_per_s",
            "0.72x (0.68-0.78) the capacity of ort at the same SLO",
            "ort has the highest capacity at the",
        ),
        (
            LATENCY,
            "p99_ms",
            "1.38x (1.29-1.48) the p99 latency of ort at 40/s",
            "ort has the lowest p99 latency at 40/s; the next, tvm,",
        ),
    ],
)
def test_reasons_name_figure_interval_rival_and_condition(objective: str, metric: str, reason: str, why: str) -> None:
    got = _rank(_entry("ort", 1.0), _entry("tvm", 1.38), objective=objective)
    assert got.metric == metric
    assert got.places[1].reason == reason
    assert got.why.startswith(why)
    assert got.why.endswith("best with probability 1.00")


def test_overlapping_intervals_tie_and_share_the_rank() -> None:
    got = _rank(_entry("a", 1.00, 1.1), _entry("b", 1.08, 1.1), _entry("c", 2.0, 1.1))
    assert [(p.id, p.rank, p.tie_group) for p in got.places] == [("a", 1, 1), ("b", 1, 1), ("c", 3, 2)]
    assert got.places[1].reason.startswith("ties with a: 1.08x (")
    assert got.places[1].reason.endswith("the interval includes 1")
    assert got.why.startswith(
        "a has the lowest estimate of cost at the same SLO, but ties with b (1.08x); best with probability 0.8"
    )


def test_less_than_two_percent_ties_however_narrow_the_intervals() -> None:
    near, far = (
        _rank(_entry("a", 1.0, 1.0001), _entry("b", 1.019, 1.0001)),
        _rank(_entry("a", 1.0, 1.0001), _entry("b", 1.021, 1.0001)),
    )
    assert [p.tie_group for p in near.places] == [1, 1]
    assert near.places[1].reason.endswith("differs by less than 2%")
    assert [p.tie_group for p in far.places] == [1, 2]


def test_the_groups_best_decides_who_ties() -> None:
    # c cannot be told from a because c itself is uncertain, although b, between them, can.
    got = _rank(_entry("a", 1.0, 1.02), _entry("b", 1.1, 1.02), _entry("c", 1.15, 1.5))
    assert [(p.id, p.tie_group, p.rank) for p in got.places] == [("a", 1, 1), ("c", 1, 1), ("b", 2, 3)]


def test_spread_between_server_starts_can_make_a_tie() -> None:
    steady = _rank(_entry("a", 1.0, 1.01), _entry("b", 1.1, 1.01))
    shaky = _rank(
        _entry("a", 1.0, 1.01, replicate_log_sd=0.1, replicates=3), _entry("b", 1.1, 1.01, replicate_log_sd=0.1, replicates=3)
    )
    assert [p.tie_group for p in steady.places] == [1, 2]
    assert [p.tie_group for p in shaky.places] == [1, 1]


def test_what_has_no_figure_is_not_ranked_and_says_why() -> None:
    got = _rank(
        _entry("a", 1.0),
        _entry("b", 1.0, usd_per_million=NONE),
        _entry("c", 0.1, rejected="wrong outputs"),
        _entry("d", 1.0, usd_per_million=Estimate(value=0.0, low=0.0, high=0.0)),
        _entry("e", 1.0, usd_per_million=Estimate(value=2.0, low=None, high=None)),
    )
    assert [p.id for p in got.places] == ["a"]
    assert {u.id: u.reason for u in got.unranked} == {
        "b": "no price is known for the instance",
        "c": "wrong outputs",
        "d": "its figure for cost, 0, cannot be compared as a ratio",
        "e": "its figure for cost has no interval",
    }
    assert got.why == "a is the only candidate that could be ranked by cost at the same SLO"


def test_nobody_can_be_ranked() -> None:
    got = _rank(_entry("a", 1.0, usd_per_million=NONE))
    assert got.winner is None
    assert got.why == "no candidate could be ranked by cost: a: no price is known for the instance"
    assert _rank().why == "no candidate could be ranked by cost"


def test_latency_is_compared_at_the_highest_quantile_all_have() -> None:
    short = Quantile(value=None, low=None, high=None, n=240, reason="n=240: p99 needs 1000")
    few = {"p50": _quantile(12, 1.05), "p95": _quantile(20, 1.1), "p99": short}
    many = {"p50": _quantile(10, 1.05), "p95": _quantile(30, 1.1), "p99": _quantile(40, 1.1)}
    unmeasured = _entry("c", 1.0, latency_ms={"p50": replace(short, reason="n=3: p50 needs 20")})
    got = _rank(_entry("a", 1.0, latency_ms=few), _entry("b", 1.0, latency_ms=many), unmeasured, objective=LATENCY)
    assert got.metric == "p95_ms"
    assert [p.id for p in got.places] == ["a", "b"]
    assert "p95 latency" in got.why
    assert got.unranked[0].reason == "no latency at the reference rate to compare: n=3: p50 needs 20"


def test_an_open_ended_interval_counts_its_known_half_twice() -> None:
    open_ended = {
        "p99": Quantile(value=30.0, low=25.0, high=None, n=1000, reason="0.8 % of requests failed, so p99 has no upper bound")
    }
    got = _rank(
        _entry("a", 1.0, latency_ms=open_ended), _entry("b", 1.15, latency_ms={"p99": _quantile(35, 1.01)}), objective=LATENCY
    )
    assert [p.tie_group for p in got.places] == [1, 1]


def test_mistakes_of_the_caller_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown objective 'speed'"):
        _rank(objective="speed")
    with pytest.raises(ValueError, match="same id"):
        _rank(_entry("a", 1.0), _entry("a", 2.0))


def test_probability_best_agrees_with_the_normal_difference() -> None:
    got = _rank(_entry("a", 1.0, 1.1), _entry("b", 1.05, 1.1))
    # Two log-normals with error ln(1.1)/1.96 each: P = Phi(ln(1.05) / (sqrt(2) ln(1.1) / 1.96)) = 0.761.
    assert got.places[0].probability_best == pytest.approx(0.761, abs=0.015)


ENTRIES = st.lists(st.tuples(st.floats(0.5, 5), st.floats(1.0, 1.6)), min_size=1, max_size=7)


def _entries(raw: list[tuple[float, float]]) -> list[Entry]:
    return [_entry(f"c{i}", cost, spread) for i, (cost, spread) in enumerate(raw)]


@given(ENTRIES, st.randoms(use_true_random=False), st.sampled_from(OBJECTIVES))
def test_the_order_of_the_entries_does_not_matter(raw: list[tuple[float, float]], random: object, objective: str) -> None:
    entries = _entries(raw)
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _rank(*entries, objective=objective) == _rank(*shuffled, objective=objective)


@given(ENTRIES, st.integers(0, 6), st.floats(0.3, 0.99))
def test_getting_better_never_costs_a_rank(raw: list[tuple[float, float]], index: int, factor: float) -> None:
    entries = _entries(raw)
    chosen = entries[index % len(entries)]
    cost, spread = raw[index % len(entries)]
    better = [_entry(e.id, cost * factor, spread) if e.id == chosen.id else e for e in entries]
    before = next(p.rank for p in _rank(*entries).places if p.id == chosen.id)
    after = next(p.rank for p in _rank(*better).places if p.id == chosen.id)
    assert after <= before


@given(ENTRIES, st.sampled_from(OBJECTIVES))
def test_every_ranking_is_consistent(raw: list[tuple[float, float]], objective: str) -> None:
    got = _rank(*_entries(raw), objective=objective)
    assert sum(p.probability_best for p in got.places) == pytest.approx(1)
    assert got.places[0].rank == 1
    for before, after in zip(got.places, got.places[1:], strict=False):
        assert after.tie_group - before.tie_group in (0, 1)
        assert (after.rank == before.rank) == (after.tie_group == before.tie_group)
    for number, place in enumerate(got.places, 1):
        assert place.rank <= number
        assert place.ratio.low is not None
        assert place.ratio.value is not None
        assert place.ratio.high is not None
        assert place.ratio.low <= place.ratio.value <= place.ratio.high
        assert place.reason


@given(st.floats(0.01, 1e4), st.floats(1.0, 2.0), st.integers(2, 5))
def test_identical_entries_tie_and_are_equally_likely_best(cost: float, spread: float, count: int) -> None:
    got = _rank(*(_entry(f"twin{i}", cost, spread) for i in range(count)))
    assert {(p.rank, p.tie_group) for p in got.places} == {(1, 1)}
    for place in got.places:
        assert place.probability_best == pytest.approx(1 / count, abs=0.02)


def test_twins_are_separated_in_at_most_five_percent_of_sweeps() -> None:
    rng, separated = np.random.default_rng(31), 0
    error = 0.05
    for _ in range(400):
        a, b = np.exp(rng.normal(0, error, 2))
        spread = float(np.exp(1.96 * error))
        separated += len({p.tie_group for p in _rank(_entry("a", float(a), spread), _entry("b", float(b), spread)).places}) > 1
    assert separated <= 0.08 * 400
