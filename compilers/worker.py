"""The child that compiles one candidate and compares it with the reference: `python -m compilers.worker job.json`.

It ends with 0 and `outcome.json` beside the job. `stage.txt` holds the stage it is in, for a parent that had to end it.
"""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from compilers import cache, parity, spec_io
from compilers.interface import Backend, BuildsForOthers, CannotCompile, CannotRun, CheckSession, Session, Timed, Unavailable
from compilers.precision import bar
from compilers.registry import backend
from harness.nouns import CompileOptions, ModelSpec
from harness.supervise import die_with_parent

_SPARE_BYTES = 64 << 20
_EMULATED_S = 30.0
"""An emulator is a hundred times slower than the device: after so long, as many payloads as there are by then must do …"""
_EMULATED_PAYLOADS = 2
"""… but at least this many."""


def main(argv: list[str]) -> int:
    die_with_parent()
    job_path = Path(argv[1])
    job: Any = cache.read_json(job_path)
    work = job_path.parent
    try:
        outcome = _run(job, work)
    except CannotCompile as error:
        # A refusal on a full disk may be the disk's, so it is not remembered as the model's.
        final = shutil.disk_usage(work).free > _SPARE_BYTES
        outcome = {"failed": "compile", "reason": " ".join(str(error).split()), "final": final}
    except Unavailable as error:
        outcome = {"skipped": " ".join(str(error).split())}
    outcome["peak_bytes"] = _peak_bytes()
    cache.write_json(work / "outcome.json", outcome)
    return 0


def _run(job: Mapping[str, Any], work: Path) -> dict[str, Any]:
    ends_s = time.monotonic() + job["timeout_s"]
    folder, out = Path(job["model"]), work / "artifact"
    options = CompileOptions(**job["options"])
    model = spec_io.read_spec(folder)
    chosen = backend(options.backend)
    _enter(work, "compile")
    started_ns = time.monotonic_ns()
    details = dict(chosen.compile(model, folder, options, out))
    compile_s = (time.monotonic_ns() - started_ns) / 1e9
    if not any(out.iterdir()):
        return {"failed": "compile", "reason": f"{options.backend} left no file", "final": False}
    _enter(work, "load")
    try:
        session = _session(chosen, out, model, options)
    except CannotRun as error:
        if options.rpc:  # asked for, so not done
            return {"failed": "load", "reason": str(error), "final": False}
        return {"compile_s": compile_s, "details": {**details, **_not_run(str(error))}, "parity": None}
    if job.get("trial"):
        session.run(spec_io.read_payloads(folder)[0])
        return {"compile_s": compile_s}
    _enter(work, "parity")
    judged = _compare(chosen, session, model, folder, options.precision, ends_s)
    if isinstance(session, CheckSession):
        details |= _about(session, folder)
        session.close()
    return {"compile_s": compile_s, "details": details, **judged}


def _session(chosen: Backend, out: Path, model: ModelSpec, options: CompileOptions) -> Session:
    """What compile left, where it can run: mostly here."""
    if isinstance(chosen, BuildsForOthers):
        return chosen.load_to_check(out, model, options)
    return chosen.load(out, model, options.threads)


def _not_run(reason: str) -> dict[str, Any]:
    return {"not_run": reason, "checked": None, "latency_ms": None, "latency_reason": "not run"}


def _about(session: CheckSession, folder: Path) -> dict[str, Any]:
    """Where the check ran, and what that says about speed."""
    if isinstance(session, Timed):
        return {"checked": session.where, "latency_ms": session.latency_ms(spec_io.read_payloads(folder)[0])}
    why = "emulated: its times say nothing of the device" if session.emulated else "not timed here: `bench` does that"
    return {"checked": session.where, "latency_ms": None, "latency_reason": why}


def _peak_bytes() -> int:
    """The most memory that this process, or any child it waited for, held at a time."""
    found = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(found) * 1024  # Linux counts in KiB


def _enter(work: Path, stage: str) -> None:
    (work / "stage.txt").write_text(stage, encoding="utf-8")


def _compare(
    chosen: Backend, session: Session, model: ModelSpec, folder: Path, precision: str, ends_s: float
) -> dict[str, Any]:
    payloads, reference = spec_io.read_payloads(folder), spec_io.read_reference(folder)
    emulated = isinstance(session, CheckSession) and session.emulated
    started_all_s = time.monotonic()
    actual: list[list[np.ndarray]] = []
    for index, payload in enumerate(payloads):
        started_s = time.monotonic()
        actual.append([np.array(array) for array in session.run(payload)])
        now_s = time.monotonic()
        needed_s = (now_s - started_s) * (len(payloads) - index - 1)
        if emulated and len(actual) >= _EMULATED_PAYLOADS and now_s - started_all_s > _EMULATED_S:
            break
        # The first call also warms up, so the second is the first to judge by.
        if index == 1 and not emulated and now_s + needed_s > ends_s:
            late = f"{len(payloads)} payloads at {now_s - started_s:.2g} s each do not fit into the time limit"
            return {"failed": "parity", "reason": late, "final": False}
    measured = parity.compare(actual, reference[: len(actual)])
    if isinstance(measured, str):
        return {"failed": "parity", "reason": measured, "final": True}
    # Zeros are not judged, but how far off they are is shown like any other figure.
    reason = parity.verdict(measured, bar(model.tolerance, precision)) if chosen.computes else None
    if reason is not None:
        return {"failed": "parity", "reason": reason, "final": True, "parity": asdict(measured)}
    return {"parity": asdict(measured)}


if __name__ == "__main__":
    sys.exit(main(sys.argv))
