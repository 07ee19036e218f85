"""What a capacity search found, with everything that led to it: values only, ready for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from harness.nouns import Estimate

QUEUE, POOLED = "queue", "pooled"
MET, BROKE, UNDECIDED = "met", "broke", "undecided"
CONFIRMED, NOT_CONTRADICTED, REFUTED = "confirmed", "not contradicted", "refuted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedPoint:
    """A closed loop with so many users: requests answered per second."""

    users: int
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UslFit:
    """The Universal Scalability Law fitted to the closed loop; see `usl`. `None` with a reason where it could not be."""

    gain_per_s: float | None
    contention: float | None
    coherency: float | None
    peak_users: float | None
    peak_per_s: float | None
    retrograde: bool | None
    """Whether the measured throughput falls again with more users."""
    effective_servers: float | None
    """How many servers that never wait for each other would give the peak."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepVerdict:
    """One open-loop run under the SLO: counts by limit, the verdict, and the rule that ended it."""

    rate_per_s: float
    start: str
    n: int
    lost: int
    violations: tuple[int, ...]
    effective_n: tuple[float, ...]
    verdict: str
    stop_rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Fresh runs at one rate: whether they prove, leave open or refute that the SLO holds there."""

    rate_per_s: float
    starts: int
    n: int
    violations: tuple[int, ...]
    effective_n: tuple[float, ...]
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One way in which the server could differ from the queue it is taken for, and what was seen."""

    name: str
    passed: bool
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCapacity:
    """The capacity (1/s) under one limit alone."""

    limit: str
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The share of requests that break the binding limit at a rate, with its 95 % interval."""

    rate_per_s: float
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityFinding:
    """The highest rate (1/s) that meets every limit, how it was found and how far it can be trusted."""

    estimate: Estimate
    method: str
    """`queue`: from service times; `pooled`: from counts of violations, when the queue is contradicted."""
    binding: str | None
    """The limit that is met no further."""
    limits: tuple[LimitCapacity, ...]
    servers: int
    starts: int
    closed: tuple[ClosedPoint, ...]
    usl: UslFit | None
    steps: tuple[StepVerdict, ...]
    confirmations: tuple[Confirmation, ...]
    curve: tuple[CurvePoint, ...]
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    """Why this method, and what else to know."""
    stop_rule: str | None = None
    """The rule that ended the search."""

    def to_json(self) -> dict[str, Any]:
        """Plain lists, mappings and numbers."""
        return asdict(self)
