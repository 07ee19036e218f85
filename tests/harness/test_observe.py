from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness import observe
from harness.nouns import SLO, LatencyLimit, LoadProfile
from harness.records import REFERENCE, SEARCH, RunRecord, from_json, to_json
from harness.records import VisitRecord as Visit
from harness.resources import ResourceUse
from harness.steady import Window, judge
from harness.timeline import Timeline
from loadprofiles.plan import Reply
from loadprofiles.samples import FAILED, RECORD, Samples


def samples(latencies_ms: list[float]) -> Samples:
    made = np.zeros(len(latencies_ms), RECORD)
    made["due_ns"] = made["sent_ns"] = np.arange(len(latencies_ms)) * 100_000_000
    made["done_ns"] = made["due_ns"] + (np.array(latencies_ms) * 1e6).astype(np.int64)
    return made


def record(made: Samples, **changed: object) -> RunRecord:
    reply: dict[str, object] = {
        "planned": len(made),
        "succeeded": len(made),
        "failed": 0,
        "dropped": 0,
        "undrained": 0,
        "start_ns": 0,
        "window_ns": 1_000_000_000,
        "active_ns": 1_000_000_000,
        "cpu_s": 0.01,
        "cpu_peak": None,
        "loop_lag_p99_ms": 0.1,
        "run_queue_wait_s": 0.0,
        "connections_opened_in_window": 0,
        "max_in_flight": 1,
        "in_flight_integral_ns": int((made["done_ns"] - made["sent_ns"]).sum()),
        "locust_requests": len(made),
        "locust_failures": 0,
    }
    return RunRecord(
        kind=SEARCH,
        profile=LoadProfile(arrivals="poisson", duration_s=1.0, seed=0, rate_per_s=10.0),
        reply=Reply(**{**reply, **changed}),  # type: ignore[arg-type]
        resources=ResourceUse(
            wall_s=1.0, server_cpus=1, server_cpu_s=0.5, peak_rss_bytes=10, steal_share=0.0, foreign_share=0.0
        ),
        samples="samples/x.bin",
    )


def test_a_run_in_order_is_valid() -> None:
    made = samples([10.0] * 10)
    seen = observe.measurement(record(made), made, 1000.0)
    assert seen.validity.valid, seen.validity.reasons
    assert seen.cpu_utilization == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"planned": 11, "locust_requests": 11}, "counts disagree"),
        ({"run_queue_wait_s": 0.05}, "waited for its core"),
        ({"cpu_s": 0.9}, "generator was busy"),
        ({"locust_requests": 9}, "Locust counted 9"),
        ({"in_flight_integral_ns": 5_000_000_000}, "Little's law"),
    ],
)
def test_what_the_generator_reports_reaches_the_verdict(changed: dict[str, object], said: str) -> None:
    made = samples([100.0] * 10)
    seen = observe.measurement(record(made, **changed), made, 1000.0)
    assert not seen.validity.valid
    assert any(said in reason for reason in seen.validity.reasons), seen.validity.reasons


def test_lateness_is_judged_against_the_median_even_when_it_may_not_be_shown() -> None:
    made = samples([200.0] * 5)
    made["sent_ns"] += 5_000_000  # 5 ms late: more than 1 ms, less than 5 % of 200 ms
    seen = observe.measurement(record(made), made, 1000.0)
    assert seen.latency_ms["p50"].value is None
    assert seen.validity.valid, seen.validity.reasons


def test_a_step_counts_what_broke_the_slo() -> None:
    made = samples([10.0, 20.0, 60.0])
    made["outcome"][0] = FAILED
    limits = (LatencyLimit(quantile=0.99, limit_ms=50.0), LatencyLimit(quantile=0.5, limit_ms=15.0))
    step = observe.step(record(made), made, SLO(limits=limits), block=1)
    assert (step.n, step.violations, step.lost, step.rate_per_s) == (3, (2, 3), 1, 10.0)


