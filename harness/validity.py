"""Whether a run may decide anything, judged from independent signals and never from how fast it was.

The limits are starting values from the practice of open-loop load generation: a generator that is late, busy or short of
connections reports its own delay as the server's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from harness.nouns import Validity

MAX_LATE_MS = 1.0
MAX_LATE_SHARE = 0.05
"""Lateness and loop lag may reach the larger of 1 ms and this share of the median latency."""
MAX_GENERATOR_CPU = 0.70
MAX_RUN_QUEUE = 0.02
"""Share of the run in which the generator was ready but had no CPU."""
MAX_CAPACITY_SHARE = 0.50
"""Of the rate the generator reaches against a server that does nothing."""
LITTLE_TOLERANCE = 0.02
LITTLE_PER_REQUEST_MS = 0.2
"""What reading two clocks apart may add to each request."""
LITTLE_ENOUGH_MS = 500.0
"""In-flight time below which Little's law cannot show anything."""
WARN_STEAL, MAX_STEAL = 0.005, 0.02
WARN_FOREIGN, MAX_FOREIGN = 0.01, 0.05
MAX_CONNECTION_SHARE = 0.01
"""Connections opened in the window beyond those that failed requests took with them, per request sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What is known about a run. None means that it was not measured, which is said as a warning; shares are 0..1.

    `contradiction` is why the counts cannot all be true (None: they agree), `generator_cpu_share` the largest share of one
    core, `little_ms` Σ (done - sent) and `in_flight_ms` the generator's own time integral of its in-flight counter.
    """

    open_loop: bool
    planned: int
    sent: int
    lost_after_sending: int
    dropped: int
    contradiction: str | None
    offered_per_s: float | None = None
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


_NAMES = {
    "lateness_p99_ms": "send lateness",
    "loop_lag_p99_ms": "loop lag",
    "run_queue_share": "run-queue wait",
    "generator_cpu_share": "generator CPU",
    "generator_capacity_per_s": "generator capacity",
    "locust_requests": "Locust's request count",
    "locust_failures": "Locust's failure count",
    "little_ms": "total time in service",
    "in_flight_ms": "in-flight integral",
    "connections_opened": "connections opened",
    "steal_share": "steal",
    "foreign_share": "foreign CPU use",
}
_OPEN_LOOP_ONLY = {"lateness_p99_ms", "loop_lag_p99_ms", "generator_capacity_per_s"}
"""A closed loop sends when it can: nothing in it is due, and a full one lags by design."""


def judge(signals: Signals) -> Validity:
    """The verdict on a run: every broken limit is a reason, with its figure and its threshold."""
    reasons = (*_counts(signals), *_generator(signals), *_little(signals), *_machine(signals, MAX_STEAL, MAX_FOREIGN))
    warnings = [*_reconnects(signals)]
    if not any(_machine(signals, MAX_STEAL, MAX_FOREIGN)):
        warnings += _machine(signals, WARN_STEAL, WARN_FOREIGN)
    missing = [_NAMES[each.name] for each in fields(signals) if each.name in _NAMES and _is_missing(signals, each.name)]
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
    limit_ms = max(MAX_LATE_MS, MAX_LATE_SHARE * (signals.latency_p50_ms or 0.0))
    late, lag, busy = signals.lateness_p99_ms, signals.loop_lag_p99_ms, signals.generator_cpu_share
    if signals.open_loop and late is not None and late > limit_ms:
        yield f"requests were sent late: p99 {late:.2f} ms, limit {limit_ms:.2f} ms"
    if signals.open_loop and lag is not None and lag > limit_ms:
        yield f"the generator's loop lagged: p99 {lag:.2f} ms, limit {limit_ms:.2f} ms"
    if busy is not None and busy > MAX_GENERATOR_CPU:
        yield f"the generator was busy: {busy:.0%} of its core, limit {MAX_GENERATOR_CPU:.0%}"
    waited = signals.run_queue_share
    if waited is not None and waited > MAX_RUN_QUEUE:
        yield f"the generator waited for its core {waited:.1%} of the time, limit {MAX_RUN_QUEUE:.0%}"
    offered, capacity = signals.offered_per_s, signals.generator_capacity_per_s
    if signals.open_loop and offered is not None and capacity is not None and offered > MAX_CAPACITY_SHARE * capacity:
        yield f"the rate of {offered:.4g}/s is above {MAX_CAPACITY_SHARE:.0%} of the {capacity:.4g}/s the generator can do"


def _little(signals: Signals) -> Iterator[str]:
    """Little's law (1961): the requests' times in the system add up to the time integral of their number."""
    total, integral = signals.little_ms, signals.in_flight_ms
    if total is None or integral is None or max(total, integral) < LITTLE_ENOUGH_MS:
        return
    allowed = max(LITTLE_TOLERANCE * max(total, integral), LITTLE_PER_REQUEST_MS * signals.sent)
    if abs(total - integral) > allowed:
        yield (
            f"Little's law fails: service times add up to {total:.0f} ms, requests in flight to {integral:.0f} ms, "
            f"allowed difference {allowed:.0f} ms"
        )


def _machine(signals: Signals, steal_limit: float, foreign_limit: float) -> Iterator[str]:
    if signals.steal_share is not None and signals.steal_share > steal_limit:
        yield f"the hypervisor took {signals.steal_share:.1%} of the CPU time (steal), limit {steal_limit:.1%}"
    if signals.foreign_share is not None and signals.foreign_share > foreign_limit:
        yield f"others used {signals.foreign_share:.1%} of the server's cores, limit {foreign_limit:.1%}"
