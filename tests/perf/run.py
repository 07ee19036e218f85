"""The figures that README quotes, measured in one go: `make perf` (about 20 minutes; nothing else may run meanwhile).

    python -m tests.perf.run --out build/perf.json [--skip-bench]

Parts: the load generator against the null server beside stock Locust, the model server beside the same session in process, and
the wall time of a smoke and a quick bench of resnet50 with cached artifacts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/perf.json"))
    parser.add_argument("--skip-bench", action="store_true", help="only the generator and the server (about 3 minutes)")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment.describe(),
        "generator": part("tests.perf.generator"),
        "serving": serving(),
        "accuracy": part("tests.perf.accuracy"),
        "simulator": part("tests.perf.simulator"),
    }
    if not options.skip_bench:
        loadstone("compile", MODEL)
        with tempfile.TemporaryDirectory() as folder:
            result["bench"] = {profile: bench(profile, Path(folder)) for profile in ("smoke", "quick")}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "environment"}, indent=1))
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
