"""How many times as fast one server would be on an instance as one is here, with its interval and what it hangs on. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.projection import anchors, constants
from harness.projection.nouns import CPU, FP16, FP32, GPU, INT8, Hardware, Published, Ratio, Tables, Work
from harness.projection.roofline import CPU_EFFICIENCY, cpu_ms
from harness.projection.validate import NEAR_MODEL, OTHER_ISA, SAME_ISA, SAME_MODEL

GPU_RUNTIME = "triton tensorrt"
"""The published runtime that stands for an accelerator: TensorRT in fp16 behind a server, a batch of one."""
_SAME_MODEL_WITHIN = 0.1
"""Sum of the logarithms of the ratios of FLOPs and weights up to which two models count as the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """`speed` is 1 for as fast as here; `anchor` as in docs/result.md."""

    speed: Ratio
    anchor: dict[str, Any]
    notes: tuple[str, ...] = ()


def on_cpu(work: Work, base: Mapping[str, Any], here: Hardware, there: Hardware, fitted: constants.Efficiencies) -> Speed | str:
    """Of the measured row `base`, served on as many cores there; a string says why it cannot be projected."""
    precision = {"fp32": FP32, "int8": INT8, "int8-dynamic": INT8}.get(str(base["precision"]))
    if precision is None:
        return f"nothing published on CPUs in {base['precision']}"
    runtime = constants.RUNTIMES.get(str(base["backend"]), constants.FALLBACK)[precision]
    classes = [constants.isa_of(each.isa, precision, runtime) for each in (here, there)]
    between = fitted.between(runtime, precision, *classes)
    if between is None:
        return f"no published runtime was measured in {precision} on both {classes[0]} and {classes[1]}"
    cores = int(base["threads"])
    efficiency = CPU_EFFICIENCY * math.exp(-between)
    own, _ = cpu_ms(work, wide(here, cores), precision, CPU_EFFICIENCY, cores)
    other, bound = cpu_ms(work, there, precision, efficiency, cores)
    kind = f"{CPU}, {precision}, {SAME_ISA if classes[0] == classes[1] else OTHER_ISA}"
    anchor = {
        "kind": "local",
        "text": f"{base['id']} measured here; efficiency of {runtime} on {classes[0]} and {classes[1]} from published results",
        "source": None,
        "date": None,
    }
    return Speed(speed=_ratio(own / other, kind, bound), anchor=anchor, notes=(*here.notes, *there.notes))


def wide(core: Hardware, cores: int) -> Hardware:
    """As many of this machine's cores as a server has."""
    peaks = {precision: cores * peak for precision, peak in core.peaks.items()}
    return replace(core, peaks=peaks, cores=cores, gb_per_s=None if core.gb_per_s is None else cores * core.gb_per_s)


def on_gpu(work: Work, base: Mapping[str, Any], there: Hardware, tables: Tables) -> Speed | str:
    """A server on one accelerator, against the median service time of `base`."""
    service_ms = ((base.get("service_ms") or {}).get("p50") or {}).get("value")
    if not service_ms:
        return f"{base['id']} has no median service time to compare with"
    known = [
        each
        for each in tables.of(GPU)
        if (each.runtime, each.precision, each.batch) == (GPU_RUNTIME, FP16, 1) and FP16 in tables.hardware[each.hardware].peaks
    ]
    name = anchors.nearest_model(work, {each.model for each in known}, tables)
    if name is None:
        return "nothing was published to hang it on"
    chosen = [each for each in known if each.model == name]
    own = [each for each in chosen if _is(there, each.hardware)]
    found = anchors.project(work, there, FP16, 1, own or chosen, tables, constants.GPU_FITTED)
    model = tables.models[name]
    apart = abs(math.log(model.flops / work.flops)) + abs(math.log(model.weights / work.weights))
    kind = f"{GPU}, {SAME_MODEL if apart <= _SAME_MODEL_WITHIN else NEAR_MODEL}"
    return Speed(
        speed=_ratio(service_ms / found.ms, kind, found.bound), anchor=_published(name, own or chosen), notes=there.notes
    )


def _published(model: str, chosen: list[Published]) -> dict[str, Any]:
    places = ", ".join(sorted({each.hardware for each in chosen}))
    return {
        "kind": "published",
        "text": f"{model} with TensorRT in fp16 behind Triton, a batch of 1, on {places}",
        "source": chosen[0].source,
        "date": max(each.date for each in chosen),
    }


def _is(hardware: Hardware, key: str) -> bool:
    """Whether a catalogue's accelerator is the published one: `NVIDIA A100 SXM4` is `A100 40GB`, `NVIDIA A10G` is not `A10`."""
    words = hardware.name.removeprefix("NVIDIA ").split()
    own = {"A100 SXM4": "A100 40GB", "A100 SXM4 80GB": "A100 80GB", "V100 SXM2 16GB": "V100", "H100 SXM5": "H100 SXM"}
    return own.get(" ".join(words), " ".join(words)) == key


def _ratio(value: float, kind: str, bound: str) -> Ratio:
    width = constants.WIDTHS[kind]
    return Ratio(value=value, low=value * math.exp(-width), high=value * math.exp(width), kind=kind, bound=bound)
