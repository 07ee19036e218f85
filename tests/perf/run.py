"""The figures that README quotes, measured in one go: `make perf` (about an hour; nothing else may run meanwhile).

    python -m tests.perf.run --out build/perf.json [--parts generator,serving]

Parts: the load generator beside stock Locust; the model server beside the same session in process and beside a bare uvicorn
application; what Loadstone measures against servers of known law; whether a disturbed generator is noticed; the fleet simulator
against queueing theory and against a real server, and its recommended scaling target replayed live; compiled code beside ONNX
Runtime and OpenVINO; the report of a large run; the wall time of a smoke and a quick bench of resnet50 with cached artifacts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from harness import environment

MODEL = "resnet50"


def part(module: str, *arguments: str) -> dict[str, Any]:
    """Run one benchmark in a process of its own and return what it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        subprocess.run([sys.executable, "-m", module, "--json", str(out), *arguments], check=True)
        value: dict[str, Any] = json.loads(out.read_text())
        return value


def loadstone(*arguments: str) -> Any:
    """The JSON that a command prints; its progress stays visible."""
    done = subprocess.run([sys.executable, "-m", "harness.cli", *arguments, "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def serving() -> dict[str, Any]:
    """The model server's cost over the session it wraps."""
    (artifact,) = loadstone("compile", MODEL, "--backend", "ort")
    folder = next(path.parent for path in _models() if json.loads(path.read_text())["name"] == MODEL)
    return part(
        "tests.perf.serving_overhead", "--model-folder", str(folder), "--artifact", artifact["path"], "--backend", "ort"
    )


def _models() -> list[Path]:
    """The specs of the prepared models, newest first."""
    from compilers.cache import default_cache

    return sorted((default_cache() / "models").glob("*/spec.json"), key=os.path.getmtime, reverse=True)


def bench(profile: str, folder: Path) -> dict[str, Any]:
    """Wall time and outcome of a bench whose artifacts are cached."""
    begun = time.monotonic()
    result = loadstone("bench", MODEL, "--profile", profile, "--out", str(folder))
    return {
        "wall_s": time.monotonic() - begun,
        "statuses": {row["id"]: row["status"] for row in result["candidates"]},
        "recommendation": result["recommendation"],
        "capacity_per_s": {row["id"]: row["capacity_per_s"] for row in result["candidates"]},
        "compiled_again": [row["id"] for row in result["candidates"] if row["compile_cached"] is False],
    }


def benches() -> dict[str, Any]:
    """A smoke and a quick bench over cached artifacts."""
    loadstone("compile", MODEL)
    with tempfile.TemporaryDirectory() as folder:
        return {profile: bench(profile, Path(folder)) for profile in ("smoke", "quick")}


PARTS: dict[str, Callable[[], Any]] = {
    "generator": partial(part, "tests.perf.generator"),
    "serving": serving,
    "accuracy": partial(part, "tests.perf.accuracy"),
    "faults": partial(part, "tests.perf.generator_faults"),
    "simulator": partial(part, "tests.perf.simulator"),
    "simulator_live": partial(part, "tests.perf.simulator_live"),
    "fleet_replay": partial(part, "tests.perf.fleet_replay"),
    "compile_speed": partial(part, "tests.perf.compile_speed"),
    "report": partial(part, "tests.perf.report_speed"),
    "bench": benches,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/perf.json"))
    parser.add_argument("--parts", default=",".join(PARTS), help="which, comma-separated; all by default: %(default)s")
    options = parser.parse_args()
    names = options.parts.split(",")
    if unknown := set(names) - set(PARTS):
        parser.error(f"unknown parts {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    result: dict[str, Any] = {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment.describe(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        result[name] = PARTS[name]()
        options.out.write_text(json.dumps(result, indent=1) + "\n")  # what is measured stays, whatever a later part does
    print(json.dumps({key: value for key, value in result.items() if key != "environment"}, indent=1))
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
