"""The queue's arithmetic against Erlang's formulas and against long simulated runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from harness.capacity import transform
from harness.slo import md1_utilisation
from tests.harness.capacity.simulated import lindley

EXPONENTIAL = -10.0 * np.log1p(-(np.arange(20_000) + 0.5) / 20_000)


def laws(values: np.ndarray, limit_ms: float, servers: int = 1, idle: np.ndarray | None = None) -> transform.Laws:
    first = values if idle is None else idle
    even = np.full((1, values.size), 1 / values.size)
    return transform.laws(first, np.full((1, first.size), 1 / first.size), values, even, servers, limit_ms)


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("services", [1.5, 2.7, 5.0, 10.0, 30.0])
def test_constant_services_are_erlangs_md1(services: float, quantile: float) -> None:
    found = transform.highest_rates(laws(np.array([10.0]), 10 * services), 1 - quantile)[0]
    assert found == pytest.approx(100 * md1_utilisation(quantile, services), rel=2e-4)


@pytest.mark.parametrize("services", [6.0, 10.0, 30.0])
def test_exponential_services_are_mm1(services: float) -> None:
    found = transform.highest_rates(laws(EXPONENTIAL, 10 * services), 0.01)[0]
    assert found == pytest.approx(100 * (1 - math.log(100) / services), rel=1e-3)


@pytest.mark.parametrize("services", [6.0, 10.0, 30.0])
def test_exponential_services_on_two_servers_are_mm2(services: float) -> None:
    def beyond(rate_per_ms: float) -> float:
        load = rate_per_ms * 10
        wait = load**2 / 2 / (1 - load / 2) / (1 + load + load**2 / 2 / (1 - load / 2))
        fall, own, limit = 0.2 - rate_per_ms, 0.1, 10 * services
        both = (fall * math.exp(-own * limit) - own * math.exp(-fall * limit)) / (fall - own)
        return (1 - wait) * math.exp(-own * limit) + wait * both

    truth = 1e3 * optimize.brentq(lambda rate: beyond(rate) - 0.01, 1e-6, 0.1999999)
    assert transform.highest_rates(laws(EXPONENTIAL, 10 * services, 2), 0.01)[0] == pytest.approx(truth, rel=1e-3)


def test_a_first_service_of_its_own_agrees_with_the_queue_run_request_by_request() -> None:
    rng = np.random.default_rng(3)
    n, rate = 400_000, 50.0
    due = np.cumsum(rng.exponential(1e3 / rate, n))
    free, late = 0.0, 0
    for arrived, service in zip(due.tolist(), rng.choice([6.0, 14.0], n).tolist(), strict=True):
        taken = service + 8.0 if free <= arrived else service
        free = max(free, arrived) + taken
        late += free - arrived > 45.0
    law = laws(np.array([6.0, 14.0]), 45.0, idle=np.array([14.0, 22.0]))
    assert transform.slower(law, np.array([rate]))[0] == pytest.approx(late / n, rel=0.05)


def test_lognormal_services_agree_with_lindley() -> None:
    rng = np.random.default_rng(4)
    services, rate = rng.lognormal(2.0, 0.4, 1_000_000), 70.0
    seen = lindley(np.cumsum(rng.exponential(1e3 / rate, services.size)), services)
    law = laws(services[:5000], 50.0)
    assert transform.slower(law, np.array([rate]))[0] == pytest.approx((seen > 50.0).mean(), rel=0.08)


def test_edges() -> None:
    assert transform.highest_rates(laws(np.array([10.0]), 9.0), 0.01)[0] == 0.0, "slower than the limit without any queue"
    law = laws(np.array([10.0]), 50.0)
    assert transform.slower(law, np.array([100.0]))[0] == 1.0, "saturated"
    assert transform.slower(law, np.array([0.0]))[0] == pytest.approx(0.0, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.1, 30.0), min_size=1, max_size=20),
    st.floats(31.0, 200.0),
    st.integers(1, 4),
    st.floats(0.005, 0.5),
)
def test_the_rate_found_breaks_exactly_the_allowed_share(
    values: list[float], limit: float, servers: int, allowed: float
) -> None:
    law = laws(np.array(values), limit, servers)
    found = transform.highest_rates(law, allowed)
    assert 0 < found[0] <= law.highest_per_s[0]
    assert transform.slower(law, found * 0.999)[0] <= allowed * 1.001 + 1e-6
    assert transform.slower(law, np.minimum(found * 1.002, law.highest_per_s))[0] >= allowed * 0.999
