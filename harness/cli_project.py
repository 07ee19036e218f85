"""The options of `loadstone project`; what it does is in `commands.project`, imported when it runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--instances", default="", help="Comma-separated catalogue names, as ml.c7g.large,ml.g5.xlarge.")
@click.option("--catalogue", "given", type=click.Path(path_type=Path), help="CSV file over the catalogue of instances.")
@click.option("--json", "as_json", is_flag=True, help="Print result.json on standard output.")
def project(run: Path, instances: str, given: Path | None, as_json: bool) -> None:
    """Add instances that nobody reached to RUN's result, by a validated model with intervals (docs/projection.md)."""
    from harness.commands import project as projecting

    names = [name.strip() for name in instances.split(",") if name.strip()]
    raise SystemExit(projecting.project(run, names, given, as_json=as_json))