def long_run(compute_ms: np.ndarray) -> tuple[RunRecord, Samples]:
    """A reference run of 30 s at 40/s whose server says how long it computed; the queue doubles what clients see."""
    n = len(compute_ms)
    made = samples((2 * compute_ms).tolist())
    made["due_ns"] = made["sent_ns"] = np.arange(n) * 25_000_000
    made["done_ns"] = made["sent_ns"] + (2 * compute_ms * 1e6).astype(np.int64)
    made["compute_us"] = (compute_ms * 1e3).astype(np.int32)
    window_ns = n * 25_000_000
    run = record(made, window_ns=window_ns, active_ns=window_ns)
    profile = replace(run.profile, duration_s=window_ns / 1e9, rate_per_s=40.0)
    return replace(run, kind=REFERENCE, profile=profile), made


def unsteady(run: RunRecord, made: Samples) -> list[str]:
    return [each for each in observe.measurement(run, made, None).validity.reasons if "steady" in each]


NOISE = np.random.default_rng(7).normal(1, 0.02, 1200)


def test_a_reference_run_that_stays_the_same_is_steady() -> None:
    assert unsteady(*long_run(10 * NOISE)) == []


def test_a_reference_run_whose_server_slows_down_is_not() -> None:
    run, made = long_run(10 * NOISE * np.where(np.arange(1200) < 800, 1, 1.1))
    (reason,) = unsteady(run, made)
    assert reason.startswith("no steady state: the level changed by +")
    assert unsteady(replace(run, kind=SEARCH), made) == []


def test_a_small_change_in_the_second_half_is_a_warning_with_its_size() -> None:
    run, made = long_run(10 * NOISE * np.where(np.arange(1200) < 800, 1, 1.03))
    seen = observe.measurement(run, made, None).validity
    assert unsteady(run, made) == []
    assert any(each.startswith("the median compute time changed by +") for each in seen.warnings)


def test_windows_are_half_a_second_or_long_enough_for_a_median() -> None:
    run, made = long_run(10 * NOISE)
    cut = observe.windows(made, 0, run.reply.window_ns)
    assert len(cut) == 60
    assert all(window.median_ms == pytest.approx(10, rel=0.02) for window in cut)  # what was computed, not the queue
    assert sum(window.per_s for window in cut) / 60 == pytest.approx(40, rel=0.01)
    sparse = made[::20]  # 2/s: eight requests need four seconds
    assert len(observe.windows(sparse, 0, run.reply.window_ns)) == 8
    assert observe.windows(made[:0], 0, run.reply.window_ns) == ()


def test_windows_of_a_server_that_does_not_tell_are_of_the_time_in_service() -> None:
    run, made = long_run(10 * NOISE)
    made["compute_us"][5] = -1
    assert all(window.median_ms == pytest.approx(20, rel=0.02) for window in observe.windows(made, 0, run.reply.window_ns))


def test_the_machine_and_the_generator_are_judged_over_the_window_only() -> None:
    made = samples([10.0] * 10)
    run = record(made)
    edges = (-2_000_000_000, -1_000_000_000, 0, 1_000_000_000, 2_000_000_000)
    steal = Timeline(edges_ns=edges, values={"steal": (0.5, 0.5, 0.0, 0.5)})
    lag = Timeline(edges_ns=(0, 1_000_000_000, 2_000_000_000), values={"loop_lag_ms": (0.2, 500.0)})
    run = replace(run, resources=replace(run.resources, seconds=steal), reply=replace(run.reply, seconds=lag))
    assert observe.measurement(run, made, 1000.0).validity.valid
    stalled = Timeline(edges_ns=lag.edges_ns, values={"loop_lag_ms": (500.0, 0.2)})
    seen = observe.measurement(replace(run, reply=replace(run.reply, seconds=stalled)), made, 1000.0).validity
    assert seen.reasons == ("the generator stood still for up to 500 ms in 1 of 1 seconds (1), limit 100 ms in any",)


def test_a_record_survives_the_store() -> None:
    made = samples([1.0])
    seconds = Timeline(edges_ns=(1, 2, 3), values={"steal": (0.25, None)})
    run = record(made, seconds=seconds)
    run = replace(run, resources=replace(run.resources, seconds=seconds))
    visit = Visit(
        id="b0-x-screen",
        block=0,
        ordinal=0,
        candidate="x",
        purpose="screen",
        cold=None,
        warmup_s=1.0,
        steadiness=judge([Window(median_ms=10.0, per_s=20.0)] * 3),
        runs=(run,),
        failure=None,
    )
    assert from_json(to_json(visit)) == visit
