"""A compile that failed, as one value: the stage, the reason, and the smallest graph on which it fails the same way."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from compilers import cache, reproduce
from compilers.interface import Backend
from compilers.spec_io import PreparedModel
from harness.nouns import CompileOptions, Failure, Parity
from harness.supervise import ExitReport, last_line, run_bounded

REDUCTION_S = 60.0
"""What the search for the smallest graph may take, beyond the trial that runs when it is over."""


def ended(work: Path, report: ExitReport, log: Path, timeout_s: float) -> Failure:
    """A child that did not come to an outcome of its own."""
    try:
        stage = (work / "stage.txt").read_text(encoding="utf-8")
    except OSError:
        stage = "compile"
    if report.timed_out:
        reason = f"took longer than {timeout_s:g} s"
    elif report.over_memory:
        reason = f"took more memory than allowed ({report.peak_rss_bytes >> 20} MiB)"
    else:
        code = report.returncode
        how = f"killed by signal {-code}" if code < 0 else f"exited with {code}"
        reason = f"{how}: {last_line(log)}"
    return Failure(stage=stage, reason=reason, log=log)


def from_outcome(outcome: Mapping[str, Any], log: Path, folder: Path) -> Failure:
    """What the child, or the cache's entry `folder`, says of itself; the smallest graph is put beside `log`."""
    seen, kept = outcome.get("parity"), folder / reproduce.MODEL
    beside = log.with_suffix(".onnx")
    if kept.is_file() and kept != beside:
        log.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kept, beside)
    return Failure(
        stage=outcome["failed"],
        reason=outcome["reason"],
        log=log,
        parity=None if seen is None else Parity(**seen),
        operator=outcome.get("operator"),
        reproducer=beside if kept.is_file() else None,
        reduction=outcome.get("reduction"),
    )


def reduced(
    failure: Failure,
    error: str | None,
    chosen: Backend,
    options: CompileOptions,
    model: PreparedModel,
    work: Path,
    *,
    timeout_s: float,
    memory_bytes: int,
    seconds: float = REDUCTION_S,
    cancelled: Callable[[], bool] = lambda: False,
) -> Failure:
    """`failure` with its operator and, beside its log, the smallest graph that fails with the same class of `error`."""
    if failure.log is None or error is None:
        return failure
    if options.rpc and failure.stage == "load":
        return failure  # the device's, and not the model's
    if failure.stage == "parity":
        return replace(failure, reduction="it compiled and ran; no graph is cut down for what the whole model's outputs show")
    if not chosen.reads_onnx:
        return replace(failure, reduction=f"{options.backend} does not compile the ONNX graph, so none is cut down")
    job = {
        "options": asdict(options),
        "model": str(model.folder.absolute()),
        "error": error,
        "seconds": seconds,
        "timeout_s": timeout_s,
        "memory_bytes": memory_bytes,
    }
    cache.write_json(work / "reduce.json", job)
    ran = run_bounded(
        [sys.executable, "-m", "compilers.reproduce", str(work / "reduce.json")],
        log=failure.log.with_suffix(".reduce.log"),
        timeout_s=seconds + min(timeout_s, 60.0),
        # Its own copy of the graph comes on top of what the compiler in its child may hold.
        memory_bytes=2 * memory_bytes,
        env=cache.child_environment(),
        cancelled=cancelled,
    )
    facts = cache.read_json(work / reproduce.FACTS)
    if not isinstance(facts, dict):
        if ran.timed_out or ran.over_memory or ran.returncode:
            return replace(failure, reduction=f"no smallest graph: the search was ended after {ran.wall_s:.0f} s")
        return replace(failure, reduction="no smallest graph: compiled again, it did not fail this way")
    beside = failure.log.with_suffix(".onnx")
    shutil.copyfile(work / reproduce.MODEL, beside)
    found = f"{facts['nodes']} of {facts['of_nodes']} nodes after {facts['trials']} trials in {facts['seconds']:.0f} s"
    stopped = "" if facts["complete"] else "; stopped early, a smaller one may fail too"
    return replace(failure, operator=facts["operator"], reproducer=beside, reduction=found + stopped)
