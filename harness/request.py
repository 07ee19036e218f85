"""What the user asked for, as one value; it is stored with the run so that a resumed bench asks for the same."""

from __future__ import annotations

from dataclasses import dataclass

OBJECTIVES = ("cost", "latency", "throughput")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """An endpoint that somebody else serves: its name in this bench, its URL, and the instance type it is on."""

    name: str
    url: str
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """The options of `loadstone bench`, names resolved and bounds checked. Paths are kept as text."""

    model: str
    backends: tuple[str, ...]
    instances: tuple[str, ...]
    profile: str
    objective: str
    seed: int
    precisions: tuple[str, ...] = ("fp32",)
    slo: str | None = None
    rate_per_s: float | None = None
    lanes: int | None = None
    payload_dir: str | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    price_per_hour: float | None = None
    demand_per_s: float | None = None
    """What the smallest fleets are sized for."""
    endpoints: tuple[Remote, ...] = ()
    project: tuple[str, ...] = ()
    """Catalogue instances that nobody reached."""
    catalogue: str | None = None
    """A file of the user's over the catalogue."""
    peak_per_s: float | None = None
    growth_per_min: float | None = None
    compile_timeout_s: float = 900.0
    command: str = ""
    """The command line that reproduces this bench."""
