from __future__ import annotations

import math

import numpy as np
import pytest

from harness import observe
from harness.nouns import SLO, LoadProfile
from harness.records import SEARCH, RunRecord, from_json, to_json
from harness.records import VisitRecord as Visit
from harness.resources import ResourceUse
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
    step = observe.step(record(made), made, SLO(quantile=0.99, limit_ms=50.0), block=1)
    assert (step.n, step.violations, step.rate_per_s) == (3, 2, 10.0)


@pytest.mark.parametrize(
    ("medians", "steady"),
    [
        ([10, 10.1], False),
        ([50, 10, 10.1, 10.2], True),
        ([10, 10, 11], False),
        ([math.nan, math.nan, math.nan], False),
        ([], False),
    ],
)
def test_steady_is_three_agreeing_windows(medians: list[float], steady: bool) -> None:
    assert observe.steady(medians) is steady


def test_a_record_survives_the_store() -> None:
    made = samples([1.0])
    visit = Visit(
        id="b0-x-screen",
        block=0,
        ordinal=0,
        candidate="x",
        purpose="screen",
        cold=None,
        warmup_s=1.0,
        steady=True,
        runs=(record(made),),
        failure=None,
    )
    assert from_json(to_json(visit)) == visit
