"""Cost per million inferences and its interval."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cost import usd_per_million
from harness.nouns import Estimate

CAPACITY = Estimate(value=50.0, low=40.0, high=62.5)


def test_cost_is_the_price_of_an_hour_over_what_an_hour_serves() -> None:
    got = usd_per_million(0.18, CAPACITY)
    assert (got.value, got.low, got.high) == pytest.approx((1.0, 0.8, 1.25))
    assert got.reason is None


def test_cost_at_the_scaling_target_is_higher_by_the_safety_factor() -> None:
    got = usd_per_million(0.18, CAPACITY, utilisation=0.5)
    assert (got.value, got.low, got.high) == pytest.approx((2.0, 1.6, 2.5))


def test_cost_at_saturation_is_the_figure_of_the_managed_recommender() -> None:
    # CostPerInference = CostPerHour / 60 / MaxInvocations per minute.
    got = usd_per_million(0.23, Estimate(value=18_276 / 60, low=None, high=None))
    assert got.value == pytest.approx(0.23 / 60 / 18_276 * 1e6)


@pytest.mark.parametrize(
    ("price", "capacity", "reason"),
    [
        (None, CAPACITY, "no price is known for the instance"),
        (0.1, Estimate(value=None, low=0.0, high=3.0, reason="no tested rate met p99<5ms"), "no tested rate met p99<5ms"),
        (0.1, Estimate(value=None, low=None, high=None), "the capacity was not measured"),
        (0.1, Estimate(value=0.0, low=0.0, high=3.0), "nothing can be served within the SLO"),
    ],
)
def test_what_cannot_be_priced_is_none_with_its_reason(price: float | None, capacity: Estimate, reason: str) -> None:
    assert usd_per_million(price, capacity) == Estimate(value=None, low=None, high=None, reason=reason)


def test_a_capacity_that_may_be_zero_has_no_upper_cost() -> None:
    got = usd_per_million(0.18, Estimate(value=50.0, low=0.0, high=62.5))
    assert got.value == pytest.approx(1.0)
    assert got.high is None
    assert got.reason is not None
    assert "no upper bound" in got.reason


def test_a_free_instance_costs_nothing() -> None:
    assert usd_per_million(0.0, CAPACITY).value == 0.0


@pytest.mark.parametrize("utilisation", [0.0, -0.5, 1.01])
def test_impossible_utilisation_is_refused(utilisation: float) -> None:
    with pytest.raises(ValueError, match="utilisation"):
        usd_per_million(0.1, CAPACITY, utilisation=utilisation)


@given(st.floats(0.01, 100), st.floats(0.1, 1e4), st.floats(1, 3), st.floats(1, 3), st.floats(0.05, 1))
def test_bounds_enclose_the_value(price: float, rate: float, up: float, down: float, utilisation: float) -> None:
    got = usd_per_million(price, Estimate(value=rate, low=rate / down, high=rate * up), utilisation=utilisation)
    assert got.low is not None
    assert got.value is not None
    assert got.high is not None
    assert got.low <= got.value <= got.high
