"""One candidate's compile options become an artifact in the cache, or the reason why not; never an exception for a bad model.

An entry `artifacts/<key>/` holds `artifact/` (what the backend left), `manifest.json` (a sha256 per file of it), `outcome.json`
and the compile log. Its key covers everything that the result depends on, so an entry is never updated, only replaced when
its files no longer are what was written.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from compilers import cache
from compilers.interface import Backend, Session
from compilers.precision import bar
from compilers.registry import backend
from compilers.spec_io import PreparedModel, read_spec
from compilers.targets import identity, resolve
from harness.nouns import Artifact, CompileOptions, Failure, Parity, Skipped
from harness.supervise import ExitReport, last_line, run_bounded

__all__ = ["ARTIFACT", "build", "load_session", "read_spec"]

ARTIFACT = "artifact"
_OUTCOME, _LOG = "outcome.json", "compile.log"
_VERSION = 4  # of the entry and of the backends' own choices; a change makes every older entry unused


def build(
    options: CompileOptions,
    model: PreparedModel,
    cache_folder: Path,
    *,
    log: Path,
    timeout_s: float = 900,
    memory_bytes: int | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Artifact | Skipped | Failure:
    """Compile `model` with `options` in a child and compare its outputs with the reference, or take both from the cache.

    Skipped when the backend cannot be tried (its package or compiler is missing, the model does not suit it); Failure with
    the stage (compile, load or parity) when it was tried. What would fail again (a model the backend refuses, outputs too far
    off) is remembered; a time limit, a memory limit or a crash is not. Raises UsageError for an unknown backend or target and
    Interrupted when `cancelled()` turns true.
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
    found, damage = _cached(final)
    if found is not None:
        return found
    with cache.building(final) as work:
        (work / ARTIFACT).mkdir()
        report = _run_child(work, options, model, log, timeout_s, memory_bytes, cancelled)
        outcome = cache.read_json(work / _OUTCOME)
        if report.returncode != 0 or report.timed_out or report.over_memory or not isinstance(outcome, dict):
            return _ended(work, report, log, timeout_s)
        return _keep(work, final, outcome, versions, log, damage)


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
    kept = options if chosen.threads_matter else replace(options, threads=1)
    return {
        "model": model.spec.digest,
        "weights": [model.spec.weights, model.spec.weights_note],
        "prepared": model.folder.name,
        "tolerance": asdict(bar(model.spec.tolerance, options.precision)),
        # The hardware that was meant, not the name it was asked for by.
        "options": asdict(replace(kept, target="", target_options="")),
        "target": identity(resolve(options.target, options.target_options)),
        "packages": dict(versions),
        "cpu": cache.cpu_identity(),
        "version": _VERSION,
    }


def _cached(final: Path) -> tuple[Artifact | Failure | None, str | None]:
    """The remembered result, or None and, for an entry that had to be thrown away, what was wrong with it."""
    if not final.is_dir():
        return None, None
    outcome = cache.read_json(final / _OUTCOME)
    damage = cache.damage(final / ARTIFACT) if isinstance(outcome, dict) else f"{_OUTCOME} is missing or unreadable"
    if damage is not None or not isinstance(outcome, dict):
        cache.discard(final)
        return None, damage
    if "failed" in outcome:
        return _failure(outcome, final / _LOG), None
    return _artifact(final, outcome, cached=True), None


def _artifact(final: Path, outcome: Mapping[str, Any], *, cached: bool) -> Artifact:
    return Artifact(
        path=final / ARTIFACT,
        digest=outcome["digest"],
        size_bytes=outcome["size_bytes"],
        compile_s=outcome["compile_s"],
        parity=Parity(**outcome["parity"]),
        cached=cached,
        details=outcome["details"],
    )


def _failure(outcome: Mapping[str, Any], log: Path) -> Failure:
    seen = outcome.get("parity")
    return Failure(stage=outcome["failed"], reason=outcome["reason"], log=log, parity=None if seen is None else Parity(**seen))


def _run_child(
    work: Path,
    options: CompileOptions,
    model: PreparedModel,
    log: Path,
    timeout_s: float,
    memory_bytes: int | None,
    cancelled: Callable[[], bool],
) -> ExitReport:
    job = {"options": asdict(options), "model": str(model.folder.absolute()), "timeout_s": timeout_s}
    cache.write_json(work / "job.json", job)
    return run_bounded(
        [sys.executable, "-m", "compilers.worker", str(work / "job.json")],
        log=log,
        timeout_s=timeout_s,
        memory_bytes=memory_bytes or cache.default_memory_bytes(),
        env=cache.child_environment() | {"OMP_NUM_THREADS": str(options.threads)},
        cancelled=cancelled,
    )


def _ended(work: Path, report: ExitReport, log: Path, timeout_s: float) -> Failure:
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
        ended = f"killed by signal {-code}" if code < 0 else f"exited with {code}"
        reason = f"{ended}: {last_line(log)}"
    return Failure(stage=stage, reason=reason, log=log)


def _keep(
    work: Path, final: Path, outcome: dict[str, Any], versions: Mapping[str, str], log: Path, damage: str | None
) -> Artifact | Failure:
    """Write the entry and rename it into place; the rename is what makes it exist."""
    if "failed" in outcome and not outcome["final"]:
        return Failure(stage=outcome["failed"], reason=outcome["reason"], log=log)
    folder = work / ARTIFACT
    if "failed" in outcome:
        shutil.rmtree(folder)
        folder.mkdir()
    outcome["size_bytes"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    outcome["digest"] = cache.write_manifest(folder)
    if "failed" not in outcome:
        outcome["details"] = {**outcome["details"], "packages": dict(versions)}
    if log.exists():
        shutil.copyfile(log, work / _LOG)
    cache.write_json(work / _OUTCOME, outcome)
    for leftover in ("job.json", "stage.txt"):
        (work / leftover).unlink(missing_ok=True)
    os.chmod(work, 0o755)  # a temporary folder is private; an entry may be read by a server of another user
    cache.publish(work, final)
    if "failed" in outcome:
        return _failure(outcome, log)
    built = _artifact(final, outcome, cached=False)
    if damage is not None:
        return replace(built, details={**built.details, "warning": f"rebuilt: the cached artifact was damaged ({damage})"})
    return built
