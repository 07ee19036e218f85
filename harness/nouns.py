"""The nouns of the domain, one frozen value each; see docs/method.md for how they follow from one another.

Units are in the names: integer nanoseconds (`_ns`) for instants and samples, `_ms`, `_s`, `_bytes`, `_per_s` for derived
figures. A value that was not measured is None and its owner says why; it is never zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.request import Remote


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output: numpy dtype name and static shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What outputs may differ from the fp32 reference: error by its largest value, and the share whose top-1 must agree."""

    max_rel: float = 1e-3
    top1_agreement: float = 0.97


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What is served. `digest` is of the ONNX content; `folder` holds model.onnx, model.pt2 (if there is a program),
    payloads and the reference outputs."""

    name: str
    digest: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int | None
    flops: int | None
    weights: str  # `pretrained`, `seeded-random` or `file`
    weights_note: str
    """Where the weights came from, or why pretrained ones were not to be had."""
    reference: str  # what computed the outputs that parity compares against
    batch_axis: int | None = 0
    has_program: bool = False
    """Whether folder/model.pt2 exists, that is, whether the torch backends can run the original program."""
    tolerance: Tolerance = field(default_factory=Tolerance)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """Where a candidate runs. `usd_per_hour` is None when no price is known; `price_basis` says which price it is."""

    name: str
    vcpus: int
    memory_bytes: int
    usd_per_hour: float | None
    price_basis: str
    price_source: str
    price_date: str
    spot_usd_per_hour: float | None = None
    """What the spot market asks for the same, where the catalogue knows it; only a reader's what-if counts with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileOptions:
    """How a model becomes an artifact."""

    backend: str
    target: str = "host"
    """What it is compiled for, as it was asked for: `host`, a name of the target table, or Neo's TargetPlatform in JSON."""
    target_options: str = ""
    """Neo's CompilerOptions for the target, in JSON."""
    precision: str = "fp32"
    threads: int = 1
    optimisation_level: int = 3
    search_s: float = 0.0  # of tvm: seconds of a measured search,
    records: str = ""  # a file of what searches found,
    batches: tuple[int, ...] = ()  # and batch sizes besides 1 that get code of their own
    rpc: str = ""  # HOST:PORT of a device that the artifact is checked on


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One thing that could serve the model. `id` is readable and unique within a bench; `key` is a content hash."""

    id: str
    key: str
    model: ModelSpec
    options: CompileOptions
    instance: InstanceType
    workers: int = 1
    extra_work: float = 0.0
    """What its server works on top of every inference, as a share of that inference's time; only a canary's does."""
    python: str = ""
    """The interpreter that runs its server, with the packages installed there; empty: this one."""
    remote: Remote | None = None  # where it is served already; None for what is served here


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Not tried, with the reason in one line."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far an artifact's outputs are from the reference, over `payloads` payloads."""

    max_abs: float
    max_rel: float
    top1_agreement: float
    payloads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Tried and failed: at which stage, why in one line, and the log that shows it."""

    stage: str
    reason: str
    log: Path | None = None
    parity: Parity | None = None
    """How far off the outputs were, where that is what failed."""
    operator: str | None = None
    """The operators of the smallest graph that fails the same way, each with its node."""
    reproducer: Path | None = None
    """That graph, as an ONNX file."""
    reduction: str | None = None
    """How it was found, or why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A compiled model on disk."""

    path: Path
    digest: str
    size_bytes: int
    compile_s: float
    parity: Parity
    cached: bool
    details: dict[str, Any] = field(default_factory=dict)  # what the backend wants shown: its version, options it chose


class Outcome(StrEnum):
    """What became of one planned request; exactly one of these, so that the four counts add up to the plan."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DROPPED = "dropped"
    UNDRAINED = "undrained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of a load over which its level goes linearly from `start` to `end`: requests per second in an open loop, users
    in a closed one."""

    duration_s: float
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProfile:
    """One load: `constant` or `poisson` arrivals at `rate_per_s`, or those of a recorded `trace` (open loops), or `closed` with
    `users`. With `segments` the rate or the number of users follows them, and they add up to `duration_s`."""

    arrivals: str
    duration_s: float
    seed: int
    rate_per_s: float | None = None
    """None where the rate changes over time."""
    users: int | None = None
    """Of a closed loop: the highest number at any time."""
    segments: tuple[Segment, ...] = ()
    requests: int | None = None
    """A closed loop ends after this many, at the latest after `duration_s`."""
    trace: str | None = None
    """Path of the arrivals' file."""
    compress: float = 1.0
    """The trace is replayed this many times as fast as it was recorded."""

    @property
    def open_loop(self) -> bool:
        return self.arrivals != "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """One percentile in ms with its 95 % order-statistic interval; `value` is None when n cannot support it."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A point estimate with its 95 % interval; all None, with the reason, when it could not be estimated."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """Whether a run may decide anything, judged apart from how fast it was. Warnings do not invalidate."""

    valid: bool
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyLimit:
    """The `quantile` (0..1) of the latency must stay at or below `limit_ms`."""

    quantile: float
    limit_ms: float

    @property
    def allowed(self) -> float:
        """The share of requests that may be slower, 0..1."""
        return 1 - self.quantile

    def __str__(self) -> str:
        return f"p{_plain(round(100 * self.quantile, 7))}<{_plain(self.limit_ms)}ms"


