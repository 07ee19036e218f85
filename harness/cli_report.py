"""The options of `loadstone report`; what it does is in `commands.report`, imported when it runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--format", "formats", help="Comma-separated of html, md, csv, parquet, junit, or all; default: those that can.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to; default: RUN.")
@click.option("--demand", help="Size the fleets for this instead, as 2000/s.")
@click.option("--json", "as_json", is_flag=True, help="Print result.json on standard output.")
def report(run: Path, formats: str | None, out: Path | None, demand: str | None, as_json: bool) -> None:
    """Write what RUN found, from what it stored: result.json, report.html, summary.md, table.csv, table.parquet, junit.xml."""
    from harness.commands import report as command

    raise SystemExit(command.report(run, formats, out, demand=demand, as_json=as_json))
