"""`loadstone gate promote`: accept a version as the baseline, signed off by somebody for a reason."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from compilers import intake, registry
from compilers.cache import default_cache
from compilers.spec_io import PreparedModel
from harness import catalogue, environment, local
from harness.candidates import enumerate_candidates
from harness.commands.gate import MakeWorkbench
from harness.commands.run import cancellable
from harness.errors import InfrastructureError, MeasurementInvalid, UsageError
from harness.gate import baseline as baselines
from harness.gate import interpreter, measure, schedule
from harness.gate.baseline import Accepted, Baseline
from harness.gate.measure import Version
from harness.gate.stage import stage
from harness.nouns import Artifact, Candidate
from harness.progress import Display
from harness.workbench import Built, Cancelled, Workbench

INSTANCE = "local-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteRequest:
    """The options of `loadstone gate promote`, as given. `what` is a model or a run folder."""

    what: str
    baseline: Path
    message: str
    by: str | None = None
    candidates: tuple[str, ...] = ()
    payload: Path | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    compile_timeout_s: float = 900.0


def promote(asked: PromoteRequest, *, as_json: bool, workbench: MakeWorkbench | None = None) -> int:
    """Compile, look at and store what was asked for; 0 when it is signed off.

    Raises UsageError for what cannot be meant, InfrastructureError or MeasurementInvalid when a candidate cannot be built or
    does not answer, and Interrupted. Nothing is signed off then.
    """
    if not asked.message.strip():
        raise UsageError("--message: say in a few words why this is accepted")
    run = _run(Path(asked.what))
    with cancellable() as cancelled, Display(Console(stderr=True)) as shown, tempfile.TemporaryDirectory() as scratch:
        model, payload, shapes = _model(asked, run)
        shown.now(f"preparing {Path(model).name}")
        cache = default_cache()
        log = cache / "logs" / f"prepare-{os.getpid()}.log"
        prepared = intake.resolve(model, cache, payload_dir=payload, shapes=shapes, log=log, cancelled=cancelled)
        names = _names(asked.candidates, run)
        candidates = _candidates(prepared, names)
        bench = (workbench or local.workbench)(cache, asked.compile_timeout_s)
        built = _built(candidates, prepared, bench, Path(scratch), shown, cancelled, asked=bool(names))
        accepted = _looked_at(built, prepared, bench, Path(scratch), shown, cancelled, run)
        stamp = datetime.now(UTC)
        baseline = Baseline(
            schema=baselines.SCHEMA,
            id=f"{stamp:%Y%m%dT%H%M%SZ}-{prepared.spec.digest[:8]}",
            promoted_utc=stamp.isoformat(timespec="seconds"),
            by=asked.by or _who(),
            message=" ".join(asked.message.split()),
            source=f"run {run['id']}" if run else "compiled for this promotion",
            model=model if not Path(model).exists() else str(Path(model).absolute()),
            name=prepared.spec.name,
            model_digest=prepared.spec.digest,
            shapes=shapes,
            payloads_given=payload is not None,
            environment=environment.describe(),
            lock=interpreter.lock(),
            candidates=tuple(accepted),
        )
        baselines.promote(asked.baseline, baseline, prepared, {each.id: made for each, made in built})
    _say(baseline, asked.baseline, as_json=as_json)
    return 0


def _run(folder: Path) -> dict[str, Any] | None:
    """What a run folder holds for a promotion; None when `folder` is none. Raises UsageError for one that has no result, or
    was measured in another environment."""
    if not folder.is_dir():
        return None
    from harness.store import Store

    if not (folder / "state.sqlite").is_file():
        raise UsageError(f"{folder} is not a run folder (it has no state.sqlite); give a run or a model")
    store = Store(folder)
    try:
        request, result = store.get("request"), store.get("result")
        then, now = store.get("environment"), environment.describe()
    finally:
        store.close()
    if request is None or result is None:
        raise UsageError(f"{folder} has no result yet; finish it with `loadstone bench --resume {folder}`")
    if then is None or then["fingerprint"] != now["fingerprint"]:
        raise UsageError(f"{folder} was measured in another environment; promote where it was measured, or bench again")
    rows = {row["id"]: row for row in result["candidates"] if row["status"] in ("ranked", "rejected")}
    if not rows:
        raise UsageError(f"{folder} has no candidate that was measured and judged; nothing to promote")
    return {"id": folder.name, "request": request, "rows": rows}


def _model(asked: PromoteRequest, run: Mapping[str, Any] | None) -> tuple[str, Path | None, dict[str, tuple[int, ...]]]:
    """Which model, with whose payloads and in which shapes: a run's own, where one is promoted."""
    if run is None:
        return asked.what, asked.payload, dict(asked.shapes)
    if asked.payload is not None or asked.shapes:
        raise UsageError("--payload and --shape are those of the run; leave them out")
    request = run["request"]
    payload = request.get("payload_dir")
    shapes = {name: tuple(sizes) for name, sizes in request.get("shapes", ())}
    return request["model"], None if payload is None else Path(payload), shapes


