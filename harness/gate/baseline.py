"""Accepted versions on disk: what a promotion stores, and what of it must hold before a night may lean on it.

    promotions.jsonl        who accepted what, when and why; one line each, with the digest of the one before
    baselines/<id>/         baseline.json (everything about it) and model/ (spec, payloads and reference outputs)
    artifacts/<digest>/     compiled models, by content
    history.jsonl           the nights (`harness.gate.history`)

Nothing is ever overwritten: accepting another version adds to all of these. The newest promotion of a model is its baseline.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from compilers import cache, spec_io
from compilers.spec_io import PreparedModel
from harness.errors import InfrastructureError, MeasurementInvalid, UsageError
from harness.gate import signed
from harness.nouns import Artifact, CompileOptions, Parity

SCHEMA = 1
LOG, BASELINES, ARTIFACTS = "promotions.jsonl", "baselines", "artifacts"
RECORD, MODEL = "baseline.json", "model"
HARDWARE = ("cpu_model", "cpu_isa", "cpu_flags_digest", "arch", "cpus", "cores")
"""Of the environment: what compiled code and its speed depend on beyond software."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """One candidate of a baseline: how it was compiled and served, its artifact, and the figures it was accepted with."""

    id: str
    instance: str
    workers: int
    options: CompileOptions
    digest: str
    size_bytes: int
    compile_s: float
    parity: Parity
    rate_per_s: float
    """Of the open loop that every night will use."""
    results: dict[str, float | None]
    """What a look at it showed when it was accepted: closed_per_s, service_ms, compute_ms, start_s."""
    row: dict[str, Any] | None = None
    """Its row in the result of the run it was promoted from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """One promotion. `model` is what to ask for to get it again: a built-in name or a path."""

    schema: int
    id: str
    promoted_utc: str
    by: str
    message: str
    source: str
    model: str
    name: str
    model_digest: str
    shapes: dict[str, tuple[int, ...]]
    """Of inputs with open dimensions."""
    payloads_given: bool
    """Whether its requests are somebody's own; else they are the seeded ones."""
    environment: dict[str, Any]
    lock: dict[str, str]
    """Every installed package and its version."""
    candidates: tuple[Accepted, ...]


_ADAPTER = TypeAdapter(Baseline)


def hardware(environment: Mapping[str, Any]) -> str:
    """The fingerprint of the hardware alone."""
    facts = {name: environment.get(name) for name in HARDWARE}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def promote(folder: Path, baseline: Baseline, model: PreparedModel, artifacts: Mapping[str, Artifact]) -> None:
    """Store `baseline` with its artifacts (by candidate id) and sign it off in the log."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / BASELINES / baseline.id
    if place.exists():
        raise UsageError(f"{place} exists; promote again in a second")
    for accepted in baseline.candidates:
        _keep_artifact(folder / ARTIFACTS / accepted.digest, artifacts[accepted.id], accepted.digest)
    with cache.building(place) as work:
        work.chmod(0o755)
        _keep_model(work / MODEL, model.folder)
        _write(work / RECORD, json.dumps(_ADAPTER.dump_python(baseline, mode="json"), indent=1, allow_nan=False) + "\n")
        line = {
            "schema": SCHEMA,
            "id": baseline.id,
            "utc": baseline.promoted_utc,
            "by": baseline.by,
            "message": baseline.message,
            "model": baseline.name,
            "candidates": [accepted.id for accepted in baseline.candidates],
            "record": cache.file_digest(work / RECORD),
            "model_files": _sealed(work / MODEL),
        }
        if not cache.publish(work, place):
            raise UsageError(f"{place} exists; promote again in a second")
    signed.append(folder / LOG, line)


def promotions(folder: Path) -> list[dict[str, Any]]:
    """The log, oldest first. Raises UsageError when there is no baseline, MeasurementInvalid when the log was altered."""
    lines = signed.read(folder / LOG)
    for number, line in enumerate(lines, start=1):
        if line.get("schema") != SCHEMA:
            raise UsageError(
                f"{folder / LOG}, line {number}: schema {line.get('schema')!r}, this version reads {SCHEMA}; use the loadstone "
                "that wrote it, or promote anew into another folder"
            )
    if not lines:
        raise UsageError(f"{folder} holds no baseline; accept one: loadstone gate promote MODEL --baseline {folder} -m WHY")
    return lines


def current(folder: Path, name: str | None) -> Baseline:
    """The newest baseline of the model called `name`, or of the only model there is, with everything stored as it was.

    Raises UsageError for a folder or a model without one, MeasurementInvalid for one that is damaged.
    """
    lines = promotions(folder)
    names = sorted({str(line.get("model")) for line in lines})
    if name is None and len(names) > 1:
        raise UsageError(f"{folder} holds baselines of {', '.join(names)}; say which: loadstone gate MODEL --baseline {folder}")
    wanted = names[0] if name is None else name
    line = next((each for each in reversed(lines) if each.get("model") == wanted), None)
    if line is None:
        raise UsageError(f"{folder} holds no baseline of {wanted}, only of {', '.join(names)}; promote one first")
    return _read(folder, line)


def model_folder(folder: Path, baseline: Baseline) -> Path:
    return (folder / BASELINES / baseline.id / MODEL).absolute()


def artifact(folder: Path, accepted: Accepted) -> Artifact:
    """The stored artifact, every file of it checked. Raises MeasurementInvalid when it is not what was accepted."""
    path = (folder / ARTIFACTS / accepted.digest).absolute()
    damage = cache.damage(path) if path.is_dir() else "it is missing"
    if damage is None and _sealed(path) != accepted.digest:
        damage = "its digest is another's"
    if damage is not None:
        raise MeasurementInvalid(f"the baseline's artifact of {accepted.id} is damaged: {path}: {damage}; promote one anew")
    return Artifact(
        path=path,
        digest=accepted.digest,
        size_bytes=accepted.size_bytes,
        compile_s=accepted.compile_s,
        parity=accepted.parity,
        cached=True,
    )


def given_artifact(path: Path, accepted: Accepted) -> Artifact:
    """An artifact to compare with the accepted one. Raises UsageError when it is none, or not as it was compiled.

    How close its outputs are to the reference is not known; its first answer is checked when it is served.
    """
    folder = path.expanduser().absolute()
    damage = cache.damage(folder) if folder.is_dir() else "no such folder"
    if damage is not None:
        raise UsageError(f"--artifact {accepted.id}={path}: {damage}; give a folder that `loadstone compile` left")
    size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    return Artifact(
        path=folder,
        digest=str(_sealed(folder)),
        size_bytes=size,
        compile_s=accepted.compile_s,
        parity=accepted.parity,
        cached=True,
    )


def _read(folder: Path, line: Mapping[str, Any]) -> Baseline:
    place = folder / BASELINES / str(line.get("id"))
    path = place / RECORD
    try:
        if cache.file_digest(path) != line.get("record"):
            raise MeasurementInvalid(f"{path} was altered since it was signed off; promote a baseline anew")
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("schema") != SCHEMA:
            raise UsageError(f"{path} has schema {document.get('schema')!r}, this version reads {SCHEMA}; promote anew")
        baseline = _ADAPTER.validate_python(document)
    except OSError as error:
        raise MeasurementInvalid(f"{path} cannot be read: {error.strerror}; promote a baseline anew") from error
    except (ValueError, AttributeError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(map(str, first["loc"]))
        raise MeasurementInvalid(f"{path} is damaged ({where + ': ' if where else ''}{first['msg']}); promote anew") from error
    _check_model(place / MODEL, line.get("model_files"))
    _check_figures(path, baseline)
    return baseline


def _check_model(folder: Path, digest: object) -> None:
    damage = cache.damage(folder) if folder.is_dir() else "it is missing"
    if damage is None and _sealed(folder) != digest:
        damage = "its digest is another's"
    if damage is not None:
        raise MeasurementInvalid(f"the baseline's model is damaged: {folder}: {damage}; promote a baseline anew")


def _sealed(folder: Path) -> str | None:
    """The digest in a folder's manifest."""
    manifest = cache.read_json(folder / cache.MANIFEST)
    return manifest.get("digest") if isinstance(manifest, dict) else None


