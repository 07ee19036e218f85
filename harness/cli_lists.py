"""The options of the commands that list: models, targets, profiles."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True)
def models(as_json: bool) -> None:
    """The built-in models with inputs, parameters and FLOPs."""
    from harness.commands import lists

    raise SystemExit(lists.models(as_json=as_json))


@click.command()
@click.option("--arch", help="Only those of x86_64, x86, arm64, armv7, cuda or neuron.")
@click.option("--json", "as_json", is_flag=True)
def targets(arch: str | None, as_json: bool) -> None:
    """What a model can be compiled for: hardware by name, what it computes in, and what building for it takes."""
    from harness.commands import targets as listing

    raise SystemExit(listing.targets(arch, as_json=as_json))


@click.command()
@click.option("--json", "as_json", is_flag=True)
def profiles(as_json: bool) -> None:
    """The depths of a bench, and the loads of `loadstone load`."""
    from harness.commands import lists

    raise SystemExit(lists.profiles(as_json=as_json))
