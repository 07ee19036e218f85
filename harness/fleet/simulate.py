"""One fleet through one demand under one policy: the control loop around the kernel. A pure function of its arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.fleet import demand as demands
from harness.fleet import policies
from harness.fleet.demand import Counts
from harness.fleet.nouns import Day, Fleet, Metric, Minute, Policy, Routing
from harness.fleet.policies import Limits, State
from harness.fleet.servers import Servers
from harness.nouns import SLO
from harness.statistics import nearest_rank
from loadprofiles.traces import Trace

NS_PER_S = 1_000_000_000
_ROUTE_STREAM, SERVICE_STREAM, _START_STREAM = 2, 3, 4
_MINUTE_S = 60
_P99 = 0.99


def simulate(fleet: Fleet, policy: Policy, demand: demands.Demand, slo: SLO, seed: int, *, initial: int | None = None) -> Day:
    """The whole of `demand` under `seed`. `initial` instances are in service at the start (default: the least allowed)."""
    found = demands.counts(demand, seed)
    run = _Run(fleet, policy, found, slo, seed, policy.limits.least if initial is None else initial)
    ticks = math.ceil(demand.span_ns / run.tick_ns)
    for index, arrived in zip(range(ticks), demands.arrivals(found, run.tick_ns, seed), strict=False):
        run.tick(index, arrived)
    return run.finished(ticks)


class _Run:
    """The state of one simulation."""

    def __init__(self, fleet: Fleet, policy: Policy, found: Counts, slo: SLO, seed: int, initial: int) -> None:
        self.fleet, self.policy, self.slo, self.seed = fleet, policy, slo, seed
        self.tick_ns = policy.period_s * NS_PER_S
        self.servers = Servers(fleet.service, fleet.workers, fleet.queue_limit, fleet.routing is Routing.LEAST_OUTSTANDING)
        self.routing, self.drawing = demands.stream(seed, _ROUTE_STREAM), demands.stream(seed, SERVICE_STREAM)
        self.starting = demands.stream(seed, _START_STREAM)
        self.servers.add([0] * initial, 0)
        self.limits = policy.limits
        self.state = State(now_s=0.0, capacity=initial, serving=initial)
        self.points: list[float | None] = []
        self.per_minute: list[float | None] = []
        self.unserved_minutes: list[int] = []
        self.waiting = np.empty(0, np.int64)
        self.latencies: list[NDArray[np.float32]] = []
        self.minute_latencies: list[NDArray[np.float32]] = []
        self.minutes: list[Minute] = []
        self.answered_share = self.area = 0.0
        self.tick_share = self.tick_area = 0.0
        self.arrived = self.unserved = 0

    def tick(self, index: int, arrived: NDArray[np.int64]) -> None:
        """Serve one metric period, publish its metrics, decide."""
        begin, end = index * self.tick_ns, (index + 1) * self.tick_ns
        self.tick_share = self.tick_area = 0.0
        instants = [begin, *self.servers.ready_between(begin, end), end]
        cuts = np.searchsorted(arrived, instants)
        routing, drawing = self.routing.random(arrived.size), self.drawing.random(arrived.size)
        for part in range(len(instants) - 1):
            inside = slice(cuts[part], cuts[part + 1])
            self._serve(arrived[inside], routing[inside], drawing[inside], instants[part], instants[part + 1])
        self.arrived += arrived.size
        self.answered_share += self.tick_share
        self.area += self.tick_area
        self._publish(end)
        self._decide(end)

    def _serve(
        self, due: NDArray[np.int64], routing: NDArray[np.float64], drawing: NDArray[np.float64], begin: int, end: int
    ) -> None:
        serving = self.servers.serving(begin)
        if not serving.size:
            if self.fleet.waits_at_zero:
                self.waiting = np.concatenate([self.waiting, due])
            else:
                self._record(np.full(due.size, np.inf, np.float32))
            self.unserved += due.size
            self.tick_area += self.servers.serve(due[:0], routing[:0], drawing[:0], serving, begin, end)[2]
            self.tick_area += float(self.waiting.size) * (end - begin)
            return
        if self.waiting.size:
            # The backlog goes to the first instance that is ready, before whatever comes next.
            late = self.waiting.size
            due = np.concatenate([self.waiting, due])
            routing = np.concatenate([self.routing.random(late), routing])
            drawing = np.concatenate([self.drawing.random(late), drawing])
            self.waiting = due[:0]
        sent = np.maximum(due, begin)
        done, answered, area = self.servers.serve(sent, routing, drawing, serving, begin, end)
        self.tick_share += (answered + int((done < 0).sum())) / serving.size
        self.tick_area += area
        self._record(np.where(done < 0, np.inf, (done - due) / 1e6).astype(np.float32))

    def _record(self, latencies_ms: NDArray[np.float32]) -> None:
        if latencies_ms.size:
            self.minute_latencies.append(latencies_ms)

    def _publish(self, end: int) -> None:
        """The metrics as CloudWatch would have them now, and every full minute its row."""
        serving = self.servers.serving(end - 1).size
        concurrency = self.tick_area / self.tick_ns / serving if serving else None
        minute_ends = end % (_MINUTE_S * NS_PER_S) == 0
        if self.policy.metric is Metric.CONCURRENCY:
            self.points.append(concurrency)
        elif minute_ends and self.policy.metric is Metric.BACKLOG:
            self.points.append(self.area / (_MINUTE_S * NS_PER_S) / serving if serving else None)
        elif minute_ends:
            self.points.append(self.answered_share if serving else None)
        if minute_ends:
            self._row(serving)

    def _row(self, serving: int) -> None:
        latencies = np.concatenate(self.minute_latencies) if self.minute_latencies else np.empty(0, np.float32)
        self.latencies.append(latencies)
        tail, n = self.slo.tail, latencies.size
        by_limit = _broken(latencies, self.slo)
        quantile_ms = _quantile(latencies, tail.quantile)
        self.minutes.append(
            Minute(
                arrived_per_s=self.arrived / _MINUTE_S,
                serving=serving,
                capacity=self.state.capacity,
                outstanding=self.area / (_MINUTE_S * NS_PER_S),
                quantile_ms=quantile_ms,
                p99_ms=quantile_ms if tail.quantile == _P99 else _quantile(latencies, _P99),
                violations=by_limit[self.slo.limits.index(tail)],
                broken=not _kept(self.slo, by_limit, n),
            )
        )
        self.unserved_minutes.append(max(self.unserved, self.waiting.size))
        self.minute_latencies = []
        self.arrived = self.unserved = 0
        self.answered_share = self.area = 0.0

    def _decide(self, end: int) -> None:
        before_s, now_s = (end - self.tick_ns) / NS_PER_S, end / NS_PER_S
        self.limits = policies.scheduled(self.policy.schedule, self.limits, before_s, now_s)
        # The metric speaks for those who were there when its period began.
        state = replace(self.state, now_s=now_s, serving=self.servers.serving(end - self.tick_ns).size)
        fresh = self.policy.metric is Metric.CONCURRENCY or end % (_MINUTE_S * NS_PER_S) == 0
        wanted = self._wanted(state) if fresh else None
        if state.capacity == 0:
            wanted = self._from_zero(end)
        self.state = policies.applied(wanted, self.limits, state)
        change = self.state.capacity - state.capacity
        if change > 0:
            starts = self.starting.choice(np.asarray(self.fleet.starts_s), change) + self.fleet.provisioning_s
            self.servers.add([end + round(start * NS_PER_S) for start in starts], end)
        elif change < 0:
            self.servers.remove(-change, end)

    def _wanted(self, state: State) -> int | None:
        tracking = self.policy.tracking
        found = [] if tracking is None else [policies.track(tracking, self.points, state)]
        if tracking is not None and tracking.disable_scale_in and found == [None]:
            found = []
        return policies.combined(found, [policies.step(each, self.points, state) for each in self.policy.steps], state)

    def _from_zero(self, end: int) -> int | None:
        """The step policy that leaves zero, at minute ends."""
        if not self.policy.from_zero or end % (_MINUTE_S * NS_PER_S):
            return None
        needed = 2 if self.fleet.waits_at_zero else 1
        last = self.unserved_minutes[-needed:]
        return self.policy.from_zero if len(last) == needed and all(count >= 1 for count in last) else None

    def finished(self, ticks: int) -> Day:
        """The sums. Who still waits for a first instance at the end has violated the SLO."""
        end = ticks * self.tick_ns
        if self.minute_latencies or self.waiting.size:
            self._record(np.full(self.waiting.size, np.inf, np.float32))
            self._row(self.servers.serving(end - 1).size)
        latencies = np.concatenate(self.latencies) if self.latencies else np.empty(0, np.float32)
        failed = int(np.isinf(latencies).sum())
        by_limit, n = _broken(latencies, self.slo), latencies.size
        good = latencies[np.isfinite(latencies)] if failed else latencies
        return Day(
            seed=self.seed,
            requests=n,
            violations_by_limit=by_limit,
            violations=by_limit[self.slo.limits.index(self.slo.tail)],
            failed=failed,
            keeps_slo=_kept(self.slo, by_limit, n) and failed <= self.slo.max_error_ratio * n,
            minutes_broken=sum(row.broken for row in self.minutes),
            instance_hours=self.servers.paid_ns(end) / NS_PER_S / 3600,
            most_serving=max((row.serving for row in self.minutes), default=0),
            p50_ms=_quantile(latencies, 0.5),
            p99_ms=_quantile(latencies, _P99),
            mean_ms=None if not good.size else float(good.mean(dtype=np.float64)),
            minutes=tuple(self.minutes),
        )


def _broken(latencies_ms: NDArray[np.float32], slo: SLO) -> tuple[int, ...]:
    """Requests beyond each limit; who failed has taken for ever."""
    return tuple(int((latencies_ms > limit.limit_ms).sum()) for limit in slo.limits)


def _kept(slo: SLO, by_limit: Sequence[int], n: int) -> bool:
    return all(count <= (1 - limit.quantile) * n + 1e-6 for count, limit in zip(by_limit, slo.limits, strict=True))


def _quantile(values_ms: NDArray[np.float32], p: float) -> float | None:
    """Nearest rank without an interval: of a simulation, which has no other uncertainty than its model."""
    if not values_ms.size:
        return None
    rank = nearest_rank(values_ms.size, p) - 1
    found = float(np.partition(values_ms, rank)[rank])
    return found if math.isfinite(found) else None


def steady(fleet: Fleet, instances: int, rate_per_s: float, seconds: int, slo: SLO, seed: int) -> Day:
    """A fleet of fixed size under a constant Poisson load: what theory and live measurements can be compared with."""
    minutes = max(1, round(seconds / _MINUTE_S))
    drawn = demands.stream(seed, 9).poisson(rate_per_s * _MINUTE_S, minutes).astype(np.int64)
    trace = Trace(name="steady", span_ns=minutes * _MINUTE_S * NS_PER_S, counts=drawn, interval_ns=_MINUTE_S * NS_PER_S)
    policy = Policy(metric=Metric.INVOCATIONS, limits=Limits(least=instances, most=instances))
    return simulate(fleet, policy, demands.Demand(trace=trace), slo, seed)


def mean_outstanding(days: Sequence[Day]) -> float:
    """Requests in flight and queued, mean over all minutes."""
    return float(np.mean([row.outstanding for day in days for row in day.minutes]))
