"""From one run's stored facts to what they mean: the joint between records and the pure functions that measure and judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness import measurement as measuring
from harness import validity as judging
from harness.nouns import SLO, Measurement, Step, Validity
from harness.records import RunRecord
from loadprofiles.samples import SUCCEEDED, Samples

_STEADY_WINDOWS = 3
_STEADY_SPREAD = 0.05


def median_service_ms(samples: Samples) -> float:
    """Median of done - sent over the requests that succeeded, NaN when none did."""
    good = samples[samples["outcome"] == SUCCEEDED]
    return float(np.median(good["done_ns"] - good["sent_ns"]) / 1e6) if len(good) else float("nan")


def steady(medians_ms: Sequence[float]) -> bool:
    """Whether the last three windows' medians agree within 5 % of their smallest; NaN agrees with nothing."""
    last = list(medians_ms)[-_STEADY_WINDOWS:]
    return len(last) == _STEADY_WINDOWS and max(last) <= (1 + _STEADY_SPREAD) * min(last)


def step(run: RunRecord, samples: Samples, slo: SLO, block: int) -> Step:
    """An open-loop run as evidence on the SLO."""
    n, violations = measuring.violations(samples, slo)
    rate = run.profile.rate_per_s
    if rate is None:
        raise ValueError("only an open loop has a rate to judge")
    return Step(rate_per_s=rate, n=n, violations=violations, duration_s=run.profile.duration_s, block=block)


def measurement(run: RunRecord, samples: Samples, generator_capacity_per_s: float | None) -> Measurement:
    """The figures of a run and the verdict on it."""
    reply, use = run.reply, run.resources
    unjudged = measuring.measure(
        samples,
        run.profile,
        resources=measuring.ServerUse(
            wall_s=use.wall_s, cpus=use.server_cpus, cpu_s=use.server_cpu_s, peak_rss_bytes=use.peak_rss_bytes
        ),
        generator=measuring.GeneratorReport(
            planned=reply.planned, start_ns=reply.start_ns, window_ns=reply.window_ns, cpu_s=reply.cpu_s
        ),
        validity=Validity(valid=True),
    )
    return replace(unjudged, validity=judging.judge(_signals(run, samples, unjudged, generator_capacity_per_s)))


def _signals(run: RunRecord, samples: Samples, seen: Measurement, capacity_per_s: float | None) -> judging.Signals:
    reply = run.reply
    in_service_ns = measuring.in_flight_ns(samples)
    cpu_share = (
        reply.cpu_peak if reply.cpu_peak is not None else (reply.cpu_s / (reply.active_ns / 1e9) if reply.active_ns else None)
    )
    return judging.Signals(
        open_loop=run.profile.open_loop,
        planned=reply.planned,
        sent=reply.planned - reply.dropped,
        lost_after_sending=reply.failed + reply.undrained,
        dropped=reply.dropped,
        contradiction=measuring.contradiction(samples, reply.planned),
        offered_per_s=seen.offered_per_s,
        latency_p50_ms=_typical_ms(samples),
        lateness_p99_ms=seen.lateness_ms.get("p99"),
        loop_lag_p99_ms=reply.loop_lag_p99_ms,
        run_queue_share=None
        if reply.run_queue_wait_s is None or not reply.active_ns
        else reply.run_queue_wait_s / (reply.active_ns / 1e9),
        generator_cpu_share=cpu_share,
        generator_capacity_per_s=capacity_per_s,
        locust_requests=reply.locust_requests,
        locust_failures=reply.locust_failures,
        little_ms=None if in_service_ns is None else in_service_ns / 1e6,
        in_flight_ms=None if in_service_ns is None else reply.in_flight_integral_ns / 1e6,
        connections_opened=reply.connections_opened_in_window,
        steal_share=run.resources.steal_share,
        foreign_share=run.resources.foreign_share,
    )


def _typical_ms(samples: Samples) -> float | None:
    """The plain median latency, for judging the generator's lateness against; no claim, so it needs no interval."""
    latencies = measuring.latency_ms(samples)
    return float(np.median(latencies)) if latencies.size else None
