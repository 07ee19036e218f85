"""Capacity under other limits and latency at other rates, against the formulas of queues whose law is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.capacity import elsewhere
from harness.slo import md1_utilisation, parse
from tests.harness.capacity.simulated import Server


def predicted(law: str, capacity: float, slo: str = "p99<50ms") -> elsewhere.Elsewhere:
    runs = [Server(law=law, service_ms=10.0, drift=0.0).run(50.0, 200.0, 1.0, np.random.default_rng(1))]
    return elsewhere.predict(runs, parse(slo), 1, capacity, 0)


def test_the_capacity_of_constant_services_is_erlangs_at_every_limit() -> None:
    own = 100 * md1_utilisation(0.99, 5.0)
    found = predicted("D", own)
    for factor, capacity in zip(found.slo_factors, found.capacity_per_s, strict=True):
        if factor > 1 / 4:
            assert capacity == pytest.approx(100 * md1_utilisation(0.99, 5 * factor), rel=0.01), factor
    assert (np.diff(found.capacity_per_s) >= 0).all()


def test_a_limit_below_the_service_time_leaves_nothing() -> None:
    assert predicted("D", 50.0, "p99<20ms").capacity_per_s[0] == 0.0


def test_the_latency_of_exponential_services_is_that_of_mm1() -> None:
    found = predicted("M", 30.0)
    for share, row in zip(elsewhere.LOADS, found.latency_ms, strict=True):
        if share <= 0.8:
            assert row[-1] == pytest.approx(10 * math.log(100) / (1 - share), rel=0.12), share
            assert row[0] == pytest.approx(10 * math.log(2) / (1 - share), rel=0.08), share
    assert (np.diff(found.latency_ms[:, -1]) > 0).all()
