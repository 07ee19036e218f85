"""The summary in a terminal: the recommendation, the ranking, the others with their reasons, and where the report is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports import cells, summary, text
from reports import result as read
from reports.result import Result
from reports.table_decision import print_decision

NARROW = 76
"""Below this many columns a table would break words, so each candidate becomes a short paragraph."""

_STYLES = {"rejected": "yellow", "invalid": "magenta", "failed": "red", "skipped": "dim"}


def print_summary(result: Result, console: Console, written: Sequence[Path] = ()) -> None:
    """Print the summary of `result` to `console`; `written` are the files to point to.

    Foreign text is printed as it is, without rich markup and without control characters.
    """
    notes = cells.Notes()
    console.print()
    for banner in summary.banners(result):
        console.print(Text.assemble((f"{banner.title}. ", "bold yellow"), banner.body))
    rows = read.ranked(result)
    if rows and console.width >= NARROW:
        console.print(_table(result, rows, notes, wide=console.width >= 110))
    elif rows:
        for row in rows:
            console.print(_paragraph(result, row, notes))
    for number, reason in enumerate(notes.reasons, start=1):
        console.print(Text(f"  {number}  {reason}", style="dim"))
    _print_others(result, console)
    headline = summary.headline(result, cells.Notes())
    console.print()
    console.print(Text(" ".join(part for part in (headline.claim, headline.evidence) if part), style="bold"))
    if headline.why:
        console.print(Text(headline.why))
    print_decision(result, console, NARROW)
    if written:
        # Not wrapped, so that a terminal can recognise the path.
        console.print(Text(f"Report: {text.clean(written[0], 4096)}"), soft_wrap=True)
        beside = ", ".join(text.clean(path.name, 200) for path in written[1:])
        console.print(*([Text(f"Beside it: {beside}", style="dim")] if beside else []), end="\n" if beside else "")


def _table(result: Result, rows: list[Mapping[str, Any]], notes: cells.Notes, *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False, title=None, caption=Text(_caption(result)))
    table.caption_justify = "left"
    table.add_column("rank", no_wrap=True)
    table.add_column("candidate", overflow="fold", min_width=16)
    columns = _columns(result, rows[0], cells.Notes(), wide=wide)
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        winner = row is read.recommended(result)
        shown = [_written(cell, wide=wide) for _, cell in _columns(result, row, notes, wide=wide)]
        table.add_row(Text(_rank(result, row)), Text(cells.label(row)), *shown, style="bold" if winner else None)
    return table


def _columns(result: Result, row: Mapping[str, Any], notes: cells.Notes, *, wide: bool) -> list[tuple[str, cells.Cell]]:
    quantile = read.number(result, "slo", "quantile")
    name = read.percentile_name(quantile) if quantile is not None else "p99"
    best = read.number(row, "probability_best")
    found = [
        ("USD/million", notes.quantity(row.get("usd_per_million"), money=True)),
        (f"{name} ms", cells.latency(notes, row, name)),
        ("capacity/s", notes.quantity(row.get("capacity_per_s"))),
        ("best", notes.plain(text.percent(best), "no probability of being the best in the result")),
    ]
    if wide and name != "p50":
        found.insert(1, ("p50 ms", cells.latency(notes, row, "p50")))
    return found


def _written(cell: cells.Cell, *, wide: bool) -> Text:
    if cell.note is not None:
        return Text.assemble(cell.text, (f" ({cell.note})", "dim"))
    return Text.assemble(cell.text, (f" [{cell.detail}]" if wide and cell.detail else "", "dim"))


def _rank(result: Result, row: Mapping[str, Any]) -> str:
    """`1` or `1 =` when the row is tied with another."""
    rank = read.number(row, "rank")
    return (text.DASH if rank is None else f"{rank:g}") + (" =" if summary.tied_with(result, row) else "")


def _caption(result: Result) -> str:
    tied = any(summary.tied_with(result, row) for row in read.ranked(result))
    tail = "; = marks a tie" if tied else ""
    return f"{summary.slo_text(result)}, latency at {summary.rate_text(result)}{tail}"


def _paragraph(result: Result, row: Mapping[str, Any], notes: cells.Notes) -> Text:
    said = Text.assemble((f"{_rank(result, row)}  {cells.label(row)}", "bold"))
    for name, cell in _columns(result, row, notes, wide=False):
        said.append(f"\n   {name} ")
        said.append(_written(cell, wide=False))
    return said


def _print_others(result: Result, console: Console) -> None:
    grid = Table.grid(padding=(0, 2))
    for row in read.unranked(result):
        status = read.text(row, "status") or "no status"
        reasons = [read.text(row, "reason"), *read.texts(row, "validity", "reasons")]
        said = next((reason for reason in reasons if reason), summary.NOT_ENOUGH)
        style = _STYLES.get(status, "yellow")
        label = text.name(status, 24)
        reason = text.clean(" ".join(said.split()), 300)
        grid.add_row(Text(label, style=style), Text.assemble(f"{cells.label(row)}: ", (reason, "dim"), overflow="fold"))
    console.print(grid)
