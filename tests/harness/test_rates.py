"""Rates as people write them."""

from __future__ import annotations

import pytest

from harness.commands.run import _demands
from harness.errors import UsageError
from harness.rates import per_second


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2000/s", 2000.0), ("2000", 2000.0), ("1.5", 1.5), ("120/min", 2.0), (" 7200 / h ", 2.0), ("3e3/S", 3000.0)],
)
def test_a_rate_is_per_second(text: str, expected: float) -> None:
    assert per_second(text, "--demand") == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "many", "2000/fortnight", "/s", "2000//s", "nan", "5 s"])
def test_what_is_no_rate_is_said(text: str) -> None:
    with pytest.raises(UsageError, match=r"--demand .* is no rate.* --demand 2000/s"):
        per_second(text, "--demand")


@pytest.mark.parametrize("text", ["0/s", "-5/s", "1e10/s", "inf"])
def test_what_nobody_can_ask_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="is impossible; allowed"):
        per_second(text, "--peak")


def test_demand_and_peak_stand_in_for_each_other() -> None:
    assert _demands("20/s", None) == (20.0, 20.0)
    assert _demands(None, "600/min") == (10.0, 10.0)
    assert _demands("5", "600/min") == (5.0, 10.0)
    assert _demands(None, None) == (None, None)
    with pytest.raises(UsageError, match="--peak 1 is below --demand 2"):
        _demands("2", "1")
