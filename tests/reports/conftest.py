"""The stored result, and results made from it that lie at the edges of the contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports import browser as browsers
from tests.reports.browser import Browser

FIXTURE = Path(__file__).parent / "fixtures" / "result.json"
HOSTILE = "</script><img src=x onerror=document.title='owned'>\u202egnp.exe\x1b[31m[bold]{{7*7}}%{x}" + "A" * 10_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests of a module; they are skipped where there is none."""
    browsers.require()
    with browsers.started(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def full() -> dict[str, Any]:
    """A plausible run: three ranked, two of them tied, and one each rejected, invalid, failed and skipped."""
    data: dict[str, Any] = json.loads(FIXTURE.read_bytes())
    return data


def all_rejected(full: dict[str, Any]) -> dict[str, Any]:
    kept = [row for row in full["candidates"] if row["latency_ms"]]
    for row in kept:
        row |= {
            "status": "rejected",
            "rank": None,
            "tie_group": None,
            "probability_best": None,
            "reason": "slower than the SLO",
        }
    reason = "the best one, openvino@local-1, has p99 138 ms against 100 ms"
    return full | {"candidates": kept, "recommendation": None, "recommendation_reason": reason, "scaling": None}


def partial(full: dict[str, Any]) -> dict[str, Any]:
    run = full["run"] | {"state": "partial", "screening_only": True, "lanes": 4}
    return full | {"run": run, "candidates": full["candidates"][:2]}


def single(full: dict[str, Any]) -> dict[str, Any]:
    row = full["candidates"][0] | {"tie_group": 1, "probability_best": 1.0}
    return full | {"candidates": [row]}


def nothing_measured(full: dict[str, Any]) -> dict[str, Any]:
    return full | {"candidates": full["candidates"][5:], "recommendation": None, "scaling": None}


def all_invalid(full: dict[str, Any]) -> dict[str, Any]:
    for row in full["candidates"]:
        row["status"], row["validity"] = "invalid", {"valid": False, "reasons": ["too noisy"], "warnings": []}
    return full


def hostile(full: dict[str, Any]) -> dict[str, Any]:
    """Every text of the result, but the statuses and what links rows to one another, is an attack."""
    fixed = {"status", "kind", "state", "objective"}

    def poison(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            prefix = HOSTILE if key in ("packages", "basis") else ""
            return {prefix + name: poison(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [poison(one, key) for one in value]
        if isinstance(value, str) and key not in fixed:
            return HOSTILE + ("\ud800" + value if key == "id" else "")
        return value

    poisoned: dict[str, Any] = poison(full, "")
    return poisoned


def projected(full: dict[str, Any]) -> dict[str, Any]:
    """A projected row that ties with the best, and one that was refused."""
    nothing = {"method": None, "quantiles": None, "reason": "its capacity was projected under this limit only"}
    base = full["candidates"][1] | {
        "backend": "ort",
        "basis": "projected",
        "cdf": None,
        "steps": [],
        "capacity_search": None,
        "capacity_by_limit": nothing,
        "compile_s": None,
        "artifact_bytes": None,
        "parity": None,
        "start_s": None,
        "queue_ms": None,
        "compute_ms": None,
        "transport_ms": None,
        "projection": {
            "from": "ort@local-1",
            "level": 0.9,
            "speed": {"value": 1.8, "low": 1.3, "high": 2.4},
            "servers": 2,
            "class": "cpu, same instruction set",
            "bound": "compute",
            "anchor": {"kind": "local", "text": "ort@local-1, measured here"},
            "notes": ["two servers share the last-level cache"],
        },
    }
    latency = {
        name: {"value": value, "low": 0.7 * value, "high": 1.4 * value, "n": 0}
        for name, value in (("p50", 34.0), ("p95", 58.0))
    }
    one = base | {
        "id": "ort@c7i.large",
        "instance": "c7i.large",
        "usd_per_hour": 0.0893,
        "capacity_per_s": {"value": 26.5, "low": 17.0, "high": 36.0, "reason": None},
        "usd_per_million": {"value": 0.94, "low": 0.69, "high": 1.46, "reason": None},
        "usd_per_million_at_target": {"value": 1.5, "low": 1.1, "high": 2.3, "reason": None},
        "latency_ms": latency,
        "service_ms": None,
        "rank": 3,
        "tie_group": 1,
        "probability_best": 0.1,
    }
    refused = dict.fromkeys(one) | {
        "id": "ort@t3.large",
        "instance": "t3.large",
        "basis": "projected",
        "status": "skipped",
        "reason": "t3.large has burstable CPUs, whose speed depends on credits",
    }
    full["candidates"] = [*full["candidates"][:2], one, *full["candidates"][2:], refused]
    return full


def everything_null(full: dict[str, Any]) -> dict[str, Any]:
    """Every leaf is null; rows and mappings stay."""

    def empty(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: empty(one) for name, one in value.items()}
        return [empty(one) for one in value] if isinstance(value, list) else None

    emptied: dict[str, Any] = empty(full)
    return emptied | {"schema": 1}


def every_branch_null(full: dict[str, Any]) -> dict[str, Any]:
    """Every field of the result, and of each candidate, is null as a whole."""
    rows = [dict.fromkeys(row) for row in full["candidates"]]
    return dict.fromkeys(full) | {"schema": 1, "candidates": rows}


def bare(full: dict[str, Any]) -> dict[str, Any]:
    return {"schema": 1}


def as_stored(full: dict[str, Any]) -> dict[str, Any]:
    return full


EDGES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "all rejected": all_rejected,
    "partial": partial,
    "single": single,
    "projected": projected,
    "nothing measured": nothing_measured,
    "all invalid": all_invalid,
    "hostile": hostile,
    "everything null": everything_null,
    "every branch null": every_branch_null,
    "bare": bare,
    "as stored": as_stored,
}


@pytest.fixture(params=EDGES, ids=lambda name: str(name).replace(" ", "-"), scope="module")
def edge(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each of the edges in turn; a test must not change it."""
    return EDGES[request.param](json.loads(FIXTURE.read_bytes()))
