"""A run stretch by stretch, and the verdict on an SLO, against samples whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from harness import slo
from harness.nouns import LoadProfile, Segment
from harness.phases import MET, MISSED, OPEN, check, phases, verdict
from loadprofiles.samples import ABSENT_NS, DROPPED, FAILED, RECORD, SUCCEEDED

MS, S = 1_000_000, 1_000_000_000
START = 5 * S


def records(due_ms: np.ndarray, latency_ms: np.ndarray, outcome: int = SUCCEEDED) -> np.ndarray:
    found = np.zeros(len(due_ms), RECORD)
    found["due_ns"] = found["sent_ns"] = START + np.asarray(due_ms * MS, np.int64)
    found["done_ns"] = found["due_ns"] + np.asarray(latency_ms * MS, np.int64)
    found["outcome"] = outcome
    if outcome == DROPPED:
        found["sent_ns"] = found["done_ns"] = ABSENT_NS
    return found


def two_stretches() -> LoadProfile:
    segments = (Segment(duration_s=1, start=100, end=100), Segment(duration_s=2, start=100, end=300))
    return LoadProfile(arrivals="constant", duration_s=3, seed=0, segments=segments)


def test_every_request_is_in_the_stretch_in_which_it_was_due() -> None:
    early = records(np.arange(0, 1000, 5.0), np.full(200, 2.0))
    late = records(np.linspace(1000, 2990, 400), np.full(400, 20.0))
    dropped = records(np.full(50, 2500.0), np.zeros(50), DROPPED)
    first, second = phases(np.concatenate([late, dropped, early]), two_stretches(), START)
    assert (first.planned, first.succeeded, first.begins_s, first.offered_per_s) == (200, 200, 0, 200)
    assert (second.planned, second.succeeded, second.begins_s, second.offered_per_s) == (450, 400, 1, 225)
    assert (first.start, first.end, second.start, second.end) == (100, 100, 100, 300)
    assert first.latency_ms["p50"].value == pytest.approx(2)
    assert second.latency_ms["p50"].value == pytest.approx(20)
    assert second.latency_ms["p90"].reason == "11.1 % of requests failed"  # lost ones are the slowest


def test_an_answer_counts_in_the_stretch_in_which_it_arrived() -> None:
    samples = records(np.array([900.0, 950.0, 1500.0]), np.array([50.0, 200.0, 10_000.0]))
    first, second = phases(samples, two_stretches(), START)
    assert (first.answered_per_s, second.answered_per_s) == (1, 0.5)


def test_a_load_that_stays_the_same_has_no_stretches() -> None:
    flat = LoadProfile(arrivals="poisson", duration_s=3, seed=0, rate_per_s=10)
    assert phases(records(np.arange(3.0), np.ones(3)), flat, START) == ()


def spread(n: int, slow: int) -> np.ndarray:
    """`n` requests, `slow` of them over 100 ms, evenly spread so that they are independent for all anyone can see."""
    latency = np.full(n, 10.0)
    if slow:
        latency[:: n // slow][:slow] = 200.0
    return records(np.arange(float(n)), latency)


@pytest.mark.parametrize(
    ("n", "slow", "said"),
    [(1000, 0, MET), (1000, 5, OPEN), (10_000, 10, MET), (1000, 60, MISSED), (200, 0, OPEN), (1000, 12, OPEN)],
)
def test_a_latency_limit_is_decided_by_the_interval(n: int, slow: int, said: str) -> None:
    limit, errors = check(spread(n, slow), slo.parse("p99<100ms"))
    assert limit.verdict == said
    assert limit.share == pytest.approx(slow / n)
    assert limit.low is not None
    assert limit.high is not None
    assert limit.low <= slow / n <= limit.high
    assert errors.verdict == MET
    assert verdict((limit, errors)) == said


def test_slow_requests_in_one_burst_prove_less_than_as_many_apart() -> None:
    burst = spread(1000, 0)
    burst["done_ns"][400:460] += 500 * MS
    apart = check(spread(1000, 60), slo.parse("p99<100ms"))[0]
    together = check(burst, slo.parse("p99<100ms"))[0]
    assert together.share == apart.share
    assert together.high is not None
    assert apart.high is not None
    assert together.high > apart.high
    assert together.verdict == OPEN


def test_lost_requests_break_every_limit_and_the_error_ratio() -> None:
    lost = records(np.arange(2.5, 1000, 5), np.full(200, 1.0), FAILED)
    rows = check(np.concatenate([spread(1000, 0), lost]), slo.parse("p50<100ms,p90<100ms,errors<1%"))
    assert [each.verdict for each in rows] == [MET, MISSED, MISSED]
    assert rows[1].share == rows[2].share == pytest.approx(1 / 6)
    assert verdict(rows) == MISSED


def test_of_nothing_nothing_can_be_told() -> None:
    rows = check(np.empty(0, RECORD), slo.parse("p50<1ms"))
    assert verdict(rows) == OPEN
    assert all(each.share is None for each in rows)
