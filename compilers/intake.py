"""A model's name or file becomes a prepared folder in the cache, once.

Everything that reads the model runs in a child with limits on time and memory; the parent looks at sizes, names and digests.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from compilers import cache, onnx_checks, payload_files, pt2_checks, spec_io
from compilers.models import MODELS, builtin
from compilers.spec_io import PreparedModel
from harness.errors import InfrastructureError, UsageError
from harness.supervise import ExitReport, last_line, run_bounded

_VERSION = 3  # of what the child writes; a change makes every older entry unused
_KINDS = {".onnx": "onnx", ".pt2": "pt2"}
_PACKAGES = {
    "builtin": ("torch", "transformers", "onnxscript"),
    "pt2": ("torch", "onnxscript"),
    "onnx": ("onnx", "onnxruntime"),
}


def resolve(
    model: str,
    cache_folder: Path,
    *,
    payload_dir: Path | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    log: Path,
    timeout_s: float = 600,
    memory_bytes: int | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> PreparedModel:
    """The prepared model for `model`: a built-in name, or a path to an .onnx or torch.export .pt2 file.

    `shapes` fixes open dimensions per input; `payload_dir` holds the user's payloads. The second call with the same content
    starts no child. Raises UsageError for whatever is wrong with the model, InfrastructureError when the child could not
    run, Interrupted when `cancelled()` turns true.
    """
    job = _job(model, payload_dir, shapes or {})
    known = _cached(job, cache_folder / "models")
    if known is not None:
        return known
    final = cache_folder / "models" / cache.content_key(job["key"])
    limit = memory_bytes or cache.default_memory_bytes()
    with cache.building(final) as work:
        out = work / "model"
        out.mkdir()
        cache.write_json(work / "job.json", {**job, "out": str(out)})
        report = run_bounded(
            [sys.executable, "-m", "compilers.intake_worker", str(work / "job.json")],
            log=log,
            timeout_s=timeout_s,
            memory_bytes=limit,
            env=cache.child_environment() | {"TRANSFORMERS_VERBOSITY": "error"},
            cancelled=cancelled,
        )
        answer = _answer(model, report, work, log, timeout_s=timeout_s, memory_bytes=limit)
        target = _place(job, answer.get("external", []), final)
        cache.publish(out, target)
    return spec_io.read_prepared(target)


def _job(model: str, payload_dir: Path | None, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """What the child is to do; `key` is everything that its result depends on."""
    payload_paths = payload_files.payload_paths(payload_dir) if payload_dir is not None else []
    kind, source = _kind(model)
    if kind == "builtin":
        facts = builtin(model)
        shapes = _other_batch(model, {spec.name: spec.shape for spec in facts.inputs}, shapes)
        identity: dict[str, Any] = {"name": model, "hub": _hub_state(facts.hub_id)}
    else:
        identity = {"digest": cache.file_digest(source)}
    key = {
        **identity,
        "kind": kind,
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        "payloads": [[path.name, cache.file_digest(path)] for path in payload_paths],
        "packages": _packages(kind),
        "version": _VERSION,
    }
    return {
        "kind": kind,
        "name": model if kind == "builtin" else source.stem,
        "source": str(source),
        "digest": identity.get("digest"),
        "shapes": key["shapes"],
        "payload_dir": None if payload_dir is None else str(payload_dir.absolute()),
        "key": key,
    }


def _other_batch(
    model: str, known: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """The shapes of a built-in model's inputs for the batch that `shapes` ask for; none for its own.

    Raises UsageError when they ask for more than another batch, or for two.
    """
    for name, shape in shapes.items():
        if name not in known:
            raise UsageError(f"--shape {name}: {model} has no such input; it takes {', '.join(known)}")
        if shape[1:] != known[name][1:] or not shape or shape[0] < 1:
            fixed = "x".join(map(str, known[name][1:]))
            raise UsageError(f"--shape {name}: {model} is built in and takes Nx{fixed}, with a batch of N")
    sizes = {shape[0] for shape in shapes.values()}
    if len(sizes) > 1:
        raise UsageError(f"--shape: {model} takes one batch size for all inputs, not {' and '.join(map(str, sorted(sizes)))}")
    return {name: (size, *shape[1:]) for size in sizes - {1} for name, shape in known.items()}


def _kind(model: str) -> tuple[str, Path]:
    """`builtin`, `onnx` or `pt2`, and the file; raises UsageError for what is neither a name nor a usable file."""
    path = Path(model).expanduser().absolute()
    if model in MODELS or not (path.exists() or os.sep in model or path.suffix in {*_KINDS, ".pt", ".pth", ".h5", ".pb"}):
        return ("builtin" if model in MODELS else builtin(model).name), path
    try:
        facts = path.stat()
    except OSError as error:
        raise UsageError(f"{model}: {error.strerror}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise UsageError(f"{model}: not a regular file; give an .onnx or .pt2 file or one of {', '.join(MODELS)}")
    if path.suffix not in _KINDS:
        raise UsageError(f"{model}: give an .onnx file or a .pt2 written by torch.export.save; other formats are not read")
    if facts.st_size == 0:
        raise UsageError(f"{model}: the file is empty")
    if path.suffix == ".onnx" and facts.st_size > onnx_checks.MAX_PROTO_BYTES:
        raise UsageError(f"{model}: larger than 2 GiB, which no ONNX file can be; save it with external data")
    if path.suffix == ".pt2":
        pt2_checks.check_archive(path)
    if not os.access(path, os.R_OK):
        raise UsageError(f"{model}: permission denied")
    return _KINDS[path.suffix], path


def _packages(kind: str) -> dict[str, str]:
    try:
        return cache.package_versions(_PACKAGES[kind])
    except metadata.PackageNotFoundError as error:
        raise UsageError(f"package {error.name} is needed for this model: pip install 'loadstone[torch]'") from error


def _hub_state(hub_id: str) -> bool:
    """Whether the local hub cache holds the repository: with it the pretrained weights, and so another model."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return (hub / f"models--{hub_id.replace('/', '--')}").is_dir()


