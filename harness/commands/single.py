"""The commands about one model at a time: compile it, serve it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from compilers import build as building
from compilers import intake, precision, registry, targets
from compilers.cache import default_cache
from compilers.compile_report import with_report
from compilers.edge.device import address as check_address
from compilers.interface import Unchecked
from compilers.spec_io import PreparedModel
from compilers.tvm import records
from harness import local
from harness.commands.run import cancellable
from harness.errors import InfrastructureError, UsageError
from harness.nouns import Artifact, CompileOptions, Failure, Skipped
from harness.workbench import Cancelled
from reports import compile_report as report_text


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileRequest:
    """The options of `loadstone compile`; no backend stands for the default ones."""

    model: str
    backends: tuple[str, ...]
    precisions: tuple[str, ...]
    threads: int
    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    out: Path | None
    target: str
    target_options: str
    batches: str = ""
    search_s: float = 0.0
    records: str = ""
    rpc: str = ""


_TUNABLE = "tvm"


def compile_model(asked: CompileRequest, *, as_json: bool) -> int:
    """Compile with each backend in each precision; 0 when at least one artifact was made, 3 otherwise. One that
    nothing here can run is made too, as `unchecked`.

    Raises UsageError, before anything is prepared, for a target or an option that does not exist or cannot be built.
    """
    precisions = precision.check(asked.precisions or (precision.FP32,))
    resolved = targets.resolve(asked.target, asked.target_options)
    names = asked.backends or registry.DEFAULT_FOR.get(resolved.builder, registry.DEFAULT_BACKENDS)
    for name in names:
        registry.backend(name)
    # What AWS's compilers need is for their backend to say, beside how much of the model they would take.
    if resolved.why_not is not None and resolved.builder != "neuron":
        raise UsageError(f"nothing here compiles for {resolved.name}: {resolved.why_not}")
    tuning = _tuning(names, asked)
    names = tuple(dict.fromkeys(registry.for_target(name, resolved) for name in names))
    if asked.rpc:
        check_address(asked.rpc)
    suffix = () if resolved.name == targets.HOST else (resolved.name,)
    rows: list[dict[str, Any]] = []
    with cancellable() as cancelled:
        prepared = _prepare(asked.model, asked.shapes, cancelled)
        targets.check_inputs(resolved, [tensor.dtype for tensor in prepared.spec.inputs])
        for name, form in product(names, precisions):
            options = CompileOptions(
                backend=name,
                precision=form,
                threads=asked.threads,
                target=asked.target,
                target_options=asked.target_options,
                rpc=asked.rpc,
            )
            options = replace(options, **tuning) if name == _TUNABLE else options
            built = _build(prepared, options, cancelled, report=True)
            row: dict[str, Any] = {"backend": name, "precision": form, "target": resolved.name}
            row |= {"status": type(built).__name__.lower(), **_plain(asdict(built))}
            label = precision.label(name, form)
            if isinstance(built, Artifact | Unchecked) and asked.out is not None:
                row["copied_to"] = str(_copy(built.path, asked.out / "-".join((prepared.spec.name, label, *suffix))))
            rows.append(row)
            _say(_describe(label, built))
            if isinstance(built, Artifact):
                _say("\n".join(report_text.lines(built.details.get("report", {}))))
    if as_json:
        print(json.dumps(rows, indent=1))
    return 0 if any(row["status"] in ("artifact", "unchecked") for row in rows) else InfrastructureError.exit_code


def _tuning(names: Sequence[str], asked: CompileRequest) -> dict[str, Any]:
    """The options that only one backend has; raises UsageError where it is not asked for, and for a damaged record file."""
    if not re.fullmatch(r"([1-9]\d*(,[1-9]\d*)*)?", asked.batches):
        raise UsageError(f"--batches {asked.batches!r} is not a list of batch sizes such as 4,8")
    sizes = tuple(int(size) for size in asked.batches.split(",") if size)
    place = asked.records and str(Path(asked.records).absolute())
    tuning = {"search_s": asked.search_s, "records": place, "batches": sizes}
    if any(tuning.values()) and _TUNABLE not in names:
        every = ",".join([*names, _TUNABLE])
        raise UsageError(f"--search, --records and --batches are for {_TUNABLE}; add it: --backends {every}")
    path = records.path_of(CompileOptions(backend=_TUNABLE, search_s=asked.search_s, records=asked.records))
    if path is not None:
        if not asked.search_s and not path.is_file():
            raise UsageError(f"--records {path}: no such file; --search SECONDS makes one")
        records.read(path)
    return tuning


def serve_model(model: str, backend: str, form: str, host: str, port: int, threads: int) -> int:
    """Become the server of `model`; returns only when it could not be compiled."""
    registry.backend(backend)
    precision.check((form,))
    with cancellable() as cancelled:
        prepared = _prepare(model, (), cancelled)
        built = _build(prepared, CompileOptions(backend=backend, precision=form, threads=threads), cancelled, report=False)
    if not isinstance(built, Artifact):
        raise InfrastructureError(f"{precision.label(backend, form)} cannot serve {prepared.spec.name}: {built.reason}")
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


def _build(
    prepared: PreparedModel, options: CompileOptions, cancelled: Cancelled, *, report: bool
) -> Artifact | Unchecked | Skipped | Failure:
    cache = default_cache()
    name = f"{prepared.spec.name}-{precision.label(options.backend, options.precision)}"
    log = cache / "logs" / f"compile-{name}-{os.getpid()}.log"
    built = building.build(
        options,
        prepared,
        cache,
        log=log,
        memory_bytes=local.compile_memory_bytes(),
        cancelled=cancelled,
    )
    if not report or not isinstance(built, Artifact) or built.details.get("checked", "this machine") != "this machine":
        return built
    cpus = local.first_cpus(options.threads)
    return with_report(built, options, prepared, cpus=cpus, log=log.with_suffix(".report.log"), cancelled=cancelled)


def _describe(name: str, built: Artifact | Unchecked | Skipped | Failure) -> str:
    if isinstance(built, Unchecked):
        return f"{name}: {built.path} ({built.size_bytes / 1e6:.0f} MB, not run: {built.reason})"
    if isinstance(built, Artifact):
        where = f" on {built.details['checked']}" if built.details.get("checked") else ""
        error = f"max relative error {built.parity.max_rel:.1e}{where}, {built.parity.payloads} payloads"
        return f"{name}: {built.path} ({built.size_bytes / 1e6:.0f} MB, {error})"
    if isinstance(built, Skipped):
        return f"{name}: skipped, {built.reason}"
    graph = f"; see {built.operator} in {built.reproducer} ({built.reduction})" if built.operator else ""
    how = "rejected" if built.parity is not None else f"failed ({built.stage})"
    return f"{name}: {how}, {built.reason}{graph}"


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
