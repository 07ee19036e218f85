"""When everything happened: every visit's start, warm-up and runs on one axis, and the machine's signals second by second."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from harness import observe
from harness.findings import Findings, SeenRun
from harness.limits import LIMITS
from harness.records import VisitRecord
from harness.timeline import Timeline

SECONDS = 1500
"""Most intervals kept; beyond that neighbours share one, with the worst of their values."""
_SIGNALS = {limit.signal: limit.second or limit.warn for limit in LIMITS if limit.second or limit.signal == "cpu_pressure"}
_PAUSE_S = 600.0
"""A gap between visits beyond this is shown as `_SHOWN_S`: nothing was measured in it, the bench was resumed after it."""
_SHOWN_S = 30.0


def timeline(findings: Findings) -> dict[str, Any]:
    """`visits` in the order made, `seconds` column by column with `at_s` their beginnings, `limits` of a single second.

    Seconds count from the first visit; gaps of more than ten minutes, and the clock of another boot, are taken out.
    """
    seen = {
        visit.id: [run for run in findings.runs(name) if run.visit is visit]
        for name, visits in _by_candidate(findings.visits).items()
        for visit in visits
    }
    placed = list(_placed(findings.visits))
    rows = [row for visit, shift_ns in placed for run in seen[visit.id] for row in _seconds(findings, run, shift_ns)]
    return {
        "visits": [_visit(visit, seen[visit.id], shift_ns) for visit, shift_ns in placed],
        "seconds": _columns(_thinned(sorted(rows, key=lambda row: row[0]))),
        "limits": dict(_SIGNALS),
    }


def _by_candidate(visits: Iterable[VisitRecord]) -> dict[str, list[VisitRecord]]:
    found: dict[str, list[VisitRecord]] = {}
    for visit in visits:
        found.setdefault(visit.candidate, []).append(visit)
    return found


def _span(visit: VisitRecord) -> tuple[int, int] | None:
    """First and last instant of a visit, None when it did not come to its first request."""
    begins = [run.reply.start_ns for run in visit.runs]
    ends = [run.reply.start_ns + run.reply.active_ns for run in visit.runs]
    if visit.warmup_start_ns is not None:
        begins.append(visit.warmup_start_ns)
        ends.append(visit.warmup_start_ns + round((visit.warmup_s or 0.0) * 1e9))
    if not begins:
        return None
    return min(begins) - round((visit.cold.start_s if visit.cold else 0.0) * 1e9), max(ends)


def _placed(visits: Iterable[VisitRecord]) -> Iterator[tuple[VisitRecord, int]]:
    """Each visit with what to take from its clock, to count from the first; one that never began has its neighbour's."""
    shift, end = None, 0
    for visit in visits:
        span = _span(visit)
        if span is not None:
            if shift is None:
                shift = span[0]
            ahead = (span[0] - shift - end) / 1e9
            if abs(ahead) > _PAUSE_S:
                shift = span[0] - end - round(_SHOWN_S * 1e9)
            end = max(end, span[1] - shift)
        yield visit, shift or 0


def _visit(visit: VisitRecord, runs: list[SeenRun], shift_ns: int) -> dict[str, Any]:
    found = visit.steadiness
    return {
        "candidate": visit.candidate,
        "purpose": visit.purpose,
        "block": visit.block,
        "start_s": visit.cold.start_s if visit.cold else None,
        "warm_up": None
        if visit.warmup_start_ns is None
        else {
            "begin_s": _s(visit.warmup_start_ns - shift_ns),
            "length_s": visit.warmup_s,
            "verdict": found.verdict.value if found else None,
            "begins": found.begins if found else None,
            "window_ms": [None if each is None else float(f"{each:.4g}") for each in visit.warmup_window_ms],
        },
        "runs": [
            {
                "kind": run.record.kind,
                "begin_s": _s(run.record.reply.start_ns - shift_ns),
                "length_s": _s(run.record.reply.active_ns),
                "valid": run.measurement.validity.valid,
            }
            for run in runs
        ],
        "failure": visit.failure.reason if visit.failure else None,
    }


def _s(ns: int) -> float:
    return round(ns / 1e9, 2)


Second = tuple[float, dict[str, float]]
"""When an interval began, and what was seen in it."""


def _seconds(findings: Findings, run: SeenRun, shift_ns: int) -> Iterator[Second]:
    for each in observe.timelines(run.record, findings.samples(run.record)):
        yield from _rows(each, shift_ns)


def _rows(each: Timeline, shift_ns: int) -> Iterator[Second]:
    for at in range(len(each)):
        known = {name: value for name in _SIGNALS if name in each.values and (value := each.values[name][at]) is not None}
        if known:
            yield _s(each.edges_ns[at] - shift_ns), known


def _thinned(rows: list[Second]) -> list[Second]:
    """One row for what began within the same second, or within as many as keep the number down."""
    if not rows:
        return []
    width_s = max(1.0, math.ceil((rows[-1][0] - rows[0][0]) / SECONDS))
    merged: dict[float, dict[str, float]] = {}
    for at_s, known in rows:
        into = merged.setdefault(math.floor(at_s / width_s) * width_s, {})
        for name, value in known.items():
            into[name] = max(value, into.get(name, value))
    return list(merged.items())


def _columns(rows: list[Second]) -> dict[str, list[float | None]]:
    names = [name for name in _SIGNALS if any(name in known for _, known in rows)]
    columns: dict[str, list[float | None]] = {"at_s": [at for at, _ in rows]}
    return columns | {name: [_short(known.get(name)) for _, known in rows] for name in names}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
