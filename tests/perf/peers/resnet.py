"""What each tool reports of ResNet-50 behind Loadstone's model server, at one rate."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from compilers import build, intake
from compilers.cache import default_cache
from compilers.spec_io import PreparedModel
from harness import local
from harness.errors import InfrastructureError
from harness.nouns import Artifact, CompileOptions, LoadProfile
from harness.requestset import write_requests
from harness.serving.tensors import DATATYPE_OF
from loadprofiles import samples
from loadprofiles.generator import Generator
from tests.perf.peers.machine import Cores
from tests.perf.peers.own_client import drive
from tests.perf.peers.task import Task
from tests.perf.peers.tools import OWN, TOOLS, Row, measure
from tests.perf.serving_overhead import running, sample_inputs

MODEL, BACKEND = "resnet50", "ort"
UTILISATION = 0.4
"""The rate as a share of what one closed loop reaches: some requests queue, none for long."""
_PROBE_S = 3.0
TOO_MANY_USERS = "Locust, 100 users"
"""They all send at once when they start, which is more than this server answers in ten seconds."""


def prepared() -> tuple[PreparedModel, Artifact]:
    """The model and its artifact, from the cache where they are there. Raises InfrastructureError when it cannot be built."""
    cache = default_cache()
    model = intake.resolve(
        MODEL, cache, payload_dir=None, shapes={}, log=cache / "logs" / f"prepare-{os.getpid()}.log", cancelled=_never
    )
    built = build.build(
        CompileOptions(backend=BACKEND, threads=1),
        model,
        cache,
        log=cache / "logs" / f"compile-peers-{os.getpid()}.log",
        memory_bytes=local.compile_memory_bytes(),
        cancelled=_never,
    )
    if not isinstance(built, Artifact):
        raise InfrastructureError(f"{BACKEND} cannot serve {MODEL}: {built.reason}")
    return model, built


def _never() -> bool:
    return False


def tasks(model: PreparedModel, port: int, folder: Path) -> dict[str, Task]:
    """The same tensors as a binary and as a JSON request, without a rate yet."""
    inputs = sample_inputs(model.spec)
    binary = write_requests(model.spec.name, [inputs], folder / "binary")
    described = [
        {"name": name, "shape": tensor.shape, "datatype": DATATYPE_OF[tensor.dtype], "data": tensor.ravel().tolist()}
        for name, tensor in inputs.items()
    ]
    (folder / "body.json").write_bytes(orjson.dumps({"inputs": described}))
    forms = {
        "binary": (binary.headers, str(binary.bodies[0])),
        "JSON": ({"Content-Type": "application/json"}, str(folder / "body.json")),
    }
    return {
        form: Task(
            host="127.0.0.1",
            port=port,
            path=binary.path,
            headers=headers,
            body=body,
            rate_per_s=1.0,
            duration_s=_PROBE_S,
            arrivals="poisson",
            users=10,
        )
        for form, (headers, body) in forms.items()
    }


def compare(duration_s: float, unusable: Mapping[str, str | None], python: str, cores: Cores, folder: Path) -> dict[str, Any]:
    """Rows of every tool with its body's form, at one rate for all; ours with both forms, since AIPerf sends JSON only."""
    folder.mkdir(parents=True)
    model, artifact = prepared()
    argv = ["harness.serving", "--backend", BACKEND, "--artifact", str(artifact.path), "--model-folder", str(model.folder)]
    rows: list[dict[str, Any]] = []
    with running(argv, cores.server, folder, "model") as port:
        forms = tasks(model, port, folder)
        service_ms = probe(forms["JSON"], cores, folder)
        rate = UTILISATION * 1e3 / service_ms
        for tool in TOOLS:
            if tool.name == TOO_MANY_USERS:
                continue
            for form in ("binary", "JSON") if tool.name == OWN else ("JSON",) if tool.json_only else ("binary",):
                why = unusable.get(tool.peer) if tool.peer else None
                task = replace(forms[form], rate_per_s=rate, duration_s=duration_s)
                row = (
                    measure(tool, task, python, cores, folder / f"{tool.name}-{form}")
                    if why is None
                    else Row(tool=tool.name, said=None, problem=why)
                )
                found = asdict(row)
                found.pop("trace")
                rows.append({"body": form, **found})
    return {"model": MODEL, "backend": BACKEND, "rate_per_s": rate, "closed_service_ms": service_ms, "rows": rows}


def probe(task: Task, cores: Cores, folder: Path) -> float:
    """Median service (ms) of one user in a closed loop, after a first second that does not count."""
    with Generator([cores.client], folder / "generator.log") as generator:
        found = None
        for seconds in (1.0, _PROBE_S):
            load = LoadProfile(arrivals="closed", duration_s=seconds, seed=0, users=1)
            _, found = drive(generator, task, load, folder)
    assert found is not None
    good = found[found["outcome"] == samples.SUCCEEDED]
    if not len(good):
        raise InfrastructureError(f"{MODEL} answered none of {len(found)} requests well")
    return float(np.median(good["done_ns"] - good["sent_ns"]) / 1e6)
