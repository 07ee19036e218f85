from __future__ import annotations

import pytest

from harness.depth import Round
from harness.nouns import Estimate
from harness.race import contenders, step_s
from harness.ranking import Entry

ROUND = Round(load_s=60.0, steps=2, step_min_s=6.0, step_max_s=15.0)


def entry(name: str, capacity: float, spread: float) -> Entry:
    known = Estimate(value=capacity, low=capacity / spread, high=capacity * spread)
    cost = Estimate(value=1 / capacity, low=1 / known.high, high=1 / known.low) if known.high and known.low else known
    return Entry(id=name, usd_per_million=cost, capacity_per_s=known)


def test_who_is_clearly_behind_leaves_and_who_might_win_stays() -> None:
    entries = [entry("best", 10.0, 1.1), entry("near", 9.5, 1.1), entry("far", 3.0, 1.1), entry("wide", 3.0, 8.0)]
    for objective in ("cost", "throughput"):
        verdict = contenders(entries, objective, [each.id for each in entries])
        assert [name for name, reason in verdict.items() if reason is None] == ["best", "near", "wide"]
        assert "of best" in (verdict["far"] or "")


def test_a_candidate_without_a_figure_has_not_lost() -> None:
    unknown = Estimate(value=None, low=None, high=None, reason="its runs were invalid")
    entries = [entry("best", 10.0, 1.1), Entry(id="unmeasured", usd_per_million=unknown, capacity_per_s=unknown)]
    assert contenders(entries, "cost", ["best", "unmeasured", "never entered"]) == {
        "best": None,
        "unmeasured": None,
        "never entered": None,
    }


def test_by_latency_nobody_leaves_during_the_search() -> None:
    entries = [entry("best", 10.0, 1.1), entry("far", 3.0, 1.1)]
    assert set(contenders(entries, "latency", ["best", "far"]).values()) == {None}


@pytest.mark.parametrize(
    ("contending", "rate", "seconds"),
    [(5, 100.0, 6.0), (3, 100.0, 10.0), (2, 100.0, 15.0), (5, 4.0, 10.0), (5, 0.5, 15.0)],
)
def test_fewer_candidates_and_slower_models_are_looked_at_longer(contending: int, rate: float, seconds: float) -> None:
    assert step_s(ROUND, contending, rate) == pytest.approx(seconds)
