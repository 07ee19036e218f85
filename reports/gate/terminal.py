"""The night for whoever sits at the terminal, and the history."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from reports import text
from reports.gate import words
from reports.gate.words import Row


def show(document: Row, console: Console, folder: Path) -> None:
    for candidate in document["candidates"]:
        _say(console, f"{text.name(candidate['id'])}: {words.VERDICTS[candidate['verdict']]} ({words.self_test(candidate)})")
        if candidate["reason"] is not None:
            _say(console, f"  {text.clean(candidate['reason'])}")
        for row in candidate["metrics"]:
            _say(
                console,
                f"  {words.VERDICTS[row['verdict']]:<12} {words.evidence(row)}{'; improved' if row['improved'] else ''}",
            )
    for said in [*words.tally(document), *words.notes(document)]:
        _say(console, said)
    _say(console, f"{words.headline(document)}\n{folder / 'gate.html'}")


def show_history(document: Row, console: Console) -> None:
    promotions = Table("accepted", "by", "model", "candidates", "why", title="promotions", title_justify="left")
    for line in document["promotions"]:
        promotions.add_row(
            *(text.clean(line[name], 200) for name in ("utc", "by", "model")),
            text.clean(", ".join(line["candidates"]), 300),
            text.clean(line["message"], 300),
        )
    console.print(promotions)
    nights = Table(
        "night", "model", "candidate", "verdict", "p50", "p95", "throughput", "start-up", title="nights", title_justify="left"
    )
    for night in document["nights"][-40:]:
        ratios = [night["metrics"].get(name, {}).get("ratio") for name in ("p50_ms", "p95_ms", "throughput_per_s", "start_s")]
        nights.add_row(
            *(text.clean(night[name], 80) for name in ("utc", "model", "candidate", "verdict")), *map(words.change, ratios)
        )
    console.print(nights)
    for said in [*words.tally(document), *document["creep"]]:
        _say(console, text.clean(said))


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