DEFAULT_ERROR_RATIO = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class SLO:
    """Every one of `limits` (at least one, each quantile once) must hold, and errors stay at or below `max_error_ratio`.

    Written out as `slo.parse` reads it; the error limit only where it is not the default.
    """

    limits: tuple[LatencyLimit, ...]
    max_error_ratio: float = DEFAULT_ERROR_RATIO
    source: str = "given"
    """`given` by the user, or how the default was derived."""

    def __post_init__(self) -> None:
        if not self.limits or len({limit.quantile for limit in self.limits}) < len(self.limits):
            raise ValueError(f"an SLO needs at least one latency limit and each quantile once, got {self.limits}")

    @property
    def tail(self) -> LatencyLimit:
        """The limit on the highest quantile: the one to show where there is room for one."""
        return max(self.limits, key=lambda limit: limit.quantile)

    @property
    def longest_ms(self) -> float:
        """The longest of the limits: no answer is worth waiting for much beyond it."""
        return max(limit.limit_ms for limit in self.limits)

    def __str__(self) -> str:
        said = [str(limit) for limit in self.limits]
        if self.max_error_ratio != DEFAULT_ERROR_RATIO:
            said.append(f"errors<{_plain(round(100 * self.max_error_ratio, 10))}%")
        return ",".join(said)


def _plain(value: float) -> str:
    """The shortest digits that read back as `value`, without an exponent."""
    return f"{Decimal(repr(float(value))).normalize():f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one run showed. Latency counts from when a request was due, service from when it was sent."""

    profile: LoadProfile
    planned: int
    succeeded: int
    failed: int
    dropped: int
    undrained: int
    error_ratio: float | None
    """(failed + dropped + undrained) / planned; None when nothing was planned."""
    offered_per_s: float | None
    achieved_per_s: float | None
    latency_ms: dict[str, Quantile]
    service_ms: dict[str, Quantile]
    queue_ms: Quantile | None
    compute_ms: Quantile | None
    lateness_ms: dict[str, float]
    """p50 and p99 of sent - due; empty for a closed loop."""
    cpu_utilization: float | None
    memory_mb: float | None
    generator_cpu_ms_per_request: float | None
    validity: Validity


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One open-loop run seen as evidence on the SLO. Of `n` requests `lost` were not answered well; `violations` counts, limit
    by limit of the SLO, those slower than it or lost."""

    rate_per_s: float
    n: int
    violations: tuple[int, ...]
    lost: int
    duration_s: float
    block: int


class Status(StrEnum):
    """The state of a candidate's row in the result."""

    RANKED = "ranked"
    REJECTED = "rejected"
    INVALID = "invalid"
    FAILED = "failed"
    SKIPPED = "skipped"
