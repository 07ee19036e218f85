"""The decision in a terminal: the fleets for a demand, what would change the winner, and who is beaten in everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports import cells, text
from reports import result as read
from reports.result import Result

_NAMES = {"price": "price", "load": "load", "slo": "SLO"}
_SHOWN = 8


def print_decision(result: Result, console: Console, narrow: int) -> None:
    """Print what `decision` holds; nothing for a result without it. Below `narrow` columns a fleet is a line."""
    found = read.mapping(result, "decision")
    fleets = read.rows(found, "fleets")
    demand = read.number(found, "demand_per_s")
    if fleets and demand is not None:
        notes = cells.Notes()
        title = f"For {text.number(demand)} requests/s"
        rows = [_fleet(row, notes) for row in fleets]
        console.print()
        if console.width >= narrow:
            console.print(_table(title, rows))
        else:
            console.print(Text(title))
            for row in rows:
                console.print(Text(f"  {row[0]}: {row[1]} instances, {row[3]} a month; {row[5]} to be able to lose one"))
        for number, reason in enumerate(notes.reasons, start=1):
            console.print(Text(f"  {number}  {reason}", style="dim"))
    lines = list(_changes(found))
    if lines:
        console.print()
        console.print(Text("What would change the winner"))
    for line in lines:
        console.print(line)
    beaten = _beaten(found)
    if beaten:
        console.print(Text(f"Beaten in cost and latency: {beaten}", style="dim"))


def _table(title: str, rows: list[tuple[str, ...]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=None)
    table.add_column(title, overflow="fold", min_width=16)
    for name in ("instances", "used", "USD/month", "if one may be lost", "USD/month"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _fleet(row: Mapping[str, Any], notes: cells.Notes) -> tuple[str, ...]:
    reason = read.text(row, "reason")
    projected = " (projected)" if read.text(row, "basis") == "projected" else ""

    def shown(said: str) -> str:
        cell = notes.plain(said, reason)
        return cell.text if cell.note is None else f"{cell.text} ({cell.note})"

    return (
        cells.label(row) + projected,
        shown(_count(read.number(row, "instances"))),
        shown(text.percent(read.number(row, "utilization"))),
        shown(text.usd(read.number(row, "usd_per_month"))),
        shown(_count(read.number(row, "one_lost", "instances"))),
        shown(text.usd(read.number(row, "one_lost", "usd_per_month"))),
    )


def _count(value: float | None) -> str:
    return text.DASH if value is None else f"{value:,.0f}"


def _changes(found: Mapping[str, Any]) -> Iterator[Text]:
    """A line for each: those that change something first, and of equal ones those of price."""
    rows = read.rows(found, "changes")
    ordered = sorted(rows, key=lambda row: read.text(row, "verdict") != "changes")
    for row in ordered[:_SHOWN]:
        said = read.text(row, "said")
        if said is not None:
            name = _NAMES.get(read.text(row, "what") or "", "")
            yield Text.assemble((f"  {name:<6}", "dim"), text.clean(" ".join(said.split()), 300))


def _beaten(found: Mapping[str, Any]) -> str:
    parts = []
    for name, by in read.mapping(found, "dominated_by").items():
        first = by[0] if isinstance(by, list) and by else None
        parts.append(f"{text.name(name)} (by {cells.label(first)})" if isinstance(first, Mapping) else text.name(name))
    return ", ".join(parts[:_SHOWN]) + (", …" if len(parts) > _SHOWN else "")
