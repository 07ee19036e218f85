"""Sizes and bills of fleets, and whose is the cheapest at each demand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.decision.demandmap import demand_map
from harness.decision.fleets import fleets
from harness.decision.options import options
from tests.harness.decision.made import figure, row


def test_a_fleet_rests_on_the_lower_end_of_the_capacity() -> None:
    (made,) = fleets(options([row("a@x", price=0.1, capacity=10.0, spread=1.25)], "p99"), 2000.0)
    found = made.to_json()
    assert (found["instances"], found["instances_expected"]) == (250, 200)
    assert found["utilization"] == pytest.approx(0.8)
    assert found["usd_per_month"] == pytest.approx(250 * 0.1 * 730)
    assert found["one_lost"]["instances"] == 251
    assert found["one_lost"]["usd_per_month"] == pytest.approx(251 * 0.1 * 730)
    assert found["one_lost"]["utilization_after_loss"] == pytest.approx(0.8)


def test_the_cheapest_comes_first_and_what_is_not_known_says_why() -> None:
    rows = [
        row("free@x", price=None), row("dear@y", price=9.0), row("cheap@z"), row("slow@q", capacity=0.001),
        row("unsure@w", capacity_per_s={"value": 5.0, "low": 0.0, "high": 9.0, "reason": None}),
        row("none@v", capacity_per_s=figure(None, reason="too slow")),
    ]  # fmt: skip
    found = [each.to_json() for each in fleets(options(rows, "p99"), 400.0)]
    assert [each["id"] for each in found][:2] == ["cheap@z", "dear@y"]
    why = {each["id"]: each["reason"] for each in found}
    assert why["free@x"] == "no price is known for the instance"
    assert "more than 100,000 instances" in why["slow@q"]
    assert "no lower bound" in why["unsure@w"]
    assert why["none@v"] == "too slow"
    assert next(each for each in found if each["id"] == "free@x")["instances"] == 41


def test_a_projection_at_another_level_is_widened_to_95_percent() -> None:
    (option,) = options([row("a@x", spread=1.5, basis="projected", projection={"level": 0.9})], "p99")
    assert option.capacity_per_s.low == pytest.approx(10 / 1.5 ** (1.96 / 1.645), rel=1e-3)


def test_one_instance_is_the_least() -> None:
    (made,) = fleets(options([row("a@x")], "p99"), 0.01)
    assert made.instances == 1


def test_small_demands_belong_to_small_instances() -> None:
    small, large = row("small@s", price=0.1, capacity=10.0, spread=1.0), row("large@l", price=0.5, capacity=100.0, spread=1.0)
    found = demand_map(options([large, small], "p99"), "large@l")
    assert found is not None
    assert found.until is None
    assert [(each.above, each.up_to, each.id) for each in found.stretches] == [
        (0.0, 40.0, "small@s"),
        # Five small ones cost as much as a large one, and between equals the preferred stays.
        (40.0, None, "large@l"),
    ]


@given(
    st.lists(st.tuples(st.floats(0.01, 9), st.floats(0.5, 500)), min_size=2, max_size=6, unique=True),
    st.floats(0.1, 5000),
)
def test_the_map_agrees_with_the_bill_at_any_demand(law: list[tuple[float, float]], demand: float) -> None:
    rows = [row(f"{i}@x", price=price, capacity=capacity, spread=1.0) for i, (price, capacity) in enumerate(law)]
    found = demand_map(options(rows, "p99"), "0@x", demand)
    assert found is not None
    place = found.at(demand)
    if place is None:
        assert found.until is not None
        assert demand > found.until
        return
    bills = {
        each["id"]: each["usd_per_hour"] * max(1, math.ceil(round(demand / each["capacity_per_s"]["low"], 9))) for each in rows
    }
    assert bills[found.stretches[place].id] == pytest.approx(min(bills.values()))


def test_without_prices_there_is_no_map() -> None:
    assert demand_map(options([row("a@x", price=None)], "p99"), "a@x") is None


def test_equal_rates_are_looked_at_as_far_as_it_says() -> None:
    rows = [row("a@x", price=0.1, capacity=10.0, spread=1.0), row("b@y", price=0.2, capacity=20.0, spread=1.0)]
    found = demand_map(options(rows, "p99"), "a@x")
    assert found is not None
    assert found.until == pytest.approx(50_000)
    assert {each.id for each in found.stretches} == {"a@x"}, "never dearer, so always the preferred"
