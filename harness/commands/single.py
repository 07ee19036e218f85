"""The commands about one model at a time: compile it, serve it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compilers import build as building
from compilers import intake, registry, targets
from compilers.cache import default_cache
from compilers.spec_io import PreparedModel
from harness import local
from harness.bench import Built
from harness.commands.run import cancellable
from harness.errors import InfrastructureError, UsageError
from harness.nouns import Artifact, CompileOptions, Skipped
from harness.workbench import Cancelled


def compile_model(
    model: str,
    backends: Sequence[str],
    threads: int,
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    out: Path | None,
    target: str,
    target_options: str,
    *,
    as_json: bool,
) -> int:
    """Compile with each backend for `target`; 0 when at least one artifact is good, 3 otherwise.

    Raises UsageError, before anything is prepared, for a target or an option that does not exist or cannot be built.
    """
    names = tuple(backends) or registry.DEFAULT_BACKENDS
    for name in names:
        registry.backend(name)
    resolved = targets.resolve(target, target_options)
    if resolved.why_not is not None:
        raise UsageError(f"nothing here compiles for {resolved.name}: {resolved.why_not}")
    suffix = () if resolved.name == targets.HOST else (resolved.name,)
    rows: list[dict[str, Any]] = []
    with cancellable() as cancelled:
        prepared = _prepare(model, shapes, cancelled)
        targets.check_inputs(resolved, [tensor.dtype for tensor in prepared.spec.inputs])
        for name in names:
            options = CompileOptions(backend=name, threads=threads, target=target, target_options=target_options)
            built = _build(prepared, options, cancelled)
            row: dict[str, Any] = {"backend": name, "target": resolved.name, "status": type(built).__name__.lower()}
            row.update(_plain(asdict(built)))
            if isinstance(built, Artifact) and out is not None:
                row["copied_to"] = str(_copy(built.path, out / "-".join((prepared.spec.name, name, *suffix))))
            rows.append(row)
            _say(_describe(name, built))
    if as_json:
        print(json.dumps(rows, indent=1))
    return 0 if any(row["status"] == "artifact" for row in rows) else InfrastructureError.exit_code


def serve_model(model: str, backend: str, host: str, port: int, threads: int) -> int:
    """Become the server of `model`; returns only when it could not be compiled."""
    registry.backend(backend)
    with cancellable() as cancelled:
        prepared = _prepare(model, (), cancelled)
        built = _build(prepared, CompileOptions(backend=backend, threads=threads), cancelled)
    if not isinstance(built, Artifact):
        raise InfrastructureError(f"{backend} cannot serve {prepared.spec.name}: {built.reason}")
    _say(f"serving {prepared.spec.name} ({backend}) on http://{host}:{port}/v2/models/{prepared.spec.name}; Ctrl-C stops it")
    sys.stderr.flush()
    argv = [
        sys.executable,
        "-m",
        "harness.serving",
        f"--backend={backend}",
        f"--artifact={built.path}",
        f"--model-folder={prepared.folder}",
        f"--host={host}",
        f"--port={port}",
        f"--threads={threads}",
    ]
    os.execv(sys.executable, argv)


def _prepare(model: str, shapes: Sequence[tuple[str, tuple[int, ...]]], cancelled: Cancelled) -> PreparedModel:
    cache = default_cache()
    log = cache / "logs" / f"prepare-{os.getpid()}.log"
    return intake.resolve(model, cache, payload_dir=None, shapes=dict(shapes), log=log, cancelled=cancelled)


def _build(prepared: PreparedModel, options: CompileOptions, cancelled: Cancelled) -> Built:
    cache = default_cache()
    return building.build(
        options,
        prepared,
        cache,
        log=cache / "logs" / f"compile-{prepared.spec.name}-{options.backend}-{os.getpid()}.log",
        memory_bytes=local.compile_memory_bytes(),
        cancelled=cancelled,
    )


def _describe(name: str, built: Built) -> str:
    if isinstance(built, Artifact):
        return f"{name}: {built.path} ({built.size_bytes / 1e6:.0f} MB, max relative error {built.parity.max_rel:.1e})"
    return f"{name}: {'skipped' if isinstance(built, Skipped) else 'failed'}, {built.reason}"


def _copy(source: Path, target: Path) -> Path:
    if target.exists():
        raise UsageError(f"{target} exists; choose another --out")
    return Path(shutil.copytree(source, target))


def _plain(value: Any) -> Any:
    """`value` with paths as text, for JSON."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _say(text: str) -> None:
    print(text, file=sys.stderr)
