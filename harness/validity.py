"""Whether a run may decide anything, judged from independent signals and never from how fast it was.

The limits are starting values from the practice of open-loop load generation: a generator that is late, busy or short of
connections reports its own delay as the server's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from harness.limits import LIMITS, Limit, Verdict, hold
from harness.nouns import Validity
from harness.timeline import Timeline

MAX_LATE_MS = 1.0
MAX_LATE_SHARE = 0.05
"""Lateness and loop lag may reach the larger of 1 ms and this share of the median latency."""
MAX_LATE_BURST = 10
"""Times the limit on lateness that a single second's p99 may reach: a burst of late requests drowns in a long run's p99."""
MAX_CAPACITY_SHARE = 0.50
"""Of the rate the generator reaches against a server that does nothing."""
LITTLE_TOLERANCE = 0.01
LITTLE_ENOUGH_MS = 100.0
"""In-flight time below which Little's law cannot show anything."""
MAX_CONNECTION_SHARE = 0.01
"""Connections opened in the window beyond those that failed requests took with them, per request sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What is known about a run. None means that it was not measured, which is said as a warning; shares are 0..1.

    `contradiction` is why the counts cannot all be true (None: they agree), `little_ms` Σ (done - sent) and `in_flight_ms` the
    generator's own time integral of its in-flight counter. `timelines` hold the seconds of the window by signal, see
    `harness.limits`; `generator_cpu_share` (the largest of any second), `run_queue_share`, `steal_share` and `foreign_share`
    are figures of the whole run for when they do not. `unsteady` is why a server that should have settled had not, `unsettled`
    what moved without going so far.
    """

    open_loop: bool
    planned: int
    sent: int
    lost_after_sending: int
    dropped: int
    contradiction: str | None
    offered_per_s: float | None = None
    achieved_per_s: float | None = None
    latency_p50_ms: float | None = None
    lateness_p99_ms: float | None = None
    loop_lag_p99_ms: float | None = None
    run_queue_share: float | None = None
    generator_cpu_share: float | None = None
    generator_capacity_per_s: float | None = None
    locust_requests: int | None = None
    locust_failures: int | None = None
    little_ms: float | None = None
    in_flight_ms: float | None = None
    connections_opened: int | None = None
    steal_share: float | None = None
    foreign_share: float | None = None
    timelines: tuple[Timeline, ...] = ()
    unsteady: str | None = None
    unsettled: tuple[str, ...] = ()


_NAMES = {
    "lateness_p99_ms": "send lateness",
    "loop_lag_p99_ms": "loop lag",
    "generator_capacity_per_s": "generator capacity",
    "locust_requests": "Locust's request count",
    "locust_failures": "Locust's failure count",
    "little_ms": "total time in service",
    "in_flight_ms": "in-flight integral",
    "connections_opened": "connections opened",
}
_OPEN_LOOP_ONLY = {"lateness_p99_ms", "loop_lag_p99_ms", "generator_capacity_per_s"}
"""A closed loop sends when it can: nothing in it is due, and a full one lags by design."""


def judge(signals: Signals) -> Validity:
    """The verdict on a run: every broken limit is a reason, with its figure and its threshold."""
    watched = _watched(signals)
    unsteady = (f"no steady state: {signals.unsteady}",) if signals.unsteady else ()
    reasons = (*_counts(signals), *_generator(signals), *_little(signals), *map(str, watched.broken), *unsteady)
    warnings = [*_reconnects(signals), *_own_limit(signals), *map(str, watched.warned), *signals.unsettled]
    missing = [_NAMES[each.name] for each in fields(signals) if each.name in _NAMES and _is_missing(signals, each.name)]
    missing += watched.unknown
    if missing:
        warnings.append(f"not measured: {', '.join(missing)}")
    return Validity(valid=not reasons, reasons=reasons, warnings=tuple(warnings))


def _is_missing(signals: Signals, name: str) -> bool:
    applies = signals.open_loop or name not in _OPEN_LOOP_ONLY
    return applies and getattr(signals, name) is None


