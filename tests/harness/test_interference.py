from __future__ import annotations

import json
import math

import numpy as np
import pytest

from harness.interference import Slice, judge


def slices(ratio: float, quadruples: int = 4, noise: float = 0.002, drift: float = 0.0, seed: int = 1) -> list[Slice]:
    """ABBA slices of a server that is `ratio` times slower beside others, on a machine that slows by `drift` a slice."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(4 * quadruples):
        beside = index % 4 in (1, 2)
        service = 10.0 * (ratio if beside else 1.0) * math.exp(drift * index + rng.normal(0, noise))
        made.append(Slice(beside=beside, service_ms=service, throughput_per_s=1e3 / service))
    return made


def test_lanes_that_do_not_disturb_each_other_may_rank() -> None:
    found = judge(slices(1.0))
    assert found.why_serial is None
    assert found.service.value == pytest.approx(1.0, abs=0.005)


def test_a_neighbour_that_costs_five_percent_forces_one_at_a_time_and_says_so() -> None:
    found = judge(slices(1.05))
    assert found.why_serial is not None
    assert "service time 1.05" in found.why_serial
    assert "throughput 0.95" in found.why_serial
    json.dumps(found.to_json(), allow_nan=False)


def test_a_drifting_machine_is_not_taken_for_interference() -> None:
    assert judge(slices(1.0, drift=0.02)).why_serial is None


def test_noise_that_hides_two_percent_decides_for_serial() -> None:
    assert judge(slices(1.0, noise=0.05)).why_serial is not None


@pytest.mark.parametrize("count", [0, 3, 4, 7])
def test_too_few_slices_decide_for_serial(count: int) -> None:
    assert "are needed" in (judge(slices(1.0)[:count]).why_serial or "")


def test_a_slice_without_a_figure_takes_its_quadruple_with_it() -> None:
    broken = [
        Slice(beside=each.beside, service_ms=math.nan, throughput_per_s=0.0) if index < 12 else each
        for index, each in enumerate(slices(1.0))
    ]
    assert "1 complete comparisons" in (judge(broken).why_serial or "")
