"""How long some work takes on some hardware: the roofline, layer by layer. Pure.

On CPUs a layer takes the longer of its arithmetic and its traffic with memory; on accelerators, whose batches of one leave no
room to hide anything, launches, arithmetic and traffic add up.
"""

from __future__ import annotations

from harness.projection.nouns import FP16, FP32, INT8, TF32, Hardware, Work

COMPUTE, MEMORY, LAUNCH = "compute", "memory", "launch"

BYTES = {FP32: 4, TF32: 4, FP16: 2, INT8: 1}

CPU_EFFICIENCY = 0.6
"""Of the peak, where nothing is known; it cancels in every ratio but decides what a layer is bound by."""
CACHE_BYTES_PER_CORE = 2e6
"""What a core keeps of a layer or of all weights without going to memory: an L2 of today's servers."""
REACHED_BANDWIDTH = 0.8
"""Share of the nominal memory bandwidth that programs reach."""


def cpu_ms(work: Work, hardware: Hardware, precision: str, efficiency: float, cores: int) -> tuple[float, str]:
    """(ms, what bounds most of it) of one inference on `cores` of a CPU of `hardware.cores`."""
    share = cores / hardware.cores
    per_s = 1e9 * hardware.peaks[precision] * share * efficiency
    bytes_per_s = None if hardware.gb_per_s is None else 1e9 * hardware.gb_per_s * share * REACHED_BANDWIDTH
    cache = CACHE_BYTES_PER_CORE * cores
    size = BYTES[precision]
    streams = work.weights * size > cache
    compute = memory = 0.0
    for layer in work.layers:
        kept = (layer.activations + layer.weights) * size <= cache
        traffic = (layer.weights * size if streams else 0.0) + (0.0 if kept else layer.activations * size)
        arithmetic_s = layer.flops / per_s
        traffic_s = 0.0 if bytes_per_s is None else traffic / bytes_per_s
        if traffic_s > arithmetic_s:
            memory += traffic_s
        else:
            compute += arithmetic_s
    return 1e3 * (compute + memory), MEMORY if memory > compute else COMPUTE


def gpu_ms(
    work: Work, hardware: Hardware, precision: str, batch: int, launch_s: float, efficiency: float, bandwidth: float
) -> tuple[float, str]:
    """(ms, what bounds most of it) of one batch; `efficiency` and `bandwidth` are shares of the peaks."""
    peak = hardware.peaks.get(precision) or hardware.peaks[FP16]
    parts = {
        LAUNCH: work.operators * launch_s,
        COMPUTE: batch * work.flops / (1e9 * peak * efficiency),
        MEMORY: (work.weights + batch * sum(layer.activations for layer in work.layers))
        * BYTES[precision]
        / (1e9 * (hardware.gb_per_s or 1.0) * bandwidth),
    }
    return 1e3 * sum(parts.values()), max(parts, key=lambda part: parts[part])