def _check_figures(path: Path, baseline: Baseline) -> None:
    """A figure that is not one is as good as a missing one."""
    if not baseline.candidates:
        raise MeasurementInvalid(f"{path} has no candidate; promote a baseline anew")
    for accepted in baseline.candidates:
        for name, value in {"rate_per_s": accepted.rate_per_s, **accepted.results}.items():
            if value is not None and not 0 < value < math.inf:
                raise MeasurementInvalid(f"{path}: {name} of {accepted.id} is {value}; promote a baseline anew")


def _keep_artifact(place: Path, built: Artifact, digest: str) -> None:
    if place.is_dir() and cache.damage(place) is None:
        return
    if place.exists():
        raise MeasurementInvalid(f"{place} is damaged; remove it, since it no longer is what its name says")
    with cache.building(place) as work:
        work.chmod(0o755)
        shutil.copytree(built.path, work, dirs_exist_ok=True)
        if cache.write_manifest(work) != digest:
            raise InfrastructureError(f"{built.path} changed while it was copied; promote again")
        cache.publish(work, place)


def _keep_model(place: Path, prepared: Path) -> None:
    """What serving and checking need of a prepared model; not the model itself."""
    place.mkdir()
    for name in (spec_io.SPEC, spec_io.NOTES, spec_io.REFERENCE):
        if (prepared / name).is_file():
            shutil.copyfile(prepared / name, place / name)
    shutil.copytree(prepared / spec_io.PAYLOADS, place / spec_io.PAYLOADS)
    cache.write_manifest(place)


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def same_model(baseline: Baseline, stored: Any, model: Any) -> str | None:
    """Why tonight's model is not the baseline's (specs of both), None when it is.

    A built-in model that another version of an exporter wrote has another digest; it is the same when all else is, and its
    first answers are then held against the baseline's reference.
    """
    if model.digest == baseline.model_digest:
        return None
    shapes = [(spec.inputs, spec.outputs, spec.parameters, spec.weights) for spec in (stored, model)]
    if model.name == baseline.name and model.weights != "file" and shapes[0] == shapes[1]:
        return None
    pairs = ((model.name, model.digest), (baseline.name, baseline.model_digest))
    tonight, then = (f"{name}, {digest[:12]}" for name, digest in pairs)
    return f"the model is another ({tonight}) than the baseline's ({then})"


def chosen(baseline: Baseline, names: Sequence[str]) -> tuple[Accepted, ...]:
    """The candidates called `names`, or all. Raises UsageError for a name that the baseline does not have."""
    known = {accepted.id: accepted for accepted in baseline.candidates}
    for name in names:
        if name not in known:
            raise UsageError(f"--candidates {name}: the baseline has {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names)) if names else baseline.candidates