def _cached(job: Mapping[str, Any], folder: Path) -> PreparedModel | None:
    """The entry for `job`, if there is one and its external data is as it was."""
    final = folder / cache.content_key(job["key"])
    if final.is_dir():
        return spec_io.read_prepared(final)
    external = cache.read_json(_index(final))
    if not isinstance(external, list):
        return None
    target = _with_external(job, external, final)
    return spec_io.read_prepared(target) if target is not None and target.is_dir() else None


def _index(final: Path) -> Path:
    """Where the locations of the external data of `final`'s model are noted."""
    return final.with_name(f"{final.name}.external.json")


def _with_external(job: Mapping[str, Any], external: list[str], final: Path) -> Path | None:
    """The entry's place when external files are part of its content; None when they cannot be read."""
    try:
        digests = [[name, cache.file_digest(Path(job["source"]).parent / name)] for name in external]
    except OSError:
        return None
    return final.with_name(cache.content_key({**job["key"], "external": digests}))


def _place(job: Mapping[str, Any], external: list[str], final: Path) -> Path:
    if not external:
        return final
    target = _with_external(job, external, final)
    if target is None:
        raise UsageError(f"{job['source']}: its external data changed while it was read; try again")
    cache.write_json(_index(final), external)
    return target


def _answer(model: str, report: ExitReport, work: Path, log: Path, *, timeout_s: float, memory_bytes: int) -> dict[str, Any]:
    answer = cache.read_json(work / "answer.json")
    if report.timed_out:
        raise UsageError(f"{model}: preparing it took longer than {timeout_s:g} s; see {log}")
    if report.over_memory:
        raise UsageError(f"{model}: preparing it took more than {memory_bytes >> 20} MiB of memory; see {log}")
    if isinstance(answer, dict) and "refused" in answer:
        raise UsageError(answer["refused"])
    if report.returncode != 0 or not isinstance(answer, dict):
        raise InfrastructureError(f"{model}: preparing it failed with status {report.returncode}: {last_line(log)}; see {log}")
    return answer
