"""The report on one artifact: what was covered, how right and how fast it is, what it cost to make; beside it in the cache.

The figures that a clock gives are taken once, in a child of their own on the CPUs the artifact is for. What could not be
measured is None and `reasons` says why.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from compilers import cache
from compilers.precision import bar
from compilers.registry import backend
from compilers.spec_io import PreparedModel
from harness.nouns import Artifact, CompileOptions
from harness.supervise import last_line, run_bounded

SCHEMA = 1
SECONDS = 2.0
"""Of interleaved calls; loading the engines comes on top."""
_LIMIT_S = 180.0


def with_report(
    artifact: Artifact,
    options: CompileOptions,
    model: PreparedModel,
    *,
    cpus: Sequence[int],
    log: Path,
    cancelled: Callable[[], bool] = lambda: False,
) -> Artifact:
    """`artifact` with its report in `details["report"]`, measured on `cpus` or, the second time, read from beside it.

    One that computes nothing (`null`) has none.
    """
    if not backend(options.backend).computes:
        return artifact
    path = artifact.path.with_name(f"report-{options.threads}.json")
    known = cache.read_json(path)
    if not isinstance(known, dict) or known.get("digest") != artifact.digest or known.get("schema") != SCHEMA:
        known = _made(artifact, options, model, _measured(artifact, options, model, cpus, log, cancelled))
        cache.write_json(path, known)
    return replace(artifact, details={**artifact.details, "report": known})


def _measured(
    artifact: Artifact,
    options: CompileOptions,
    model: PreparedModel,
    cpus: Sequence[int],
    log: Path,
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    """What the child measured, or nothing but the reason."""
    with cache.building(artifact.path.with_name("report")) as work:
        job = {
            "options": asdict(options),
            "artifact": str(artifact.path.absolute()),
            "model": str(model.folder.absolute()),
            "seconds": SECONDS,
        }
        cache.write_json(work / "job.json", job)
        report = run_bounded(
            [sys.executable, "-m", "compilers.latency", str(work / "job.json")],
            log=log,
            timeout_s=_LIMIT_S,
            memory_bytes=cache.default_memory_bytes(),
            cpus=cpus,
            env=cache.child_environment() | {"OMP_NUM_THREADS": str(options.threads)},
            cancelled=cancelled,
        )
        seen = cache.read_json(work / "latency.json")
    if isinstance(seen, dict):
        return seen
    how = f"took longer than {_LIMIT_S:g} s" if report.timed_out else f"ended with {report.returncode}: {last_line(log)}"
    return {"reasons": {"latency_ms": f"the child that measures {how}"}}


def _made(artifact: Artifact, options: CompileOptions, model: PreparedModel, seen: dict[str, Any]) -> dict[str, Any]:
    reasons = dict(seen.get("reasons", {}))
    layers = seen.get("layers") or _kernels(artifact, seen.get("peak_gflop_per_s"))
    operators = seen.get("operators") or _rules(artifact)
    if layers is None:
        reasons.setdefault("layers", f"{options.backend} does not time its layers")
    if operators is None:
        reasons.setdefault("operators", f"{options.backend} compiles the whole model or nothing, and does not say by what")
    peak = artifact.details.get("compile_peak_bytes")
    return {
        "schema": SCHEMA,
        "digest": artifact.digest,
        "threads": options.threads,
        "parity": asdict(artifact.parity) | {"bar": asdict(bar(model.spec.tolerance, options.precision))},
        "operators": operators,
        "latency_ms": seen.get("latency_ms"),
        "times_as_fast_as": seen.get("times_as_fast_as"),
        "peak_gflop_per_s": seen.get("peak_gflop_per_s"),
        "layers": layers,
        "compile_s": artifact.compile_s,
        "load_s": seen.get("load_s"),
        "first_inference_ms": seen.get("first_inference_ms"),
        "artifact_bytes": artifact.size_bytes,
        "compile_peak_bytes": peak,
        "not_reproducible": artifact.details.get("not_reproducible"),
        "reasons": reasons,
    }


def _kernels(artifact: Artifact, peak: float | None) -> list[dict[str, Any]] | None:
    """The layers of a backend that timed them while compiling."""
    kernels = artifact.details.get("kernels")
    if not kernels:
        return None
    return [
        {
            "name": kernel["name"],
            "kind": kernel["rule"],
            "calls": kernel["calls"],
            "time_ms": kernel["time_ms"],
            "time_share": kernel["time_share"],
            "gflop_per_s": kernel["gflop_per_s"],
            "of_peak": round(kernel["gflop_per_s"] / peak, 3) if peak and kernel["gflop_per_s"] else None,
        }
        for kernel in kernels
    ]


def _rules(artifact: Artifact) -> dict[str, Any] | None:
    """The coverage of a backend that counted it while compiling."""
    rules = artifact.details.get("rules")
    if rules is None:
        return None
    kernels = sum(rule["kernels"] for rule in rules.values())
    fallen = len(artifact.details.get("fallen_back", ()))
    return {
        "covered": kernels,
        "scheduled": kernels - fallen,
        "fallen_back": fallen,
        "fallen_back_share": artifact.details.get("fallen_back_share"),
        "by_kind": {name: rule["time_share"] for name, rule in rules.items()},
    }
