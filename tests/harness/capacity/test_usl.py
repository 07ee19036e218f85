"""The Universal Scalability Law on curves that follow it."""

from __future__ import annotations

import numpy as np
import pytest

from harness.capacity import usl
from harness.capacity.finding import ClosedPoint

USERS = (1, 2, 4, 8, 16, 32)


def points(gain: float, contention: float, coherency: float, noise: float = 0.0) -> list[ClosedPoint]:
    rng = np.random.default_rng(8)
    seen = usl.throughput_per_s(np.array(USERS, dtype=float), gain, contention, coherency) * np.exp(
        noise * rng.standard_normal(6)
    )
    return [ClosedPoint(users=users, per_s=float(each)) for users, each in zip(USERS, seen, strict=True)]


def test_known_parameters_are_found() -> None:
    found = usl.fit(points(100.0, 0.05, 0.004))
    assert (found.gain_per_s, found.contention, found.coherency) == pytest.approx((100.0, 0.05, 0.004), rel=1e-3)
    assert found.peak_users == pytest.approx(np.sqrt(0.95 / 0.004), rel=1e-3)
    assert found.retrograde


def test_one_server_is_one_effective_server_and_never_falls() -> None:
    found = usl.fit(points(50.0, 1.0, 0.0, noise=0.005))
    assert found.effective_servers == pytest.approx(1.0, abs=0.05)
    assert found.retrograde is False
    assert found.peak_per_s == pytest.approx(50.0, rel=0.02)


def test_a_peak_beyond_the_users_tried_is_not_claimed() -> None:
    found = usl.fit(points(100.0, 0.02, 1e-5))
    assert found.peak_users is None
    assert found.peak_per_s == pytest.approx(usl.throughput_per_s(np.array([32.0]), 100.0, 0.02, 1e-5)[0], rel=0.01)


def test_too_little_to_fit_is_none_with_a_reason() -> None:
    few = usl.fit(points(100.0, 0.1, 0.0)[:3])
    assert few.gain_per_s is None
    assert few.reason == "3 numbers of users were tried, a fit needs 4"
    assert usl.fit([ClosedPoint(users=n, per_s=0.0) for n in USERS]).reason == "a closed loop answered nothing"
