"""The options of `loadstone report`; what it does is in `commands.report` and `commands.runs`, imported when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness.errors import UsageError


@click.command()
@click.argument("runs", metavar="RUN…", nargs=-1, type=click.Path(path_type=Path))
@click.option("--index", type=click.Path(path_type=Path), metavar="FOLDER", help="Instead of RUN: a page over all of its runs.")
@click.option("--format", "formats", help="Of one RUN: html, md, csv, parquet, junit, all; default: those that can be written.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files of one RUN, else the page's file.")
@click.option("--demand", help="Of one RUN: size the fleets for this instead, as 2000/s.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found on standard output.")
def report(
    runs: Sequence[Path], index: Path | None, formats: str | None, out: Path | None, demand: str | None, as_json: bool
) -> None:
    """Write what a RUN found again, in every form, or compare several.

    One RUN: result.json, report.html, summary.md, table.csv, table.parquet and junit.xml, from what it stored. Several:
    comparison.html, which holds each against the first; exit code 4 when none can be held against it. With --index:
    index.html, with every run of the folder and what became of each model in each environment.
    """
    if (index is None) == (not runs):
        raise UsageError(
            "report on what? `loadstone report RUN`, `loadstone report RUN RUN` or `loadstone report --index runs`"
        )
    if index is None and len(runs) == 1:
        from harness.commands.report import report as one

        raise SystemExit(one(runs[0], formats, out, demand=demand, as_json=as_json))
    for name, given in (("--format", formats), ("--demand", demand)):
        if given is not None:
            raise UsageError(f"{name} is of a single RUN; a comparison and an index are pages (--json prints them as data)")
    from harness.commands import runs as several

    if index is not None:
        raise SystemExit(several.index(index, out, as_json=as_json))
    raise SystemExit(several.compare(runs, out, as_json=as_json))
