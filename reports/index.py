"""All runs of a folder as values: a row each, and a series for each model in each environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harness.comparison import Change, Verdict
from reports import cells, comparison, comparison_view, plots_runs, summary, text
from reports import result as read
from reports.figures import Picture
from reports.plots_runs import Point
from reports.result import Result

SCHEMA = 1
MOST_SERIES = 24
"""Series that are drawn, those with the latest runs first: each takes three pictures."""

Row = Mapping[str, Any]
_TRENDS = tuple(
    (metric, title, unit)
    for key, title, unit in (
        ("capacity_per_s", "Capacity", "requests/s"),
        ("usd_per_million", "Cost", "USD per million"),
        ("p99_ms", "p99 at the run's rate", "ms"),
    )
    for metric in comparison.METRICS
    if metric.key == key
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A folder: its `result`, or the `reason` why there is none. `link` is its report, None where there is none."""

    name: str
    result: Result | None = None
    reason: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """One run; `cells` in the order of the table's columns."""

    name: str
    link: str | None
    remark: str
    cells: tuple[tuple[str, cells.Cell], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The runs of one model in one environment, oldest first; `latest` says what the last did against the one before it."""

    title: str
    remark: str
    latest: tuple[str, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything on the index page."""

    title: str
    claim: str
    folder: str
    rows: tuple[IndexRow, ...]
    notes: tuple[str, ...]
    series: tuple[Series, ...]
    lone: int
    undrawn: int
    unreadable: tuple[Entry, ...]


def view(folder: str, entries: Sequence[Entry]) -> View:
    """The index of `entries`, the folders of `folder` in any order."""
    known = sorted((entry for entry in entries if entry.result is not None), key=_when, reverse=True)
    groups = grouped(known)
    drawn = [group for group in groups if len(group) > 1]
    notes = cells.Notes()
    unreadable = sorted((entry for entry in entries if entry.result is None), key=lambda entry: entry.name)
    return View(
        title=f"{text.name(folder)} – Loadstone runs",
        claim=claim(entries),
        folder=text.clean(folder, 200),
        rows=tuple(_row(entry, notes) for entry in known),
        notes=tuple(notes.reasons),
        series=tuple(_series(place, group) for place, group in enumerate(drawn[:MOST_SERIES])),
        lone=len(groups) - len(drawn),
        undrawn=max(0, len(drawn) - MOST_SERIES),
        unreadable=tuple(
            Entry(name=text.name(entry.name), reason=text.clean(entry.reason or summary.NOT_ENOUGH)) for entry in unreadable
        ),
    )


def claim(entries: Sequence[Entry]) -> str:
    """How many runs of how many models there are, and how many folders hold none that can be read."""
    known = [entry for entry in entries if entry.result is not None]
    models = {read.text(entry.result, "model", "name") for entry in known}
    said, unread = f"{_count(len(known), 'run')} of {_count(len(models), 'model')}", len(entries) - len(known)
    return said + (f", and {_count(unread, 'folder')} that cannot be read" if unread else "")


def to_json(entries: Sequence[Entry]) -> dict[str, Any]:
    """The index as plain data, newest first; docs/reports.md has its keys."""
    known = sorted((entry for entry in entries if entry.result is not None), key=_when, reverse=True)
    return {
        "schema": SCHEMA,
        "runs": [{"folder": entry.name, "report": entry.link, **_facts(entry.result or {})} for entry in known],
        "unreadable": [{"folder": entry.name, "reason": entry.reason} for entry in entries if entry.result is None],
    }


def _facts(found: Result) -> dict[str, Any]:
    row = read.recommended(found) or {}
    return {
        **{key: read.leaf(found, "run", key) for key in ("created_utc", "profile", "state", "screening_only")},
        "model": read.leaf(found, "model", "name"),
        "fingerprint": read.leaf(found, "environment", "fingerprint"),
        "slo": read.leaf(found, "slo", "text"),
        "recommendation": read.leaf(found, "recommendation", "id"),
        "recommendation_reason": read.leaf(found, "recommendation_reason"),
        "p99_ms": read.leaf(row, "latency_ms", "p99"),
        **{key: read.leaf(row, key) for key in ("capacity_per_s", "usd_per_million")},
    }


def grouped(newest_first: Sequence[Entry]) -> list[list[Entry]]:
    """The runs of each model in each environment, oldest first; the group with the latest run comes first."""
    found: dict[tuple[str | None, str | None], list[Entry]] = {}
    for entry in newest_first:
        key = (read.text(entry.result, "model", "name"), read.text(entry.result, "environment", "fingerprint"))
        # Without a fingerprint nothing is known to be the same, so such a run is a group of its own.
        found.setdefault(key if key[1] else (key[0], f"\0{entry.name}"), []).insert(0, entry)
    return list(found.values())


def _when(entry: Entry) -> tuple[float, str]:
    """The order of time; a run without a readable instant comes before all others."""
    at = instant(entry)
    return (at.timestamp() if at else float("-inf"), entry.name)


def instant(entry: Entry) -> datetime | None:
    """When the bench began; None where the run does not say so in a way that can be read."""
    try:
        at = datetime.fromisoformat(read.text(entry.result, "run", "created_utc") or "")
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _row(entry: Entry, notes: cells.Notes) -> IndexRow:
    found = entry.result or {}
    fingerprint = read.text(found, "environment", "fingerprint")
    shown = (
        ("Measured", notes.plain(text.instant(read.text(found, "run", "created_utc")), "the run states no time")),
        ("Model", cells.Cell(text=summary.model_name(found))),
        ("SLO", cells.Cell(text=summary.slo_text(found))),
        *comparison_view.winner(found, notes),
        ("Environment", notes.plain(fingerprint and text.name(fingerprint, 16), "the run states no fingerprint")),
    )
    return IndexRow(name=text.name(entry.name), link=entry.link, remark=comparison_view.remark(found), cells=shown)


def _series(place: int, group: Sequence[Entry]) -> Series:
    last = group[-1].result or {}
    slos = list(dict.fromkeys(summary.slo_text(entry.result or {}) for entry in group))
    where = text.name(read.text(last, "environment", "fingerprint") or text.DASH, 16)
    said = [f"{_count(len(group), 'run')} in environment {where}"]
    cpu = read.text(last, "environment", "cpu_model")
    said += [text.name(cpu)] if cpu else []
    if len(slos) > 1:
        said.append(f"SLOs differ ({', '.join(slos[:4])}), so capacity and cost are each under their own")
    if len({read.text(entry.result, "model", "digest") for entry in group}) > 1:
        said.append("the model itself changed under its name")
    timed = [entry for entry in group if instant(entry) is not None]
    return Series(
        title=summary.model_name(last),
        remark="; ".join(said) + ".",
        latest=tuple(_latest(group)),
        pictures=tuple(
            plots_runs.trend([_point(entry, metric) for entry in timed], f"series-{place}-{metric.key}", title, unit)
            for metric, title, unit in _TRENDS
        ),
    )


def _point(entry: Entry, metric: comparison.Metric) -> Point:
    found, at = entry.result or {}, instant(entry)
    row = read.recommended(found) or {}
    figure = comparison.figure(row, metric)
    shown = text.number(figure.value, figure.low, figure.high)
    return Point(
        at="" if at is None else at.strftime("%Y-%m-%d %H:%M:%S"),
        value=figure.value,
        low=figure.low,
        high=figure.high,
        label=f"{text.name(entry.name, 48)}: {cells.label(row)}, {shown}",
        firm=read.text(found, "run", "state") == "complete" and not read.flag(found, "run", "screening_only"),
    )


def _latest(group: Sequence[Entry]) -> Iterator[str]:
    """What became of the recommended candidate's figures from the run before the last to the last."""
    old, new = (entry.result or {} for entry in group[-2:])
    rows = tuple(read.recommended(each) for each in (old, new))
    names = ["nobody" if row is None else cells.label(row) for row in rows]
    if rows[0] is None or rows[1] is None or names[0] != names[1]:
        yield f"The recommendation went from {names[0]} to {names[1]}."
    if rows[0] is None or rows[1] is None:
        return
    on = comparison.terms(old, new)
    said = [
        f"{title[0].lower()}{title[1:]} {_said(comparison.changed(rows[0], rows[1], metric, on))}"
        for metric, title, _ in _TRENDS
    ]
    yield f"The last run against the one before it: {'; '.join(said)}."


def _said(change: Change) -> str:
    if change.verdict is Verdict.OPEN:
        return f"not compared ({text.clean(change.reason or summary.NOT_ENOUGH, 160)})"
    ratio = change.ratio
    span = text.interval(ratio.value, ratio.low, ratio.high)
    return f"{text.number(ratio.value, ratio.low, ratio.high)}× ({span}), {change.verdict.value}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"
