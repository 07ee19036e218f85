"""From one run's stored facts to what they mean: the joint between records and the pure functions that measure and judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from harness import measurement as measuring
from harness import steady as steadying
from harness import validity as judging
from harness.capacity import OpenRun, decide
from harness.nouns import SLO, Measurement, Step, Validity
from harness.records import REFERENCE, RunRecord
from harness.timeline import Timeline
from loadprofiles.plan import StopRule
from loadprofiles.samples import ABSENT_NS, DROPPED, SUCCEEDED, UNDRAINED, Samples

BROKEN_EARLY = "stopped: so many requests broke a limit that the SLO is proven broken at this rate"
_NS_PER_S = 1_000_000_000


def median_service_ms(samples: Samples) -> float:
    """Median of done - sent over the requests that succeeded, NaN when none did."""
    good = samples[samples["outcome"] == SUCCEEDED]
    return float(np.median(good["done_ns"] - good["sent_ns"]) / 1e6) if len(good) else float("nan")


def windows(samples: Samples, begin_ns: int, window_ns: int) -> tuple[steadying.Window, ...]:
    """A run's window cut into pieces of equal length, about half a second each and more where requests are few.

    The median is of what the server says it computed, which no queue is part of, else of the time in service.
    """
    good = samples[samples["outcome"] == SUCCEEDED]
    length_s = window_ns / _NS_PER_S
    if not len(good) or length_s <= 0:
        return ()
    wanted_s = max(steadying.WINDOW_S, steadying.WINDOW_REQUESTS * length_s / len(good))
    count = max(1, round(length_s / wanted_s))
    computed = bool((good["compute_us"] >= 0).all())
    took_ms = good["compute_us"] / 1e3 if computed else (good["done_ns"] - good["sent_ns"]) / 1e6
    edges_ns = begin_ns + np.arange(count + 1) * window_ns // count
    return tuple(
        steadying.Window(
            median_ms=float(np.median(took_ms[inside])) if inside.size else float("nan"),
            per_s=inside.size * count / length_s,
        )
        for inside in _by_interval(good["done_ns"], edges_ns)
    )


def timelines(run: RunRecord, samples: Samples) -> tuple[Timeline, ...]:
    """What is known of the seconds of a run's window: the generator's own signals, the machine's, and how late requests were
    sent (`lateness_ms`, their p99) and dropped (`dropped`, a count). Each has its own edges on the same clock."""
    begin, end = run.reply.start_ns, run.reply.start_ns + run.reply.window_ns
    generator = run.reply.seconds.within(begin, end)
    machine = Timeline() if run.resources.seconds is None else run.resources.seconds.within(begin, end)
    return generator, machine, _sending(samples, generator.edges_ns)


def _sending(samples: Samples, edges_ns: Sequence[int]) -> Timeline:
    rows: list[dict[str, float | None]] = []
    for inside in _by_interval(samples["due_ns"], edges_ns):
        due = samples[inside]
        dropped = float((due["outcome"] == DROPPED).sum())
        rows.append({"lateness_ms": measuring.lateness_ms(due).get("p99"), "dropped": dropped})
    return Timeline.of(edges_ns, rows)


def _by_interval(at_ns: NDArray[np.int64], edges_ns: Sequence[int] | NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """For each interval between neighbouring edges the indices of the instants in it; sorts once, since a soak has millions."""
    order = np.argsort(at_ns, kind="stable")
    cuts = np.searchsorted(at_ns[order], np.asarray(edges_ns, dtype=np.int64))
    for begin, end in pairwise(cuts.tolist()):
        yield order[begin:end]


def step(run: RunRecord, samples: Samples, slo: SLO, block: int) -> Step:
    """An open-loop run as evidence on the SLO."""
    n, violations = measuring.violations(samples, slo)
    rate = run.profile.rate_per_s
    if rate is None:
        raise ValueError("only an open loop has a rate to judge")
    lost = measuring.counts(samples).lost
    return Step(rate_per_s=rate, n=n, violations=violations, lost=lost, duration_s=run.profile.duration_s, block=block)


def open_run(run: RunRecord, samples: Samples, start: str) -> OpenRun:
    """An open-loop run as the capacity search sees it; `start` names its server start."""
    rate = run.profile.rate_per_s
    if rate is None:
        raise ValueError("only an open loop has a rate to judge")
    ordered = samples[np.argsort(samples["due_ns"], kind="stable")]
    done = ordered["done_ns"] != ABSENT_NS
    begin = run.reply.start_ns
    return OpenRun(
        start=start,
        rate_per_s=rate,
        due_ms=(ordered["due_ns"] - begin) / 1e6,
        done_ms=np.where(done, (ordered["done_ns"] - begin) / 1e6, np.nan),
        good=ordered["outcome"] == SUCCEEDED,
        duration_s=run.reply.window_ns / _NS_PER_S,
        ended_early=BROKEN_EARLY if run.reply.stopped_early else None,
    )


def stop_rule(slo: SLO, rate_per_s: float, duration_s: float, closed_capacity_per_s: float) -> StopRule:
    """When a step may end early because the SLO is broken at its rate, bursts of a queue at that utilisation allowed for."""
    n = max(1, round(rate_per_s * duration_s))
    limit = decide.most_decisive(slo, n)
    busy = min(rate_per_s / closed_capacity_per_s, 0.95)
    return StopRule(limit_ms=limit.limit_ms, count=decide.stop_count(limit, n, 1 / (1 - busy) + busy / (1 - busy) ** 2))


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
    in_service_ns = _in_service_ns(run, samples)
    settled = steadying.judge_measured(windows(samples, reply.start_ns, reply.window_ns)) if run.kind == REFERENCE else None
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
        achieved_per_s=seen.achieved_per_s,
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
        timelines=timelines(run, samples),
        unsteady=settled.reason if settled and settled.verdict == steadying.Verdict.UNSTEADY else None,
        unsettled=_late_changes(settled),
    )


def _late_changes(settled: steadying.Steadiness | None) -> tuple[str, ...]:
    """Changes in the second half that were too small to call the run unsteady."""
    if settled is None or settled.verdict != steadying.Verdict.FLAT:
        return ()
    return tuple(f"the median compute time changed by {change} of {settled.windows}" for change in settled.late_changes())


def _in_service_ns(run: RunRecord, samples: Samples) -> int | None:
    """Σ (done - sent); a request that was never answered is in flight until the generator gave up on it, at the run's end."""
    given_up = run.reply.start_ns + run.reply.active_ns
    ended = samples.copy()
    ended["done_ns"] = np.where(samples["outcome"] == UNDRAINED, given_up, samples["done_ns"])
    return measuring.in_flight_ns(ended)


def _typical_ms(samples: Samples) -> float | None:
    """The plain median latency, for judging the generator's lateness against; no claim, so it needs no interval."""
    latencies = measuring.latency_ms(samples)
    return float(np.median(latencies)) if latencies.size else None
