"""`loadstone gate history`, and what a night adds to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.gate import baseline as baselines
from harness.gate import history, result, selftest
from reports.gate import terminal


def remembered(folder: Path, document: dict[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the night's `document` in the history beside the baselines; the document with what the history says of it."""
    before = history.read(folder)
    rows = [result.night_row(document, candidate) for candidate in document["candidates"]]
    announced = [f"{row['candidate']}: {said}" for row in rows if (said := _announced(before, row, now)) is not None]
    facts = {name: value for name, value in now.items() if name not in ("lanes", "fingerprint")}
    known = now["fingerprint"] in before.environments
    lines = [] if known else [{"kind": history.ENVIRONMENT, "fingerprint": now["fingerprint"], "facts": facts}]
    history.append(folder, [*lines, *rows])
    after = history.read(folder)
    creeping = [f"{row['candidate']}: {said}" for row in rows for said in history.warnings(after, history.key(row))]
    hardware = document["environment"]["hardware"]
    here = [night for night in after.nights if night["hardware"] == hardware]
    return {
        **document,
        "warnings": [*document["warnings"], *before.warnings],
        "new_series": announced,
        "creep": creeping,
        "tally": {name: _tally(each) for name, each in history.tallies(here).items()},
        "series": history.series(after, rows),
    }


def _announced(before: history.History, row: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    known = replace(before, environments={**before.environments, now["fingerprint"]: dict(now)})
    return history.new_series(known, row)


def _tally(found: selftest.Tally) -> dict[str, Any]:
    return {"nights": found.nights, "good": found.good, "low": found.low, "high": found.high}


def past(folder: Path, *, as_json: bool) -> int:
    """Print what the history holds: promotions, nights, tally and creep."""
    lines, kept = baselines.promotions(folder), history.read(folder)
    for warning in kept.warnings:
        print(f"loadstone: {warning}", file=sys.stderr)
    last = {history.key(night): night for night in kept.nights}
    document = {
        "promotions": lines,
        "nights": list(kept.nights),
        "tally": {name: _tally(each) for name, each in history.tallies(kept.nights).items()},
        "creep": [f"{night['candidate']}: {said}" for each, night in last.items() for said in history.warnings(kept, each)],
    }
    print(json.dumps(document, indent=1)) if as_json else terminal.show_history(document, Console())
    return 0
