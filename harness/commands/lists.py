"""The commands that list: models, profiles, and what this machine offers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from compilers import registry
from compilers.cache import default_cache
from compilers.models import MODELS
from harness import environment, lanes
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


def doctor(*, as_json: bool) -> int:
    """Cores, lanes, disk and which backends can work here."""
    cores = environment.usable_cores()
    plan = lanes.plan_lanes(cores, 1, None)
    cache = default_cache()
    cache.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = [
        {"what": "cores", "found": str(len(cores)), "means": f"{len(plan.lanes)} lane(s) of one server core and one load core"},
        {"what": "memory", "found": f"{psutil.virtual_memory().total / 1e9:.1f} GB", "means": ""},
        {"what": "artifact cache", "found": f"{shutil.disk_usage(cache).free / 1e9:.1f} GB free", "means": str(cache)},
        {
            "what": "C++ compiler",
            "found": shutil.which("g++") or "missing",
            "means": "inductor and tvm need one (apt install g++)",
        },
    ]
    if plan.why_screening:
        rows[0]["means"] = f"screening only: {plan.why_screening}"
    for name in (*registry.DEFAULT_BACKENDS, "null"):
        missing = [package for package in registry.backend(name).packages if environment.version(package) is None]
        found = "missing " + ", ".join(missing) if missing else "ready"
        versions = ", ".join(f"{package} {environment.version(package)}" for package in registry.backend(name).packages)
        rows.append({"what": f"backend {name}", "found": found, "means": "" if missing else versions})
    return print_rows(rows, rows, as_json=as_json)


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
