"""The child that measures an artifact beside what it replaces: `python -m compilers.latency job.json`.

One process holds all engines, on the CPUs it was confined to, and calls them in blocks in turn, so that a slow second of the
machine meets each of them. It leaves `latency.json` beside the job.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from compilers import cache, flops, onnx_checks, onnx_shapes, peak, spec_io
from compilers.interface import Backend, Layer, Session
from compilers.registry import backend
from harness.nouns import CompileOptions, ModelSpec
from harness.supervise import die_with_parent

ARTIFACT, ONNX_RUNTIME, EAGER = "artifact", "onnxruntime", "eager"
_CALLS, _UNCOUNTED, _PAUSE_S = 3, 1, 0.03
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 40

Engines = dict[str, Callable[[], Any]]


def main(argv: list[str]) -> int:
    die_with_parent()
    path = Path(argv[1])
    job: Any = cache.read_json(path)
    cache.write_json(path.with_name("latency.json"), _measure(job))
    return 0


def _measure(job: Mapping[str, Any]) -> dict[str, Any]:
    options, folder, artifact = CompileOptions(**job["options"]), Path(job["model"]), Path(job["artifact"])
    model, payload = spec_io.read_spec(folder), spec_io.read_payloads(folder)[0]
    chosen, reasons = backend(options.backend), {}
    begun_s = time.perf_counter()
    session = chosen.load(artifact, model, options.threads)
    load_s = time.perf_counter() - begun_s
    begun_s = time.perf_counter()
    session.run(payload)
    first_ms = (time.perf_counter() - begun_s) * 1e3
    found = peak.measure()
    if found.reason is not None:
        reasons["peak_gflop_per_s"] = found.reason
    engines: Engines = {ARTIFACT: lambda: session.run(payload)}
    engines |= _before(options, model, folder, payload, reasons)
    took = in_turn(engines, job["seconds"])
    layers, operators = _layers(chosen, artifact, folder, model, options, payload, found.gflop_per_s, reasons)
    own = took[ARTIFACT]["p50"]
    return {
        "load_s": load_s,
        "first_inference_ms": first_ms,
        "peak_gflop_per_s": found.gflop_per_s,
        "latency_ms": {name: took.get(name) for name in (EAGER, ONNX_RUNTIME, ARTIFACT)},
        "times_as_fast_as": {name: round(took[name]["p50"] / own, 3) for name in (EAGER, ONNX_RUNTIME) if name in took},
        "layers": layers,
        "operators": operators,
        "reasons": reasons,
    }


def _before(
    options: CompileOptions, model: ModelSpec, folder: Path, payload: Mapping[str, np.ndarray], reasons: dict[str, str]
) -> Engines:
    """What the artifact replaces: the program in eager torch and the ONNX file in ONNX Runtime, both in fp32."""
    engines: Engines = {}

    def add(name: str, load: Callable[[], Session]) -> None:
        try:
            session = load()
            session.run(payload)
        except Exception as error:  # noqa: BLE001 - an engine that is not there leaves a reason, not the report undone
            reasons[f"latency_ms.{name}"] = (str(error).splitlines() or [type(error).__name__])[0][:300]
            return
        engines[name] = lambda: session.run(payload)

    def onnx_runtime() -> Session:
        from compilers.backend_ort import load_model

        return load_model(folder / spec_io.ONNX, model, options.threads)

    add(ONNX_RUNTIME, onnx_runtime)
    if model.has_program:
        if sys.modules.get("torch", sys) is None:  # how a backend keeps its own library from importing it
            del sys.modules["torch"]
        add(EAGER, lambda: backend("torch").load(folder, model, options.threads))
    else:
        reasons[f"latency_ms.{EAGER}"] = "an ONNX file has no torch program"
    return engines


def in_turn(
    engines: Mapping[str, Callable[[], Any]], seconds: float, clock_s: Callable[[], float] = time.perf_counter
) -> dict[str, dict[str, float]]:
    """Milliseconds per call of each engine: the median over rounds, the rounds' quartiles, and how many there were.

    Every round calls all of them, one block each, in an order that turns; at least three rounds, then as many as `seconds`
    hold. Before a block come a pause, in which the pool of the engine before falls asleep, and a call that does not count.
    """
    names, rounds = list(engines), {name: list[float]() for name in engines}
    begun_s = clock_s()
    for turn in range(_MOST_ROUNDS):
        if turn >= _LEAST_ROUNDS and clock_s() - begun_s > seconds:
            break
        for at in range(len(names)):
            name = names[(at + turn) % len(names)]
            rounds[name].append(_block(engines[name], clock_s))
    return {name: _summary(values) for name, values in rounds.items()}


def _block(call: Callable[[], Any], clock_s: Callable[[], float]) -> float:
    time.sleep(_PAUSE_S)
    for _ in range(_UNCOUNTED):
        call()
    spent = []
    for _ in range(_CALLS):
        begun_s = clock_s()
        call()
        spent.append(clock_s() - begun_s)
    return median(spent) * 1e3


def _summary(values: Sequence[float]) -> dict[str, float]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"p50": round(float(middle), 4), "low": round(float(low), 4), "high": round(float(high), 4), "rounds": len(values)}


def _layers(
    chosen: Backend,
    artifact: Path,
    folder: Path,
    model: ModelSpec,
    options: CompileOptions,
    payload: Mapping[str, np.ndarray],
    peak_gflop_per_s: float | None,
    reasons: dict[str, str],
) -> tuple[list[dict[str, Any]] | None, dict[str, Any] | None]:
    """The time and arithmetic of each layer where the backend can tell, slowest first, and what they say of coverage."""
    profile = getattr(chosen, "profile", None)
    if profile is None:
        return None, None
    try:
        layers = with_flops(profile(artifact, model, options.threads, payload), _arithmetic(folder))
    except Exception as error:  # noqa: BLE001 - as above
        reasons["layers"] = (str(error).splitlines() or [type(error).__name__])[0][:300]
        return None, None
    return layers_table(layers, peak_gflop_per_s), coverage(layers)


def _arithmetic(folder: Path) -> dict[str, int]:
    """The FLOPs of each node of the prepared ONNX graph, by the names that a runtime may give the node."""
    proto = onnx_shapes.infer(onnx_checks.parse((folder / spec_io.ONNX).read_bytes(), folder), folder)
    found: dict[str, int] = {}
    for node, operation in zip(proto.graph.node, onnx_shapes.operations(proto), strict=True):
        counted = flops.count([operation]).flops
        if counted:
            found |= dict.fromkeys([name for name in (node.name, *node.output) if name], counted)
    return found


def with_flops(layers: Sequence[Layer], known: Mapping[str, int]) -> list[Layer]:
    """`layers`, those that their runtime gave no arithmetic with that of the node of their name."""
    return [layer if layer.flops else replace(layer, flops=known.get(layer.name)) for layer in layers]


def layers_table(layers: Sequence[Layer], peak_gflop_per_s: float | None) -> list[dict[str, Any]]:
    """Layers as JSON values, slowest first."""
    total_ns = sum(layer.time_ns for layer in layers) or 1
    rows = []
    for layer in sorted(layers, key=lambda each: (-each.time_ns, each.name)):
        rate = layer.flops / layer.time_ns if layer.flops and layer.time_ns else None
        rows.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "calls": 1,
                "time_ms": round(layer.time_ns / 1e6, 4),
                "time_share": round(layer.time_ns / total_ns, 4),
                "gflop_per_s": None if rate is None else round(rate, 2),
                "of_peak": round(rate / peak_gflop_per_s, 3) if rate is not None and peak_gflop_per_s else None,
            }
        )
    return rows


def coverage(layers: Sequence[Layer]) -> dict[str, Any]:
    """How many layers there are, how many run in a kernel made for them, and the others' share of the time."""
    total_ns = sum(layer.time_ns for layer in layers) or 1
    fallen = [layer for layer in layers if layer.fallen_back]
    kinds: dict[str, int] = {}
    for layer in layers:
        kinds[layer.kind] = kinds.get(layer.kind, 0) + layer.time_ns
    return {
        "covered": len(layers),
        "scheduled": len(layers) - len(fallen),
        "fallen_back": len(fallen),
        "fallen_back_share": round(sum(layer.time_ns for layer in fallen) / total_ns, 4),
        "by_kind": {name: round(spent / total_ns, 4) for name, spent in sorted(kinds.items(), key=lambda each: -each[1])},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv))
