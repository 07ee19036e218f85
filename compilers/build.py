"""One candidate's compile options become an artifact in the cache, or the reason why not; never an exception for a bad model.

An entry `artifacts/<key>/` holds `artifact/` (what the backend left), `manifest.json` (a sha256 per file of it), `outcome.json`
and the compile log. Its key covers everything that the result depends on, so an entry is never updated, only replaced when
its files no longer are what was written.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from compilers import cache, failures, reproduce
from compilers.interface import Backend, BuildsForOthers, Session, Unchecked
from compilers.precision import bar
from compilers.registry import backend
from compilers.spec_io import PreparedModel, read_spec
from compilers.targets import identity, resolve
from compilers.tvm import records
from harness.errors import InfrastructureError, UsageError
from harness.nouns import Artifact, CompileOptions, Failure, Parity, Skipped
from harness.supervise import ExitReport, run_bounded

__all__ = ["ARTIFACT", "build", "check_artifact", "load_session", "read_spec"]

ARTIFACT = "artifact"
_OUTCOME, _LOG = "outcome.json", "compile.log"
_KEYS = {"digest", "size_bytes"}
_LEAST_BYTES = 1 << 20  # with less than this free, what failed was the disk
_VERSION = 5  # of the entry and of the backends' own choices; a change makes every older entry unused


def build(
    options: CompileOptions,
    model: PreparedModel,
    cache_folder: Path,
    *,
    log: Path,
    timeout_s: float = 900,
    memory_bytes: int | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Artifact | Unchecked | Skipped | Failure:
    """Compile `model` with `options` in a child and compare its outputs with the reference, or take both from the cache.

    Skipped when the backend cannot be tried (its package or compiler is missing, the model does not suit it); Failure with
    the stage (compile, load or parity) when it was tried. What would fail again (a model the backend refuses, outputs too far
    off) is remembered; a time limit, a memory limit or a crash is not. Raises UsageError for an unknown backend or target,
    InfrastructureError when the cache cannot be written, and Interrupted when `cancelled()` turns true.
    """
    chosen = backend(options.backend)
    reason = chosen.why_not(model.spec, options)
    if reason is not None:
        return Skipped(reason=reason)
    try:
        versions = cache.package_versions(chosen.packages)
    except metadata.PackageNotFoundError as error:
        return Skipped(reason=_how_to_install(chosen, str(error.name)))
    final = cache_folder / "artifacts" / cache.content_key(_key(chosen, options, model, versions))
    limit = memory_bytes or cache.default_memory_bytes()
    if options.rpc:  # the device behind an address may be another one today
        cache.discard(final)
    found, damage = _cached(final, log)
    if found is not None:
        return found
    try:
        with cache.building(final) as work:
            (work / ARTIFACT).mkdir()
            report = _run_child(work, options, model, log, timeout_s, limit, cancelled)
            outcome = cache.read_json(work / _OUTCOME)
            made = _judged(work, report, outcome, log, timeout_s)
            if made is not None and shutil.disk_usage(work).free < _LEAST_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if isinstance(made, Failure):
                kind = reproduce.error_class(report, outcome)
                made = failures.reduced(
                    made, kind, chosen, options, model, work, timeout_s=timeout_s, memory_bytes=limit, cancelled=cancelled
                )
            return _keep(work, final, made, outcome, versions, log, damage)
    except OSError as error:
        raise InfrastructureError(f"cannot write the cache {final.parent}: {error.strerror or error}") from error


def load_session(backend_name: str, artifact_path: Path, model_folder: Path, threads: int) -> Session:
    """The model in `artifact_path` (an Artifact's path) loaded into this process, on `threads` threads.

    Raises UsageError for an unknown backend or a folder that is not a prepared model, and whatever the backend's library
    raises when it cannot load the artifact.
    """
    return backend(backend_name).load(artifact_path, read_spec(model_folder), threads)


def _how_to_install(chosen: Backend, package: str) -> str:
    extra = f"[{chosen.extra}]" if chosen.extra else ""
    return f"{package} is not installed: pip install 'loadstone{extra}'"


def _key(chosen: Backend, options: CompileOptions, model: PreparedModel, versions: Mapping[str, str]) -> dict[str, Any]:
    """Everything the artifact and its parity depend on. The folder's name stands for shapes, payloads and exporters."""
    path = records.path_of(options)
    kept = options if chosen.threads_matter or path is not None else replace(options, threads=1)
    return {
        "model": model.spec.digest,
        "weights": [model.spec.weights, model.spec.weights_note],
        "prepared": model.folder.name,
        "tolerance": asdict(bar(model.spec.tolerance, options.precision)),
        # The hardware that was meant, not the name it was asked for by.
        "options": asdict(replace(kept, target="", target_options="", records="")),
        "records": None if path is None or not path.is_file() else cache.file_digest(path),
        "target": identity(resolve(options.target, options.target_options)),
        "packages": dict(versions),
        "tools": dict(chosen.tools(options)) if isinstance(chosen, BuildsForOthers) else {},
        "cpu": cache.cpu_identity(),
        "version": _VERSION,
    }


def check_artifact(path: Path) -> None:
    """Raises UsageError unless every file of the artifact in `path` is as it was written."""
    wrong = cache.damage(path)
    if wrong is not None:
        raise UsageError(f"{path} is not an artifact as it was compiled ({wrong}); compile it again")


def _cached(final: Path, log: Path) -> tuple[Artifact | Unchecked | Failure | None, str | None]:
    """The remembered result, or None and, for an entry that had to be thrown away, what was wrong with it."""
    if not final.is_dir():
        return None, None
    outcome: Any = cache.read_json(final / _OUTCOME)
    wrong = _wrong(final, outcome)
    if wrong is not None:
        cache.discard(final)
        return None, wrong
    if "failed" in outcome:
        if (final / _LOG).is_file():
            log.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(final / _LOG, log)
        return failures.from_outcome(outcome, log, final), None
    return _artifact(final, outcome, cached=True), None


def _wrong(final: Path, outcome: Any) -> str | None:
    """What of an entry is not as it was written, or None."""
    if not isinstance(outcome, dict) or not outcome.keys() >= _KEYS:
        return f"{_OUTCOME} is missing or unreadable"
    wrong = cache.damage(final / ARTIFACT)
    if wrong is None and cache.recorded_digest(final / ARTIFACT) != outcome["digest"]:
        return "the artifact is another than the one that was compared"
    return wrong


def _artifact(final: Path, outcome: Mapping[str, Any], *, cached: bool) -> Artifact | Unchecked:
    made = {name: outcome[name] for name in ("digest", "size_bytes", "compile_s", "details")}
    if outcome["parity"] is None:
        return Unchecked(path=final / ARTIFACT, cached=cached, reason=outcome["details"]["not_run"], **made)
    return Artifact(path=final / ARTIFACT, cached=cached, parity=Parity(**outcome["parity"]), **made)


def _run_child(
    work: Path,
    options: CompileOptions,
    model: PreparedModel,
    log: Path,
    timeout_s: float,
    memory_bytes: int,
    cancelled: Callable[[], bool],
) -> ExitReport:
    job = {"options": asdict(options), "model": str(model.folder.absolute()), "timeout_s": timeout_s}
    cache.write_json(work / "job.json", job)
    return run_bounded(
        [sys.executable, "-m", "compilers.worker", str(work / "job.json")],
        log=log,
        timeout_s=timeout_s,
        memory_bytes=memory_bytes,
        env=cache.child_environment() | {"OMP_NUM_THREADS": str(options.threads)},
        cancelled=cancelled,
    )


def _judged(work: Path, report: ExitReport, outcome: Any, log: Path, timeout_s: float) -> Skipped | Failure | None:
    """What the child showed to be in the way; None when there is an artifact."""
    if report.returncode != 0 or report.timed_out or report.over_memory or not isinstance(outcome, dict):
        return failures.ended(work, report, log, timeout_s)
    if "skipped" in outcome:
        return Skipped(reason=outcome["skipped"])
    return failures.from_outcome(outcome, log, work) if "failed" in outcome else None


def _keep(
    work: Path,
    final: Path,
    made: Skipped | Failure | None,
    outcome: Any,
    versions: Mapping[str, str],
    log: Path,
    damage: str | None,
) -> Artifact | Unchecked | Skipped | Failure:
    """Write the entry, where it would come out the same again, and rename it into place; the rename makes it exist."""
    if made is not None and not (isinstance(made, Failure) and isinstance(outcome, dict) and outcome.get("final")):
        return made
    folder = work / ARTIFACT
    if isinstance(made, Failure):
        shutil.rmtree(folder)
        folder.mkdir()
        outcome |= {"operator": made.operator, "reduction": made.reduction}
    outcome["size_bytes"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    outcome["digest"] = cache.write_manifest(folder)
    if made is None:
        outcome["details"] = {
            **outcome["details"],
            "packages": dict(versions),
            "compile_peak_bytes": outcome["peak_bytes"],
        }
    if log.exists():
        shutil.copyfile(log, work / _LOG)
    cache.write_json(work / _OUTCOME, outcome)
    for leftover in ("job.json", "stage.txt", "reduce.json", reproduce.FACTS):
        (work / leftover).unlink(missing_ok=True)
    os.chmod(work, 0o755)  # a temporary folder is private; an entry may be read by a server of another user
    cache.publish(work, final)
    if made is not None:
        return made
    built = _artifact(final, outcome, cached=False)
    if damage is not None:
        return replace(built, details={**built.details, "warning": f"rebuilt: the cached artifact was damaged ({damage})"})
    return built
