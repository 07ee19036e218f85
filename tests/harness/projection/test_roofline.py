from __future__ import annotations

import pytest

from harness.projection.nouns import CPU, FP16, FP32, GPU, Hardware, Layer, Work
from harness.projection.roofline import COMPUTE, CPU_EFFICIENCY, LAUNCH, MEMORY, cpu_ms, gpu_ms

CORE = Hardware(name="core", kind=CPU, family="f", peaks={FP32: 100.0}, isa="avx2", gb_per_s=10.0)
DENSE = Work(layers=(Layer(flops=6e9, weights=1e5, activations=1e5),), operators=1)
WIDE = Work(layers=(Layer(flops=1e8, weights=1e8, activations=1e4),), operators=1)


def test_arithmetic_at_a_share_of_the_peak() -> None:
    ms, bound = cpu_ms(DENSE, CORE, FP32, CPU_EFFICIENCY, 1)
    assert ms == pytest.approx(100.0)
    assert bound == COMPUTE
    four = Hardware(name="4", kind=CPU, family="f", peaks={FP32: 400.0}, isa="avx2", cores=4, gb_per_s=40.0)
    assert cpu_ms(DENSE, four, FP32, CPU_EFFICIENCY, 2)[0] == pytest.approx(50.0)


def test_weights_that_no_cache_holds_are_read_from_memory() -> None:
    ms, bound = cpu_ms(WIDE, CORE, FP32, CPU_EFFICIENCY, 1)
    assert ms == pytest.approx((4e8 + 4e4) / 8e9 * 1e3)
    assert bound == MEMORY
    small = Work(layers=(Layer(flops=1e8, weights=1e5, activations=1e4),), operators=1)
    assert cpu_ms(small, CORE, FP32, CPU_EFFICIENCY, 1)[1] == COMPUTE


def test_an_accelerator_adds_launches_arithmetic_and_traffic() -> None:
    gpu = Hardware(name="g", kind=GPU, family="", peaks={FP16: 1e5}, gb_per_s=1000.0)
    many = Work(layers=DENSE.layers, operators=1000)
    assert gpu_ms(many, gpu, FP16, 1, 10e-6, 0.5, 0.5)[1] == LAUNCH
    one, eight = (gpu_ms(many, gpu, FP16, batch, 10e-6, 0.5, 0.5)[0] for batch in (1, 8))
    assert one < eight < 8 * one