def _names(asked: Sequence[str], run: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The candidates asked for; of a run by default those that it ranked."""
    if run is None:
        return tuple(asked)
    for name in asked:
        if name not in run["rows"]:
            raise UsageError(f"--candidates {name}: the run measured {', '.join(run['rows'])}")
    return tuple(asked) or tuple(name for name, row in run["rows"].items() if row["status"] == "ranked")


def _candidates(prepared: PreparedModel, names: Sequence[str]) -> list[Candidate]:
    """The candidates by name, BACKEND@INSTANCE; without names every usual backend on one core."""
    found: list[Candidate] = []
    for name in names or [f"{backend}@{INSTANCE}" for backend in registry.DEFAULT_BACKENDS]:
        backend, _, instance = name.partition("@")
        registry.backend(backend)
        place = catalogue.local_instance(instance or INSTANCE, environment.cpu(), psutil.virtual_memory().total, None)
        found += enumerate_candidates(prepared.spec, [backend], [place])
    return found


def _built(
    candidates: Sequence[Candidate],
    prepared: PreparedModel,
    bench: Workbench,
    scratch: Path,
    shown: Display,
    cancelled: Cancelled,
    *,
    asked: bool,
) -> list[tuple[Candidate, Artifact]]:
    """Every candidate with its artifact; one that was asked for must build, another is left out."""
    found = []
    for candidate in candidates:
        shown.now(f"compiling {candidate.id}")
        made: Built = bench.build(candidate, prepared, scratch / f"compile-{candidate.id}.log", cancelled)
        if isinstance(made, Artifact):
            found.append((candidate, made))
        elif asked:
            raise InfrastructureError(f"{candidate.id} cannot be promoted: {made.reason}")
        else:
            shown.say(f"  {candidate.id}: left out, {made.reason}")
    if not found:
        raise InfrastructureError(f"no candidate of {prepared.spec.name} could be compiled; see `loadstone doctor`")
    return found


def _looked_at(
    built: Sequence[tuple[Candidate, Artifact]],
    prepared: PreparedModel,
    bench: Workbench,
    scratch: Path,
    shown: Display,
    cancelled: Cancelled,
    run: Mapping[str, Any] | None,
) -> list[Accepted]:
    """Serve each once: what does not answer is no baseline, and the rate of its nights follows from what it does."""
    found = []
    for candidate, made in built:
        cores = candidate.options.threads * candidate.workers
        with stage(scratch, candidate.model.name, prepared.folder, cores, bench, 0, cancelled, shown.now) as (bay, setting):
            seen = measure.look(Version(candidate=candidate, artifact=made), candidate.id, bay, setting)
        row = run["rows"][candidate.id] if run else None
        if row is not None and row["artifact_digest"] != made.digest:
            raise MeasurementInvalid(
                f"{candidate.id} compiles to another artifact today than the run measured; bench again, then promote that run"
            )
        found.append(
            Accepted(
                id=candidate.id,
                instance=candidate.instance.name,
                workers=candidate.workers,
                options=candidate.options,
                digest=made.digest,
                size_bytes=made.size_bytes,
                compile_s=made.compile_s,
                parity=made.parity,
                rate_per_s=schedule.rate_per_s(seen.closed_per_s, None)[0],
                results=asdict(seen),
                row=row,
            )
        )
    return found


def _who() -> str:
    """Whoever git says commits here, else the user of this machine."""
    try:
        done = subprocess.run(["git", "var", "GIT_AUTHOR_IDENT"], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.rpartition(">")[0] + ">"
    except (OSError, subprocess.SubprocessError):
        return getpass.getuser()


def _say(baseline: Baseline, folder: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"id": baseline.id, "folder": str(folder), "candidates": [each.id for each in baseline.candidates]}))
    names = ", ".join(f"{each.id} at {each.rate_per_s:.4g}/s" for each in baseline.candidates)
    print(f"accepted by {baseline.by}: {baseline.id} of {baseline.name} ({names}) in {folder}", file=sys.stderr)
