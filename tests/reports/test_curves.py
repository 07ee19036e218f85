"""Reading a capacity off the table of limits, and a latency off the same table the other way round."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.nouns import Estimate
from reports import curves

TABLE: dict[str, Any] = {
    "p99": curves.table(
        {
            "limit_ms": [50.0, 100.0, 200.0, 400.0],
            "value": [None, 2.0, 8.0, 10.0],
            "low": [0.0, 1.0, 7.0, 9.0],
            "high": [None, 3.0, 9.0, 11.0],
        }
    )
}


def test_a_point_of_the_table_is_given_as_it_is() -> None:
    assert curves.capacity(TABLE, 0.99, 200.0) == Estimate(value=8.0, low=7.0, high=9.0)


def test_between_points_logarithms_are_straight() -> None:
    found = curves.capacity(TABLE, 0.99, math.sqrt(100 * 200))
    assert found.value == pytest.approx(4.0)
    assert found.low == pytest.approx(math.sqrt(7))
    assert found.high == pytest.approx(math.sqrt(27))


def test_beyond_the_table_nothing_is_invented() -> None:
    assert curves.capacity(TABLE, 0.99, 9000.0).value == 10.0
    for limit in (10.0, 50.0, 99.0):
        found = curves.capacity(TABLE, 0.99, limit)
        assert found.value is None
        assert "no rate is known to meet p99<" in str(found.reason)
    assert curves.capacity(TABLE, 0.5, 100.0).reason == "the result holds no curve for p50"


def test_latency_is_the_inverse_of_capacity() -> None:
    for limit in (120.0, 200.0, 333.0):
        rate = curves.capacity(TABLE, 0.99, limit).value
        assert rate is not None
        assert curves.latency(TABLE, 0.99, rate) == pytest.approx(limit)
    assert curves.latency(TABLE, 0.99, 1.0) is None
    assert curves.latency(TABLE, 0.99, 10.5) is None
    assert curves.latency(TABLE, 0.5, 3.0) is None


def test_several_limits_bind_by_the_lowest() -> None:
    one, other = Estimate(value=8.0, low=7.0, high=9.0), Estimate(value=6.0, low=5.5, high=12.0)
    assert curves.lowest([one, other]) == Estimate(value=6.0, low=5.5, high=9.0)
    never = Estimate(value=None, low=None, high=None, reason="never")
    assert curves.lowest([one, never]) == never


def test_a_damaged_table_keeps_its_whole_rows() -> None:
    found = curves.table({"limit_ms": [10, "x", -1, 20], "value": [1, 2, 3, float("nan")], "low": [1, 2, 3, 4], "high": None})
    assert found == {"limit_ms": [], "value": [], "low": [], "high": []}
    found = curves.table({"limit_ms": [10, "x", 20], "value": [1, 2, float("nan")], "low": [1, 2, 3], "high": [1, 2, 3]})
    assert found["limit_ms"] == [10.0, 20.0]
    assert found["value"] == [1.0, None]
