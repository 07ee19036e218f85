"""What a run knows about a candidate, read from its folder: capacity, price, start-up and service times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import resultfile
from harness import slo as slos
from harness.errors import UsageError
from harness.fleet import service
from harness.fleet.service import ServiceTimes
from harness.nouns import SLO
from loadprofiles import samples as sample_files
from loadprofiles.samples import Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A candidate as the simulator needs it; `starts_s` are from process start to the first answer, one a start."""

    id: str
    model: str
    instance: str
    workers: int
    capacity_per_s: float
    capacity_low_per_s: float | None
    capacity_high_per_s: float | None
    usd_per_hour: float | None
    starts_s: tuple[float, ...]
    memory_mb: float | None
    service: ServiceTimes
    slo: SLO


def read(run: Path, candidate: str | None) -> Measured:
    """From a run folder or its result.json; the recommended candidate unless one is named.

    Raises UsageError that says what is missing: no result, no such candidate, no capacity, no samples.
    """
    path = run / "result.json" if run.is_dir() else run
    result = resultfile.load(path)
    row = _row(path, result, candidate)
    name = str(row["id"])
    capacity = row.get("capacity_per_s") or {}
    if not capacity.get("value"):
        why = capacity.get("reason") or "it was not searched for"
        raise UsageError(f"{path}: {name} has no capacity under the SLO ({why}); bench it longer or name another --candidate")
    if row.get("start_s") is None:
        raise UsageError(f"{path}: the start-up of {name} was not measured; bench it again")
    said = result.get("slo") or {}
    if "text" not in said:
        raise UsageError(f"{path}: the run has no SLO; bench with --slo 'p99<100ms'")
    return Measured(
        id=name,
        model=str(result["model"]["name"]),
        instance=str(row["instance"] if isinstance(row["instance"], str) else row["instance"]["name"]),
        workers=int(row["workers"]),
        capacity_per_s=float(capacity["value"]),
        capacity_low_per_s=capacity.get("low"),
        capacity_high_per_s=capacity.get("high"),
        usd_per_hour=row.get("usd_per_hour"),
        starts_s=tuple(row.get("starts_s") or (float(row["start_s"]),)),
        memory_mb=row.get("memory_mb"),
        service=_service(path.parent, row),
        slo=slos.parse(str(said["text"])),
    )


def _row(path: Path, result: Mapping[str, Any], candidate: str | None) -> Mapping[str, Any]:
    known = {str(row["id"]): row for row in result["candidates"]}
    name = candidate
    if name is None:
        recommended = result.get("recommendation")
        if recommended is None:
            raise UsageError(f"{path} recommends nothing ({result.get('recommendation_reason')}); name one with --candidate")
        name = str(recommended["id"])
    if name not in known:
        raise UsageError(f"{path} has no candidate {name!r}; known are {', '.join(known)}")
    found: Mapping[str, Any] = known[name]
    return found


def _service(folder: Path, row: Mapping[str, Any]) -> ServiceTimes:
    """The samples of the valid runs, as service times."""
    runs: dict[bool, list[Samples]] = {True: [], False: []}
    for step in row.get("steps") or []:
        if step["valid"] and step.get("samples"):
            path = folder / step["samples"]
            if not path.is_file():
                raise UsageError(f"{path} is missing; `autoscale` needs the samples of the run, not only its result.json")
            runs[step["kind"] == "closed"].append(sample_files.read(path))
    found = service.measured(runs[True], runs[False], int(row["workers"]))
    if found is None:
        raise UsageError(f"{folder}: {row['id']} has fewer than {service.FEWEST} good requests in valid runs; bench it longer")
    return found
