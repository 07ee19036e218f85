"""Results that differ from the stored one in known ways, for the pages about several runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

from tests.reports.conftest import FIXTURE


def stored() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(FIXTURE.read_bytes())
    return data


def slower(result: dict[str, Any], factors: Sequence[float]) -> dict[str, Any]:
    """A copy in which the candidates take `factors` times as long: latencies and cost rise by it, capacity falls."""
    made = copy.deepcopy(result)
    for row, factor in zip(made["candidates"], factors, strict=False):
        for figure in (*(row["latency_ms"] or {}).values(), *(row["service_ms"] or {}).values(), row["usd_per_million"]):
            _scale(figure, factor)
        _scale(row["capacity_per_s"], 1 / factor)
    return made


def _scale(figure: dict[str, Any] | None, factor: float) -> None:
    for key in ("value", "low", "high"):
        if figure and figure.get(key) is not None:
            figure[key] *= factor


def elsewhere(result: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A copy that was measured in another environment."""
    made = copy.deepcopy(result)
    made["environment"] |= {"fingerprint": "0123456789abcdef", "kernel": "6.12.0"} | changed
    return made


def at(result: dict[str, Any], name: str, day: int, **run: Any) -> dict[str, Any]:
    """A copy of another day under another name."""
    made = copy.deepcopy(result)
    made["run"] |= {"id": name, "created_utc": f"2026-11-{day:02d}T09:30:00+00:00"} | run
    return made
