"""What is written down when a visit ends: facts only, from which every measurement can be computed again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness.endpoint import ColdStart
from harness.nouns import Failure, LoadProfile
from harness.resources import ResourceUse
from harness.steady import Steadiness
from loadprofiles.plan import Reply

CLOSED, SEARCH, REFERENCE, CONFIRM = "closed", "search", "reference", "confirm"
"""The kinds of run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One candidate under one load: the profile, what the generator and the machine reported, and the samples' file."""

    kind: str
    profile: LoadProfile
    reply: Reply
    resources: ResourceUse
    samples: str
    """Relative to the run folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitRecord:
    """One server start and everything measured before it was stopped; `failure` says why it ended early, if it did."""

    id: str
    block: int
    ordinal: int
    candidate: str
    purpose: str
    cold: ColdStart | None
    warmup_s: float | None
    steadiness: Steadiness | None
    """What the warm-up showed; None when there was none."""
    runs: tuple[RunRecord, ...]
    failure: Failure | None
    warmup_start_ns: int | None = None
    warmup_window_ms: tuple[float | None, ...] = ()
    """The median of every window of the warm-up, None where nothing was answered; empty in records of older versions."""


_ADAPTER = TypeAdapter(VisitRecord)


def to_json(record: VisitRecord) -> dict[str, Any]:
    """JSON values of a record, for the store."""
    value: dict[str, Any] = _ADAPTER.dump_python(record, mode="json")
    return value


def from_json(value: dict[str, Any]) -> VisitRecord:
    """The record back from the store; raises ValueError when it is not one."""
    return _ADAPTER.validate_python(value, strict=False)


def samples_path(folder: Path, run: RunRecord) -> Path:
    return folder / run.samples
