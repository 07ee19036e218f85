"""The front of cost against latency, and that a tie beats nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.decision.options import common_quantile, options
from harness.decision.pareto import pareto
from tests.harness.decision.made import figure, row


def front(*rows: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    quantile = common_quantile(rows)
    return pareto(options(rows, quantile), quantile, 1.02)


def test_who_is_beaten_in_both_names_everybody_that_does_it() -> None:
    drawn, beaten = front(
        row("cheap@a", price=0.1, latency=200.0), row("fast@b", price=0.4, latency=50.0),
        row("between@c", price=0.2, latency=100.0), row("bad@d", price=0.5, latency=220.0),
    )  # fmt: skip
    assert drawn["front"] == ["cheap@a", "between@c", "fast@b"]
    assert [each["id"] for each in beaten["bad@d"]] == ["cheap@a", "between@c", "fast@b"]
    assert beaten["bad@d"][0]["cost_ratio"]["value"] == pytest.approx(5.0)
    assert beaten["bad@d"][0]["latency_ratio"]["value"] == pytest.approx(1.1)
    assert list(beaten) == ["bad@d"]


def test_a_gap_inside_the_intervals_beats_nobody() -> None:
    near = [row("ort@a"), row("tvm@a", capacity=9.0, latency=110.0, spread=1.3, basis="projected")]
    assert front(*near)[1] == {}
    assert front(near[0], row("tvm@a", capacity=9.0, latency=110.0))[1] != {}
    assert front(row("a@x"), row("b@x"))[0]["front"] == ["a@x", "b@x"], "equals stay both"


def test_who_lacks_a_figure_is_left_out_with_the_reason() -> None:
    drawn, _ = front(row("a@x"), row("b@y", price=None), row("c@z", latency=None, latency_reason="no run"))
    assert {each["id"]: each["reason"] for each in drawn["left_out"]} == {
        "b@y": "no cost: no price is known for the instance",
        "c@z": "no latency: not measured",
    }


def test_the_quantile_is_the_highest_of_the_measured_rows() -> None:
    short = row("b@y", latency_ms={"p50": figure(20.0), "p99": figure(None)})
    assert common_quantile([row("a@x"), short]) == "p50"
    assert common_quantile([row("a@x"), short | {"basis": "projected"}]) == "p99"
    assert common_quantile([short | {"status": "rejected"}]) is None
    assert common_quantile([short | {"basis": "projected"}]) == "p50"


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(5, 500), st.floats(1.0, 1.5)), min_size=1, max_size=12))
def test_somebody_is_always_left_and_everybody_else_is_beaten_by_the_front(law: list[tuple[float, float, float]]) -> None:
    rows = [row(f"{i}@x", price=price, latency=ms, spread=spread) for i, (price, ms, spread) in enumerate(law)]
    drawn, beaten = front(*rows)
    assert drawn["front"]
    assert set(drawn["front"]) | set(beaten) == {each["id"] for each in rows}
    costs = [next(r for r in rows if r["id"] == name)["usd_per_million"]["value"] for name in drawn["front"]]
    assert (np.diff(costs) >= 0).all()
