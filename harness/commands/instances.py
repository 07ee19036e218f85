"""`instances` and `instances refresh`: this machine's slices, the catalogue, and its prices read anew from AWS."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from harness import environment
from harness.catalogue import CatalogueRow, Filters, aws, choose, load_catalogue, local_instance, pricelist, sources
from harness.catalogue.local import local_row
from harness.commands.lists import print_rows
from harness.errors import InfrastructureError
from harness.store import write_atomically


def instances(filters: Filters, given: Path | None, *, as_json: bool) -> int:
    """Of this machine's slices and the catalogue those that fit; an empty list is an answer."""
    rows = load_catalogue(given)
    cpu, memory = environment.cpu(), psutil.virtual_memory().total
    slices = [local_row(local_instance(f"local-{cores}", cpu, memory, None, rows), cpu) for cores in range(1, cpu.cores + 1)]
    chosen = choose([*slices, *rows], filters)
    found = [{**asdict(row), "burstable": row.burstable} for row in chosen]
    shown = [_shown(row, filters.basis) for row in chosen]
    return print_rows(found, shown, as_json=as_json, note="local-k is k cores of this machine; sources are in --json")


def _shown(row: CatalogueRow, basis: str) -> dict[str, Any]:
    price = row.price(basis)
    by_use = f"{row.usd_per_gb_second:.4g}/GB-s" if row.usd_per_gb_second else "–"
    date = row.spot_date if basis == "spot" else row.price_date
    return {
        "instance": row.name,
        "vCPUs": row.vcpus or "–",
        "GiB": "–" if row.memory_gib is None else f"{row.memory_gib:.4g}",
        "CPU": row.cpu_model or "–",
        "accelerator": f"{row.accelerators} × {row.accelerator}" if row.accelerator else "–",
        f"USD/h {basis}": by_use if price is None else f"{price:.4g}",
        "as of": date or "–",
    }


def refresh(region: str, out: Path | None, *, as_json: bool, client: Callable[[], Any] = aws.client) -> int:
    """Read the prices of every EC2 and SageMaker row from AWS into a file, by default the one that is read from then on."""
    rows = load_catalogue(user_files=False)
    found = aws.fetch(client(), region)
    text, count = pricelist.table(rows, found, region)
    if not count:
        raise InfrastructureError(f"the AWS price list has no price of region {region!r} for any instance of the catalogue")
    path = out or sources.folder() / sources.FETCHED
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
    priced = [row for row in rows if row.service in found]
    unknown = sorted({name for named in found.values() for name in named} - {row.name for row in rows})
    missing = sorted(row.name for row in priced if row.name not in found[row.service])
    if as_json:
        summary = {"file": str(path), "region": region, "priced": count, "not_priced": missing, "not_in_catalogue": unknown}
        print(json.dumps(summary, indent=1))
    print(
        f"{count} of {len(priced)} AWS rows priced from {region} in {path}; {len(missing)} have no price there and keep "
        f"theirs, {len(unknown)} types on sale are not in the catalogue",
        file=sys.stderr if as_json else sys.stdout,
    )
    return 0
