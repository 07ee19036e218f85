"""The nouns of a simulation: the fleet, what steers it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.fleet import policies
from harness.fleet.policies import Limits, Scheduled, StepScaling, TargetTracking
from harness.fleet.service import ServiceTimes


class Routing(StrEnum):
    """How a request finds its instance: SageMaker's two routing strategies."""

    RANDOM = "RANDOM"
    LEAST_OUTSTANDING = "LEAST_OUTSTANDING_REQUESTS"


class Metric(StrEnum):
    """What a policy watches, per instance: requests answered in a minute; requests in flight and queued (average), every 10 s
    of a real-time endpoint, every minute of an asynchronous one."""

    INVOCATIONS = "SageMakerVariantInvocationsPerInstance"
    CONCURRENCY = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
    BACKLOG = "ApproximateBacklogSizePerInstance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What the instances are like. `starts_s` are the measured times from process start to the first answer, to which
    `provisioning_s` is added; one is drawn for each new instance. `queue_limit` requests may wait in an instance beside its
    busy workers. `waits_at_zero` says what happens to a request while there is no instance: it waits, or it fails."""

    service: ServiceTimes
    workers: int
    starts_s: tuple[float, ...]
    provisioning_s: float
    routing: Routing = Routing.LEAST_OUTSTANDING
    queue_limit: int = 1024
    waits_at_zero: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that decides the capacity. `from_zero` adds this many instances when requests came while there was none
    (asynchronous: 2 of 2 minutes with a backlog; real-time: 1 minute with a failed call); 0 never leaves zero."""

    metric: Metric
    limits: Limits
    tracking: TargetTracking | None = None
    steps: tuple[StepScaling, ...] = ()
    schedule: tuple[Scheduled, ...] = ()
    from_zero: int = 0

    @property
    def period_s(self) -> int:
        """Shortest period of the metrics watched."""
        periods = [each.period_s for each in (self.tracking, *self.steps) if each is not None]
        return min(periods, default=policies.PERIOD_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One minute: requests that arrived per second, instances in service and asked for, requests outstanding (mean over
    the minute), and of the requests that arrived in it the SLO's highest quantile and p99 in ms (None when none did, or when
    they fell among the failed), how many broke that limit, and whether the minute alone broke any."""

    arrived_per_s: float
    serving: int
    capacity: int
    outstanding: float
    quantile_ms: float | None
    p99_ms: float | None
    violations: int
    broken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What a simulation showed. `violations_by_limit` counts, for each limit of the SLO, the requests slower than it or
    failed; `failed` were rejected by a full queue or found no instance. Instances are paid from the decision that adds
    them until they are drained."""

    seed: int
    requests: int
    violations_by_limit: tuple[int, ...]
    violations: int
    """Of the limit on the highest quantile."""
    failed: int
    keeps_slo: bool
    minutes_broken: int
    instance_hours: float
    most_serving: int
    p50_ms: float | None
    p99_ms: float | None
    mean_ms: float | None
    minutes: tuple[Minute, ...]

    @property
    def violation_ratio(self) -> float:
        return self.violations / self.requests if self.requests else 0.0
