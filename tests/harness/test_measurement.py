"""Measurements from samples made by hand and by a simulated server."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import measurement
from harness.measurement import GeneratorReport, ServerUse
from harness.nouns import SLO, LatencyLimit, LoadProfile, Validity
from loadprofiles.samples import ABSENT_NS, DROPPED, FAILED, RECORD, SUCCEEDED, UNDRAINED, Samples

MS, S = 1_000_000, 1_000_000_000
START = 5 * S
OPEN = LoadProfile(arrivals="constant", duration_s=10.0, seed=1, rate_per_s=100.0)
CLOSED = LoadProfile(arrivals="closed", duration_s=10.0, seed=1, users=1)
VALID = Validity(valid=True)
UNKNOWN = GeneratorReport(planned=None, start_ns=None, window_ns=None, cpu_s=None)


def _samples(due_ms: object, late_ms: object = 0.0, service_ms: object = 10.0) -> Samples:
    """All succeeded; due counts from `START`."""
    due = np.asarray(due_ms, dtype=float)
    out = np.zeros(due.size, RECORD)
    out["due_ns"] = START + np.round(due * MS)
    out["sent_ns"] = out["due_ns"] + np.round(np.broadcast_to(np.asarray(late_ms, dtype=float), due.shape) * MS).astype(int)
    out["done_ns"] = out["sent_ns"] + np.round(np.broadcast_to(np.asarray(service_ms, dtype=float), due.shape) * MS).astype(int)
    out["queue_us"] = out["compute_us"] = -1
    out["outcome"] = SUCCEEDED
    return out


def _lose(samples: Samples, index: int, outcome: int) -> None:
    samples["outcome"][index] = outcome
    if outcome in (DROPPED, UNDRAINED):
        samples["done_ns"][index] = ABSENT_NS
    if outcome == DROPPED:
        samples["sent_ns"][index] = ABSENT_NS


STEADY = _samples(np.arange(1000) * 10.0, late_ms=0.25, service_ms=np.linspace(5, 15, 1000))


def test_figures_of_a_steady_open_loop() -> None:
    use = ServerUse(wall_s=12.5, cpus=2, cpu_s=10.0, peak_rss_bytes=250_000_000)
    generator = GeneratorReport(planned=1000, start_ns=START, window_ns=10 * S, cpu_s=0.2)
    got = measurement.measure(STEADY, OPEN, resources=use, generator=generator, validity=VALID)
    assert (got.planned, got.succeeded, got.failed, got.dropped, got.undrained, got.error_ratio) == (1000, 1000, 0, 0, 0, 0.0)
    assert got.offered_per_s == 100.0
    # The last two requests were due 10 and 20 ms before the end and took longer.
    assert got.achieved_per_s == pytest.approx(99.9, abs=0.11)
    assert got.latency_ms["p50"].value == pytest.approx(got.service_ms["p50"].value + 0.25)  # type: ignore[operator]
    assert got.service_ms["p99"].value == pytest.approx(14.9, abs=0.02)
    assert set(got.latency_ms) == {"p50", "p90", "p95", "p99"}
    assert got.lateness_ms == {"p50": 0.25, "p99": 0.25}
    assert (got.cpu_utilization, got.memory_mb) == (0.4, 250.0)
    assert got.generator_cpu_ms_per_request == pytest.approx(0.2)
    assert (got.queue_ms, got.compute_ms) == (None, None)
    assert got.validity is VALID


def test_what_is_not_known_is_none() -> None:
    got = measurement.measure(STEADY, OPEN, resources=None, generator=UNKNOWN, validity=VALID)
    assert (got.cpu_utilization, got.memory_mb, got.generator_cpu_ms_per_request) == (None, None, None)
    empty = measurement.measure(STEADY[:0], OPEN, resources=None, generator=UNKNOWN, validity=VALID)
    assert (empty.planned, empty.error_ratio, empty.achieved_per_s, empty.lateness_ms) == (0, None, None, {})
    assert empty.latency_ms["p50"].value is None
    assert empty.latency_ms["p50"].reason == "n=0: p50 needs 20"
    blind = ServerUse(wall_s=1.0, cpus=1, cpu_s=None, peak_rss_bytes=None)
    assert measurement.measure(STEADY, OPEN, resources=blind, generator=UNKNOWN, validity=VALID).cpu_utilization is None


def test_a_stall_is_charged_to_every_request_it_delayed() -> None:
    # One second in ten the server answers nothing, then everything at once: 10 % of the arrivals wait U(0, 1) s.
    due = np.arange(0, 100_000, 10.0)
    into = due % 10_000
    wait = np.where(into < 1000, 1000 - into, 0.0)
    samples = _samples(due, service_ms=wait + 2.0)
    got = measurement.measure(samples, replace(OPEN, duration_s=100.0), resources=None, generator=UNKNOWN, validity=VALID)
    assert got.latency_ms["p50"].value == 2.0
    assert got.latency_ms["p95"].value == pytest.approx(502, rel=0.02)
    assert got.latency_ms["p99"].value == pytest.approx(902, rel=0.02)


def test_lost_requests_are_the_slowest_and_dropped_ones_have_no_service() -> None:
    samples = STEADY.copy()
    for index in range(20):
        _lose(samples, index, (FAILED, DROPPED, UNDRAINED, DROPPED)[index % 4])
    got = measurement.measure(samples, OPEN, resources=None, generator=UNKNOWN, validity=VALID)
    assert (got.succeeded, got.failed, got.dropped, got.undrained) == (980, 5, 10, 5)
    assert got.error_ratio == 0.02
    assert got.latency_ms["p99"].value is None
    assert got.latency_ms["p99"].reason == "2 % of requests failed"
    assert got.latency_ms["p95"].n == 1000
    assert got.service_ms["p95"].n == 990


def test_fast_failures_do_not_make_a_server_faster() -> None:
    broken = STEADY.copy()
    broken["outcome"][500:] = FAILED
    broken["done_ns"][500:] = broken["sent_ns"][500:] + MS
    got = measurement.measure(broken, OPEN, resources=None, generator=UNKNOWN, validity=VALID)
    assert got.latency_ms["p90"].value is None
    # Half of all requests failed, so the median is the slowest good answer, not 1 ms.
    assert got.latency_ms["p50"].value == pytest.approx(10.25, abs=0.01)
    assert got.achieved_per_s == 50.0


def test_closed_loop_has_no_offered_rate_and_no_idle_end() -> None:
    # One user, answers of 1.1 s: nine fit ten seconds, in 9.9 s of work; the tenth ends outside.
    samples = _samples(np.arange(10) * 1100.0, service_ms=1100.0)
    got = measurement.measure(samples, CLOSED, resources=None, generator=UNKNOWN, validity=VALID)
    assert got.offered_per_s is None
    assert got.lateness_ms == {}
    assert got.achieved_per_s == pytest.approx(1 / 1.1)


def test_a_run_stopped_early_is_measured_over_its_own_window() -> None:
    generator = GeneratorReport(planned=400, start_ns=START, window_ns=4 * S, cpu_s=None)
    got = measurement.measure(STEADY[:400], OPEN, resources=None, generator=generator, validity=VALID)
    assert got.offered_per_s == 100.0
    assert got.achieved_per_s == pytest.approx(100.0, rel=0.01)


def test_server_reported_times_ignore_requests_that_reported_none() -> None:
    samples = STEADY.copy()
    samples["queue_us"][:500] = 1500
    samples["compute_us"][:500] = 8000
    got = measurement.measure(samples, OPEN, resources=None, generator=UNKNOWN, validity=VALID)
    assert got.queue_ms is not None
    assert got.compute_ms is not None
    assert (got.queue_ms.value, got.queue_ms.n, got.compute_ms.value) == (1.5, 500, 8.0)


def _p99(limit_ms: float) -> SLO:
    return SLO(limits=(LatencyLimit(quantile=0.99, limit_ms=limit_ms),))


def test_violations_are_slow_failed_dropped_and_undrained() -> None:
    samples = _samples(np.arange(100) * 10.0, late_ms=6.0, service_ms=np.where(np.arange(100) < 10, 14.1, 5.0))
    for index, outcome in ((50, FAILED), (51, DROPPED), (52, UNDRAINED)):
        _lose(samples, index, outcome)
    # Service alone is within 20 ms; with the 6 ms of lateness the first ten are not.
    assert measurement.violations(samples, _p99(20.0)) == (100, (13,))
    assert measurement.violations(samples, _p99(20.1)) == (100, (3,))
    assert measurement.violations(samples[:0], _p99(20.0)) == (0, (0,))


def test_violated_is_in_the_order_due() -> None:
    samples = _samples([30.0, 10.0, 20.0], service_ms=[1.0, 99.0, 1.0])
    assert measurement.violated(samples, _p99(50.0)).tolist() == [[True], [False], [False]]


def test_violations_are_counted_limit_by_limit() -> None:
    samples = _samples([0.0, 100.0, 200.0], service_ms=[5.0, 15.0, 150.0])
    limits = (LatencyLimit(quantile=0.99, limit_ms=100.0), LatencyLimit(quantile=0.5, limit_ms=10.0))
    assert measurement.violations(samples, SLO(limits=limits)) == (3, (1, 2))


def test_contradictions_are_found() -> None:
    assert measurement.contradiction(STEADY, 1000) is None
    assert measurement.contradiction(STEADY, None) is None
    assert measurement.contradiction(STEADY, 1001) == "1001 requests were planned but 1000 are recorded"
    odd = STEADY.copy()
    odd["outcome"][3] = 9
    assert measurement.contradiction(odd, 1000) == "1 of 1000 records have no known outcome"
    for field in ("sent_ns", "done_ns"):
        odd = STEADY.copy()
        odd[field][3] -= S
        assert "sent before they were due or ended before they were sent" in str(measurement.contradiction(odd, 1000))


def test_in_flight_time_is_the_sum_of_services_of_all_that_were_sent() -> None:
    samples = _samples(np.arange(10) * 10.0, late_ms=1.0, service_ms=4.0)
    _lose(samples, 0, DROPPED)
    samples["outcome"][1] = FAILED
    assert measurement.in_flight_ns(samples) == 9 * 4 * MS
    _lose(samples, 2, UNDRAINED)
    assert measurement.in_flight_ns(samples) is None


def test_cdf_is_a_staircase_with_a_dense_tail() -> None:
    curve = measurement.cdf(STEADY)
    shares, ms = np.array(curve).T
    assert 150 <= len(curve) <= 200
    assert (np.diff(shares) > 0).all()
    assert (np.diff(ms) >= 0).all()
    assert shares[-1] == 1.0
    assert ms[-1] == pytest.approx(15.25)
    assert np.sum(shares > 0.98) > 10
    assert measurement.cdf(STEADY[:0]) == ()
    assert measurement.cdf(STEADY[:1]) == ((1.0, 5.25),)


def test_cdf_of_a_run_with_losses_ends_below_one() -> None:
    samples = STEADY.copy()
    for index in range(100):
        _lose(samples, index, DROPPED)
    assert measurement.cdf(samples)[-1][0] == 0.9


def test_per_second_counts_every_request_once() -> None:
    samples = STEADY.copy()
    for index in range(300, 400):
        _lose(samples, index, DROPPED)
    seconds = measurement.per_second(samples, OPEN, START)
    assert [s.second for s in seconds] == list(range(10))
    assert [s.due for s in seconds] == [100] * 10
    assert seconds[3].p50_ms is None
    assert seconds[3].completed <= 2
    assert seconds[0].p50_ms == pytest.approx(5.75, abs=0.02)
    assert measurement.per_second(samples[:0], OPEN) == ()


@given(st.integers(1, 400), st.lists(st.integers(0, 3), min_size=400, max_size=400), st.floats(0.1, 500))
def test_counts_and_violations_are_consistent(n: int, outcomes: list[int], limit_ms: float) -> None:
    rng = np.random.default_rng(n)
    samples = _samples(np.sort(rng.uniform(0, 1e4, n)), service_ms=rng.exponential(50, n))
    for index in range(n):
        _lose(samples, index, outcomes[index])
    seen = measurement.counts(samples)
    assert seen.succeeded + seen.lost == seen.recorded == n
    total, (broken,) = measurement.violations(samples, SLO(limits=(LatencyLimit(quantile=0.9, limit_ms=limit_ms),)))
    assert total == n
    assert seen.lost <= broken <= n
    assert measurement.contradiction(samples, n) is None
    assert sum(s.due for s in measurement.per_second(samples, OPEN, START)) == n
