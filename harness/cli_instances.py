"""`loadstone instances`: the options of the catalogue's commands."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(invoke_without_command=True)
@click.option("--arch", help="x86_64 or arm64.")
@click.option("--provider", help="aws, gcp, azure, edge, or local.")
@click.option("--service", help="ec2, sagemaker, serverless, lambda, gce, vm, edge, or local.")
@click.option("--accelerator", help="Part of its name, such as T4 or Inferentia; any, or none.")
@click.option("--max-price", type=click.FloatRange(min=0, min_open=True), help="USD per hour; rows without one are left out.")
@click.option("--min-memory", type=click.FloatRange(min=0), help="GiB.")
@click.option("--min-vcpus", type=click.IntRange(min=1))
@click.option("--basis", type=click.Choice(("on-demand", "spot")), default="on-demand", show_default=True, help="Of the price.")
@click.option("--catalogue", "given", type=click.Path(path_type=Path), help="CSV file that adds rows or overrides cells.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def instances(
    context: click.Context,
    arch: str | None,
    provider: str | None,
    service: str | None,
    accelerator: str | None,
    max_price: float | None,
    min_memory: float | None,
    min_vcpus: int | None,
    basis: str,
    given: Path | None,
    as_json: bool,
) -> None:
    """This machine's slices and the catalogue, with prices, sources and dates (docs/instances.md)."""
    if context.invoked_subcommand is not None:
        return
    from harness.catalogue import Filters
    from harness.commands import instances as listing

    filters = Filters(
        arch=arch,
        provider=provider,
        service=service,
        accelerator=accelerator,
        max_price=max_price,
        min_memory_gib=min_memory,
        min_vcpus=min_vcpus,
        basis=basis,
    )
    raise SystemExit(listing.instances(filters, given, as_json=as_json))


@instances.command()
@click.option("--region", default="us-east-1", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Default: prices-aws.csv beside your own instances.csv.")
@click.option("--json", "as_json", is_flag=True)
def refresh(region: str, out: Path | None, as_json: bool) -> None:
    """Read on-demand prices from AWS's public price list (needs the extra `aws` and any AWS credentials)."""
    from harness.commands import instances as listing

    raise SystemExit(listing.refresh(region, out, as_json=as_json))
