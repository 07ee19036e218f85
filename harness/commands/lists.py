"""The commands that list: models and profiles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from compilers.models import MODELS
from harness.depth import DEPTHS
from loadprofiles import registry as load_registry
from loadprofiles.profilefile import ProfileFile


def models(*, as_json: bool) -> int:
    """The built-in models."""
    rows = [
        {
            "name": model.name,
            "description": model.description,
            "inputs": [asdict(tensor) for tensor in model.inputs],
            "parameters": model.parameters,
            "flops": model.flops,
            "flops_source": model.flops_source,
            "hub_id": model.hub_id,
        }
        for model in MODELS.values()
    ]
    shown = [
        {
            "model": row["name"],
            "inputs": "\n".join(f"{i.name} {i.dtype} {'x'.join(map(str, i.shape))}" for i in MODELS[str(row["name"])].inputs),
            "parameters": f"{MODELS[str(row['name'])].parameters / 1e6:.1f} M",
            "FLOPs": f"{MODELS[str(row['name'])].flops / 1e9:.2f} G",
            "what": row["description"],
        }
        for row in rows
    ]
    return print_rows(rows, shown, as_json=as_json, note="or a path to an .onnx file or a torch.export .pt2 program")


def profiles(*, as_json: bool) -> int:
    """The depths of a bench and the loads of `loadstone load`."""
    rows: list[dict[str, Any]] = [
        {"name": each.name, "for": "bench", "answers": each.answers, "needs": [], "defaults": {}} for each in DEPTHS.values()
    ]
    for name, each in load_registry.named().items():
        needs = [f"--{option}" for option in load_registry.needs(each)]
        rows.append({"name": name, "for": "load", "answers": each.question, "needs": needs, "defaults": _defaults(each)})
    shown = [
        {
            **row,
            "needs": " ".join(row["needs"]),
            "defaults": ", ".join(f"{key} {value:g}" for key, value in row["defaults"].items()),
        }
        for row in rows
    ]
    return print_rows(rows, shown, as_json=as_json, note="load takes a .toml or .json file in a name's place: docs/profiles.md")


def _defaults(found: ProfileFile) -> dict[str, Any]:
    """What a load profile does when nothing else is said, in the words of the options."""
    segments = found.shape(found.rate_per_s or found.users or 1)
    figures = {
        "rate": found.rate_per_s,
        "users": max((each.end for each in segments), default=0) if found.TrafficPattern else found.users,
        "duration": sum(each.duration_s for each in segments) or found.duration_s,
        "requests": found.requests,
    }
    return {key: value for key, value in figures.items() if value is not None}


def print_rows(rows: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]], *, as_json: bool, note: str = "") -> int:
    """JSON alone, or a table on standard output."""
    if as_json:
        print(json.dumps(list(rows), indent=1))
        return 0
    if not shown:
        print("none")
        return 0
    table = Table(box=None, pad_edge=False, caption=note or None, caption_justify="left")
    for key in shown[0]:
        table.add_column(str(key), overflow="fold")
    for row in shown:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)
    return 0
