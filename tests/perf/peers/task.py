"""What a tool is asked to do, and what it said came of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One load of `POST path` at a stated rate. Programs of the peers read the same names from its JSON."""

    host: str
    port: int
    path: str
    headers: dict[str, str]
    body: str
    """Path of the file with the body of every request."""
    rate_per_s: float
    duration_s: float
    arrivals: str
    """`constant` or `poisson`; a tool that knows one only keeps to that one."""
    users: int
    """For tools that have users instead of arrivals: how many share the rate."""
    seed: int = 0

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(**json.loads(path.read_text()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A tool's own figures: latencies in ms by name of quantile, None where it gives none, with the reason in `note`."""

    latency_ms: dict[str, float | None]
    requests: int
    failures: int
    note: str | None = None

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """Raises KeyError for a figure that is missing."""
        return cls(
            latency_ms={name: data["latency_ms"][name] for name in QUANTILES},
            requests=int(data["requests"]),
            failures=int(data["failures"]),
            note=data.get("note"),
        )
