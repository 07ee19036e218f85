"""The commands about one thing at a time: compile a model, serve it, load an address."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from compilers import build as building
from compilers import intake, payload_files, payloads, registry
from compilers.cache import default_cache
from compilers.spec_io import PreparedModel
from harness import local, observe
from harness.bench import Built
from harness.commands.run import cancellable
from harness.errors import InfrastructureError, UsageError
from harness.loadplan import plan_for
from harness.nouns import Artifact, CompileOptions, LoadProfile, Measurement, Skipped, TensorSpec
from harness.records import RunRecord
from harness.requestset import RequestSet, write_requests
from harness.resources import ResourceUse
from harness.serving.tensors import NUMPY_OF
from harness.workbench import Cancelled
from loadprofiles import registry as load_registry
from loadprofiles import samples as sample_files
from loadprofiles.generator import Generator

_TIMEOUT_S = 30.0


def compile_model(
    model: str,
    backends: Sequence[str],
    threads: int,
    shapes: Sequence[tuple[str, tuple[int, ...]]],
    out: Path | None,
    *,
    as_json: bool,
) -> int:
    """Compile with each backend; 0 when at least one artifact is good, 3 otherwise."""
    names = tuple(backends) or registry.DEFAULT_BACKENDS
    for name in names:
        registry.backend(name)
    rows: list[dict[str, Any]] = []
    with cancellable() as cancelled:
        prepared = _prepare(model, shapes, cancelled)
        for name in names:
            built = _build(prepared, CompileOptions(backend=name, threads=threads), cancelled)
            row: dict[str, Any] = {"backend": name, "status": type(built).__name__.lower(), **_plain(asdict(built))}
            if isinstance(built, Artifact) and out is not None:
                row["copied_to"] = str(_copy(built.path, out / f"{prepared.spec.name}-{name}"))
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


def load_url(
    url: str,
    profile: str,
    rate_per_s: float | None,
    users: int | None,
    duration_s: float,
    payload_dir: Path | None,
    seed: int,
    *,
    as_json: bool,
) -> int:
    """Measure one address under one load; 0 when the run is valid, 3 otherwise."""
    load = load_registry.profile(profile, duration_s=duration_s, rate_per_s=rate_per_s, users=users, seed=seed)
    address = urllib.parse.urlsplit(url)
    if address.scheme != "http" or not address.hostname or not address.path.startswith("/v2/models/"):
        raise UsageError(f"{url} is not http://HOST:PORT/v2/models/NAME; only the Open Inference Protocol is spoken so far")
    inputs = _declared_inputs(url)
    made = payload_files.load(payload_dir, inputs) if payload_dir else payloads.seeded(inputs, seed=seed)
    name = address.path.removeprefix("/v2/models/").strip("/")
    with tempfile.TemporaryDirectory(prefix="loadstone-") as scratch, cancellable() as cancelled:
        requests = write_requests(name, made, Path(scratch) / "requests")
        seen = _drive(load, requests, (address.hostname, address.port or 80), Path(scratch), cancelled)
    _print_measurement(url, seen, as_json=as_json)
    return 0 if seen.validity.valid else InfrastructureError.exit_code


def _drive(
    load: LoadProfile, requests: RequestSet, address: tuple[str, int], scratch: Path, cancelled: Cancelled
) -> Measurement:
    """One run of `load` on an address that somebody else serves: nothing is known of its CPU and memory."""
    samples = scratch / "samples.bin"
    plan, _ = plan_for(load, requests, address, scratch, "load", samples=samples, request_timeout_s=_TIMEOUT_S)
    with Generator(None, scratch / "generator.log") as generator:
        reply = generator.run(plan, load.duration_s + 3 * _TIMEOUT_S, cancelled)
    unknown = ResourceUse(
        wall_s=load.duration_s, server_cpus=1, server_cpu_s=None, peak_rss_bytes=None, steal_share=None, foreign_share=None
    )
    run = RunRecord(kind="load", profile=load, reply=reply, resources=unknown, samples="samples.bin")
    return observe.measurement(run, sample_files.read(samples), None)


def _declared_inputs(url: str) -> tuple[TensorSpec, ...]:
    """The inputs the endpoint says its model has; a batch axis of -1 becomes 1."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            found = json.load(answer)["inputs"]
        return tuple(
            TensorSpec(
                name=str(tensor["name"]),
                dtype=NUMPY_OF[tensor["datatype"]],
                shape=tuple(1 if index == 0 and size == -1 else int(size) for index, size in enumerate(tensor["shape"])),
            )
            for tensor in found
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{url} does not describe a model ({error}); is the server up and the name right?") from error


def _print_measurement(url: str, seen: Measurement, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"url": url, **_plain(asdict(seen))}, indent=1))
        return
    console = Console()
    loop = "open loop, latency from when each request was due" if seen.profile.open_loop else "closed loop"
    console.print(f"{url}: {seen.succeeded} of {seen.planned} answered well ({loop})", highlight=False)
    for title, quantiles in (("latency", seen.latency_ms), ("service", seen.service_ms)):
        shown = [
            f"{name} {q.value:.3g} ms ({q.low:.3g}–{q.high:.3g})"
            if q.value is not None and q.low is not None and q.high is not None
            else f"{name} – ({q.reason})"
            for name, q in quantiles.items()
        ]
        console.print(f"  {title}: {'  '.join(shown)}", highlight=False)
    for reason in seen.validity.reasons:
        console.print(f"  invalid: {reason}", highlight=False)


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
