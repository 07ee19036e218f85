"""The simulated server and the true capacities it is searched for are themselves right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize

from harness.slo import md1_utilisation
from tests.harness.capacity.searching import TRUTHS
from tests.harness.capacity.simulated import LAWS, Server


@pytest.mark.parametrize("law", sorted(LAWS))
def test_services_have_mean_one(law: str) -> None:
    assert LAWS[law](np.random.default_rng(1), 400_000).mean() == pytest.approx(1.0, rel=0.005)


def test_one_server_is_md1() -> None:
    server = Server(law="D", service_ms=10.0)
    assert server.true_capacity_per_s(0.99, 50.0, 400_000) == pytest.approx(100 * md1_utilisation(0.99, 5.0), rel=0.01)


def shares_beyond(law: str, servers: int, limit: float, rate: float, steps: int = 450, chains: int = 9000) -> float:
    """ln of the share of requests slower than `limit` services over 1 %, from chains that forgot their start."""
    rng = np.random.default_rng(5)
    gaps, services = rng.exponential(1 / rate, (steps, chains)), LAWS[law](rng, steps * chains).reshape(steps, chains)
    left, slow = np.zeros((servers, chains)), 0
    for k in range(steps):
        left = np.sort(np.maximum(left - gaps[k], 0), axis=0)
        left[0] += services[k]
        slow += int(np.count_nonzero(left[0] > limit)) if k >= 200 else 0
    return math.log(max(slow, 1) / ((steps - 200) * chains) / 0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("law", "servers"), sorted(TRUTHS))
def test_the_true_capacities_are_those_of_long_runs(law: str, servers: int) -> None:
    limit, truth = TRUTHS[law, servers]
    found = optimize.brentq(lambda rate: shares_beyond(law, servers, limit, rate), 0.9 * truth, 1.08 * truth, xtol=1e-3 * truth)
    assert truth == pytest.approx(found, rel=0.01)
