"""What the roofline is calibrated with: efficiency per instruction set and runtime, launches, the width of the error. Pure.

An efficiency is a share of the peak. How well a model fits a runtime cancels between two processors; what remains is how much
of its peak each instruction set lets a runtime reach, relative to another. That is fitted here from results of the same model,
runtime and precision on several processors: the mean logarithm of time × peak after the mean of each such group is taken off.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from harness.projection.nouns import CPU, FP32, INT8, Hardware, Published, Tables

GPU_LAUNCH_S = (5e-6, 10e-6, 20e-6, 35e-6)
GPU_EFFICIENCY = (0.35, 0.5, 0.7)
GPU_BANDWIDTH = (0.3, 0.5, 0.8)
"""The values tried when an accelerator's constants are fitted; the best of `fit_gpu` on all results is `GPU_FITTED`."""
GPU_FITTED = (20e-6, 0.7, 0.3)

NO_VNNI = ("tflite",)
"""Runtimes whose published int8 results show no gain from VNNI: a core with it takes about as many cycles as one without."""
_PLAIN_INT8_PER_CYCLE_SHARE = 2.0
"""Then int8 gets twice the fp32 rate of AVX2, 64 operations a cycle, whatever the width."""

RUNTIMES = {"openvino": {FP32: "openvino", INT8: "openvino"}}
"""Which runtime's efficiencies stand for a backend of ours; `FALLBACK` for those of which nothing was published."""
FALLBACK = {FP32: "tflite", INT8: "openvino"}

Class = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiencies:
    """`own` maps (runtime, precision, instruction set) to the logarithm of relative time at equal peak, `pooled` the same over
    all runtimes by (precision, instruction set), with the number of the part that runtimes connect."""

    own: Mapping[Class, float]
    pooled: Mapping[tuple[str, str], tuple[int, float]]

    def between(self, runtime: str, precision: str, here: str, there: str) -> float | None:
        """ln(time there / time here) at equal peak; None when no runtime was measured on both instruction sets."""
        if here == there:
            return 0.0
        own = [self.own.get((runtime, precision, isa)) for isa in (here, there)]
        if own[0] is not None and own[1] is not None:
            return own[1] - own[0]
        pooled = [self.pooled.get((precision, isa)) for isa in (here, there)]
        if pooled[0] is None or pooled[1] is None or pooled[0][0] != pooled[1][0]:
            return None
        return pooled[1][1] - pooled[0][1]


def isa_of(isa: str, precision: str, runtime: str = "") -> str:
    """The class of an instruction set: fp32 code does not use what is made for int8."""
    if precision == INT8:
        return "x86" if runtime in NO_VNNI and not isa.startswith(("neon", "sve")) else isa
    return {"neon dotprod": "neon", "avx512 vnni": "avx512", "amx": "avx512"}.get(isa, isa)


def peak(hardware: Hardware, precision: str, runtime: str) -> float:
    """The peak that a runtime can use, GFLOP/s."""
    if precision == INT8 and runtime in NO_VNNI and not hardware.isa.startswith(("neon", "sve")):
        wide = 2.0 if hardware.isa.startswith(("avx512", "amx")) else 1.0
        return _PLAIN_INT8_PER_CYCLE_SHARE * hardware.peaks[FP32] / wide
    return hardware.peaks[precision]


def fit_cpu(tables: Tables) -> Efficiencies:
    """From every published result on CPUs."""
    own: dict[Class, float] = {}
    by_runtime: dict[tuple[str, str], list[Published]] = defaultdict(list)
    for each in tables.of(CPU):
        by_runtime[each.runtime, each.precision].append(each)
    effects: dict[str, list[tuple[str, str, float]]] = defaultdict(list)
    for (runtime, precision), results in by_runtime.items():
        by_isa: dict[str, list[float]] = defaultdict(list)
        for name, effect in _by_hardware(results, tables.hardware).items():
            isa = isa_of(tables.hardware[name].isa, precision, runtime)
            by_isa[isa].append(effect)
            effects[precision].append((runtime, isa, effect))
        own |= {(runtime, precision, isa): fmean(found) for isa, found in by_isa.items()}
    pooled = {(precision, isa): value for precision in effects for isa, value in _pooled(effects[precision]).items()}
    return Efficiencies(own=own, pooled=pooled)


def _by_hardware(results: Iterable[Published], hardware: Mapping[str, Hardware]) -> dict[str, float]:
    """For each hardware the mean over what was measured on it of ln(ms × peak), less the mean of the same thing elsewhere."""
    groups: dict[object, list[tuple[str, float]]] = defaultdict(list)
    for each in results:
        value = math.log(each.ms * peak(hardware[each.hardware], each.precision, each.runtime))
        groups[each.key].append((each.hardware, value))
    found: dict[str, list[float]] = defaultdict(list)
    for group in groups.values():
        mean = fmean(value for _, value in group)
        for name, value in group:
            found[name].append(value - mean)
    return {name: fmean(values) for name, values in found.items()}


def _pooled(effects: list[tuple[str, str, float]]) -> dict[str, tuple[int, float]]:
    """Least squares of effect = instruction set + runtime; each with its connected part, outside of which nothing compares."""
    isas = sorted({isa for _, isa, _ in effects})
    runtimes = sorted({runtime for runtime, _, _ in effects})
    design = np.zeros((len(effects), len(isas) + len(runtimes)))
    for row, (runtime, isa, _) in enumerate(effects):
        design[row, isas.index(isa)] = design[row, len(isas) + runtimes.index(runtime)] = 1.0
    solved = np.linalg.lstsq(design, np.array([effect for *_, effect in effects]), rcond=None)[0]
    part = {isa: at for at, isa in enumerate(isas)}
    for runtime in runtimes * len(isas):
        together = {isa for found, isa, _ in effects if found == runtime}
        least = min(part[isa] for isa in together)
        part |= dict.fromkeys(together, least)
    return {isa: (part[isa], float(solved[at])) for at, isa in enumerate(isas)}


def cpu_ratio(fitted: Efficiencies, here: Hardware, there: Hardware, precision: str, runtime: str) -> float | None:
    """ln(time there / time here) of what is bound by arithmetic; None where nothing published connects the two."""
    between = fitted.between(runtime, precision, *(isa_of(each.isa, precision, runtime) for each in (here, there)))
    if between is None:
        return None
    return math.log(peak(here, precision, runtime) / peak(there, precision, runtime)) + between


WIDTHS: Mapping[str, float] = {
    "cpu, fp32, other instruction set": 0.409,
    "cpu, fp32, same instruction set": 0.45,
    "cpu, int8, other instruction set": 0.656,
    "cpu, int8, same instruction set": 0.591,
    "gpu, nearest model": 0.826,
    "gpu, same model": 0.527,
}
"""By class the half of the 90 % interval in logarithms, as `validate.widths` finds it from all held-out results."""
