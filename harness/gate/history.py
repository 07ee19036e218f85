"""Every night of the gate, one line of JSON each, only ever appended: what the tally and the change points are made of.

Two kinds of line: `night`, one candidate's outcome, and `environment`, the facts behind a fingerprint, once each. A line that
cannot be read, or of a later schema, is passed over with a warning and stays where it is.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.gate import creep, selftest
from harness.gate.decision import METRICS
from harness.gate.selftest import Tally

SCHEMA = 1
FILE = "history.jsonl"
NIGHT, ENVIRONMENT = "night", "environment"
_KEY = ("hardware", "environment", "model", "candidate")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The nights in the order kept, the facts of each environment by its fingerprint, and what was passed over."""

    nights: tuple[dict[str, Any], ...]
    environments: Mapping[str, dict[str, Any]]
    warnings: tuple[str, ...] = ()


def read(folder: Path) -> History:
    """The history in the baseline's folder; empty when there is none yet."""
    path = folder / FILE
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return History(nights=(), environments={})
    nights: list[dict[str, Any]] = []
    environments: dict[str, dict[str, Any]] = {}
    bad: list[int] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(line)
        if row is None:
            bad.append(number)
        elif row["kind"] == ENVIRONMENT:
            environments[row["fingerprint"]] = row["facts"]
        else:
            nights.append(row)
    warnings: tuple[str, ...] = ()
    if bad:
        listed = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        warnings = (f"{path}: {len(bad)} unreadable line(s) passed over ({listed}); the history is that much shorter",)
    return History(nights=tuple(nights), environments=environments, warnings=warnings)


def append(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add lines at the end, all or none, durably; a line torn by an earlier crash is left as it is and closed off first."""
    with (folder / FILE).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        torn = False
        if size:
            file.seek(size - 1)
            torn = file.read(1) != b"\n"
        text = "".join(json.dumps({"schema": SCHEMA, **row}, allow_nan=False) + "\n" for row in rows)
        file.write((b"\n" if torn else b"") + text.encode())
        file.flush()
        os.fsync(file.fileno())


def key(night: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the nights of one series share."""
    return tuple(night[name] for name in _KEY)


def new_series(history: History, night: Mapping[str, Any]) -> str | None:
    """That this night begins a new series, and what changed since the last one of the same candidate; None when it does not."""
    same = [each for each in history.nights if each["model"] == night["model"] and each["candidate"] == night["candidate"]]
    if not same or any(key(each) == key(night) for each in same):
        return None
    before, now = (history.environments.get(each["environment"], {}) for each in (same[-1], night))
    changed = [name for name in _flat(now) if _flat(before).get(name) != _flat(now)[name]] if before and now else []
    what = ", ".join(f"{name}: {_flat(before).get(name)} → {_flat(now)[name]}" for name in changed[:6])
    more = f" and {len(changed) - 6} more" if len(changed) > 6 else ""
    return f"the environment changed{f' ({what}{more})' if what else ''}: the history starts a new series"


def tallies(nights: Iterable[Mapping[str, Any]]) -> dict[str, Tally]:
    """How often the twin stayed silent and the canary was caught, over all nights on which that was measured."""
    known = [night["self_test"] for night in nights]
    return {
        "twin": selftest.tally(each["silent"] for each in known if each["silent"] is not None),
        "canary": selftest.tally(each["fired"] for each in known if each["fired"] is not None),
    }


def warnings(history: History, candidate_key: tuple[Any, ...]) -> list[str]:
    """Creep of one candidate's metrics in its present series: against the baseline, or in absolute figures."""
    nights = [night for night in history.nights if key(night) == candidate_key]
    said = []
    for metric in METRICS:
        for what, of in (("tonight / baseline", "ratio"), ("tonight's figure", "tonight")):
            rows = _comparable(nights, metric.name, of)
            found = creep.look([value for _, value in rows], higher_is_better=metric.higher_is_better)
            if found is not None:
                since = rows[found.since][0]["utc"][:10]
                said.append(f"{metric.name} has crept {found.worse:+.1%} worse since {since} ({what}, {len(rows)} nights)")
                break
    return said


def series(history: History, rows: Sequence[Mapping[str, Any]], most: int = 60) -> list[dict[str, Any]]:
    """For each of tonight's candidates and each metric the last nights of its series: instants and ratios, to be drawn."""
    found = []
    for row in rows:
        nights = [night for night in history.nights if key(night) == key(row)][-most:]
        for metric in METRICS:
            points = [(night["utc"], night["metrics"].get(metric.name, {}).get("ratio")) for night in nights]
            known = [[utc, ratio] for utc, ratio in points if ratio is not None]
            if known:
                found.append({"candidate": row["candidate"], "metric": metric.name, "ratios": known})
    return found


def _comparable(nights: Sequence[dict[str, Any]], metric: str, of: str) -> list[tuple[dict[str, Any], float]]:
    """The nights that have the figure and share the last one's baseline (a ratio) or rate (an absolute figure)."""
    shared = "baseline" if of == "ratio" else "rate_per_s"
    last = nights[-1][shared] if nights else None
    found = []
    for night in nights:
        value = night["metrics"].get(metric, {}).get(of)
        if value is not None and night[shared] == last:
            found.append((night, float(value)))
    return found


def _row(line: bytes) -> dict[str, Any] | None:
    """The line as a row that can be used, or None."""
    try:
        row = json.loads(line)
        if row["schema"] != SCHEMA or row["kind"] not in (NIGHT, ENVIRONMENT):
            return None
        if row["kind"] == ENVIRONMENT:
            return row if isinstance(row["facts"], dict) and isinstance(row["fingerprint"], str) else None
        figures = [each[of] for each in row["metrics"].values() for of in ("baseline", "tonight", "ratio")]
        whole = all(figure is None or (math.isfinite(figure) and figure > 0) for figure in figures)
        texts = [row[name] for name in (*_KEY, "utc", "baseline", "verdict")]
        tests = [row["self_test"][name] for name in ("silent", "fired")]
        row["rate_per_s"]
        good = whole and all(isinstance(text, str) for text in texts) and all(each in (True, False, None) for each in tests)
        return row if good else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts with the packages one by one, without what follows from them."""
    plain = {name: value for name, value in facts.items() if name not in ("packages", "lanes", "fingerprint")}
    return plain | dict(facts.get("packages") or {})