def _counts(signals: Signals) -> Iterator[str]:
    if signals.contradiction is not None:
        yield f"counts disagree: {signals.contradiction}"
    if signals.planned == 0:
        yield "no request was planned"
    elif signals.dropped:
        yield f"rate not delivered: {signals.dropped} of {signals.planned} requests were dropped by the generator"
    if signals.locust_requests is not None and signals.locust_requests != signals.sent:
        yield f"counts disagree: {signals.sent} requests were sent but Locust counted {signals.locust_requests}"
    if signals.locust_failures is not None and signals.locust_failures != signals.lost_after_sending:
        yield f"counts disagree: {signals.lost_after_sending} requests went wrong but Locust counted {signals.locust_failures}"
    if (beyond := _reconnected(signals)) and beyond > MAX_CONNECTION_SHARE * signals.sent:
        yield (
            f"{signals.connections_opened} connections were opened in the window, limit {MAX_CONNECTION_SHARE:.0%} of "
            f"{signals.sent} requests"
        )


def _reconnects(signals: Signals) -> Iterator[str]:
    if signals.connections_opened and _reconnected(signals) <= MAX_CONNECTION_SHARE * signals.sent:
        yield f"{signals.connections_opened} connections were opened in the window"


def _reconnected(signals: Signals) -> int:
    """Connections opened that no failed request explains."""
    return max(0, (signals.connections_opened or 0) - signals.lost_after_sending)


def _generator(signals: Signals) -> Iterator[str]:
    limit_ms = late_limit_ms(signals.latency_p50_ms)
    late, lag = signals.lateness_p99_ms, signals.loop_lag_p99_ms
    if signals.open_loop and late is not None and late > limit_ms:
        yield f"requests were sent late: p99 {late:.2f} ms, limit {limit_ms:.2f} ms"
    if signals.open_loop and lag is not None and lag > limit_ms:
        yield f"the generator's loop lagged: p99 {lag:.2f} ms, limit {limit_ms:.2f} ms"
    offered, capacity = signals.offered_per_s, signals.generator_capacity_per_s
    if signals.open_loop and offered is not None and capacity is not None and offered > MAX_CAPACITY_SHARE * capacity:
        yield f"the rate of {offered:.4g}/s is above {MAX_CAPACITY_SHARE:.0%} of the {capacity:.4g}/s the generator can do"


def _little(signals: Signals) -> Iterator[str]:
    """Little's law (1961): the requests' times in the system add up to the time integral of their number."""
    total, integral = signals.little_ms, signals.in_flight_ms
    if total is None or integral is None or max(total, integral) < LITTLE_ENOUGH_MS:
        return
    allowed = LITTLE_TOLERANCE * max(total, integral)
    if abs(total - integral) > allowed:
        yield (
            f"Little's law fails: service times add up to {total:.0f} ms, requests in flight to {integral:.0f} ms, "
            f"allowed difference {allowed:.0f} ms"
        )


def late_limit_ms(latency_p50_ms: float | None) -> float:
    """How late p99 of the requests may be sent, in ms."""
    return max(MAX_LATE_MS, MAX_LATE_SHARE * (latency_p50_ms or 0.0))


def _own_limit(signals: Signals) -> Iterator[str]:
    """A closed loop that goes as fast as its generator measures the generator."""
    achieved, capacity = signals.achieved_per_s, signals.generator_capacity_per_s
    if not signals.open_loop and achieved is not None and capacity is not None and achieved > MAX_CAPACITY_SHARE * capacity:
        yield (
            f"the closed loop reached {achieved:.4g}/s, above {MAX_CAPACITY_SHARE:.0%} of the {capacity:.4g}/s the generator "
            "can do: its throughput is partly the generator's"
        )


def _watched(signals: Signals) -> Verdict:
    """The timelines against their limits; that on lateness depends on the run's median latency."""
    limits = LIMITS
    if signals.open_loop:
        burst_ms = MAX_LATE_BURST * late_limit_ms(signals.latency_p50_ms)
        limits += (
            Limit(
                signal="lateness_ms",
                name="send lateness by the second",
                said="requests were sent late: p99 {}",
                unit="ms",
                source="sent - due of every request",
                second=burst_ms,
            ),
        )
    means = {
        "steal": signals.steal_share,
        "server_foreign": signals.foreign_share,
        "run_queue_wait": signals.run_queue_share,
        "generator_cpu": signals.generator_cpu_share,
    }
    return hold(signals.timelines, limits, means)
