"""The result as GitHub-flavoured Markdown, for a step summary or a merge request: what is recommended, why, who else ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reports import cells, gfm, summary, text
from reports import result as read
from reports.result import Result

LIMIT_BYTES = 1_000_000
"""A step summary may hold 1 MiB."""
_CUT = "\n\nCut here: the rest is in report.html.\n"
_COLUMNS = ("Capacity, requests/s", "p50, ms", "p95, ms", "p99, ms", "USD per million", "Probability best")


def render(result: Result) -> str:
    """The summary of `result`, at most `LIMIT_BYTES` of UTF-8; foreign text is shown, never obeyed."""
    return bounded("\n".join(_lines(result)) + "\n")


def bounded(whole: str) -> str:
    """`whole`, or as many of its lines as fit into `LIMIT_BYTES`, and a line that says so."""
    if len(whole.encode()) <= LIMIT_BYTES:
        return whole
    kept, left = [], LIMIT_BYTES - len(_CUT.encode())
    for line in whole.splitlines():
        left -= len(line.encode()) + 1
        if left < 0:
            break
        kept.append(line)
    return "\n".join(kept) + _CUT


def _lines(result: Result) -> Iterator[str]:
    headline = summary.headline(result, cells.Notes())
    yield f"## {gfm.plain(headline.claim.rstrip(':.'))}"
    for banner in summary.banners(result):
        yield f"\n> **{gfm.plain(banner.title)}.** {gfm.plain(banner.body)}"
    for said in (headline.evidence, headline.why):
        if said:
            yield f"\n{gfm.plain(said)}"
    yield from _ranking(result)
    yield from _others(result)
    scaling = read.mapping(result, "scaling")
    if read.number(scaling, "target_value") is not None:
        target = f"{read.text(scaling, 'metric') or 'the metric'} at {text.number(read.number(scaling, 'target_value'))}"
        low, high = (text.compact(read.number(scaling, key)) for key in ("min_capacity", "max_capacity"))
        yield f"\nScaling: keep {gfm.plain(target)}, between {low} and {high} instances."
    yield f"\n{' · '.join(_about(result))}"
    command = read.text(result, "run", "command")
    if command:
        yield f"\n{gfm.code(command)}"


def _ranking(result: Result) -> Iterator[str]:
    notes = cells.Notes()
    made = []
    for row in read.ranked(result):
        rank, best = read.number(row, "rank"), read.number(row, "probability_best")
        tied = " =" if summary.tied_with(result, row) else ""
        name = gfm.plain(cells.label(row))
        figures = (
            notes.quantity(row.get("capacity_per_s")),
            *(cells.latency(notes, row, each) for each in ("p50", "p95", "p99")),
            notes.quantity(row.get("usd_per_million"), money=True),
            notes.plain(text.percent(best), "no probability of being the best in the result"),
        )
        made.append(
            [
                (text.DASH if rank is None else f"{rank:g}") + tied,
                f"**{name}**" if row is read.recommended(result) else name,
                *map(_figure, figures),
            ]
        )
    if not made:
        yield "\nNo candidate could be ranked."
        return
    yield ""
    yield from gfm.table([("Rank", False), ("Candidate", False), *((name, True) for name in _COLUMNS)], made)
    yield f"\nLatency at {gfm.plain(summary.rate_text(result))}; brackets are 95 % intervals; = marks a tie."
    for number, reason in enumerate(notes.reasons, start=1):
        yield f"\n({number}) {gfm.plain(reason)}"


def _figure(cell: cells.Cell) -> str:
    if cell.note is not None:
        return f"{cell.text} ({cell.note})"
    return gfm.plain(cell.text) + (f" ({gfm.plain(cell.detail)})" if cell.detail else "")


def _others(result: Result) -> Iterator[str]:
    rows = read.unranked(result)
    if rows:
        yield "\n### Not ranked\n"
        yield from gfm.table(
            [("Candidate", False), ("Status", False), ("Reason", False)],
            ([gfm.plain(cells.label(row)), gfm.plain(_status(row), 60), gfm.plain(reasons(row))] for row in rows),
        )


def _status(row: Mapping[str, Any]) -> str:
    stage = read.text(row, "stage")
    return (read.text(row, "status") or "no status") + (f" at {stage}" if stage else "")


def reasons(row: Mapping[str, Any]) -> str:
    """Why a candidate has no rank: its reason, and those of its invalid runs that the reason does not name."""
    said = read.text(row, "reason") or ""
    for each in read.texts(row, "validity", "reasons"):
        said = said if each in said else f"{said}; {each}".removeprefix("; ")
    return said or summary.NOT_ENOUGH


def _about(result: Result) -> Iterator[str]:
    run = read.mapping(result, "run")
    for name, value in (
        ("SLO", summary.slo_text(result)),
        ("objective", read.text(result, "objective")),
        ("profile", read.text(run, "profile")),
        ("run", read.text(run, "id")),
        ("measured", text.instant(read.text(run, "created_utc"))),
        ("environment", read.text(result, "environment", "fingerprint")),
    ):
        if value:
            yield f"{name} {gfm.plain(value, 80)}"
