"""How far things must move, checked against arithmetic by hand, and every bound on which nothing ever changes."""

from __future__ import annotations

from typing import Any

import pytest

from harness.decision.decide import again, decide
from tests.harness.decision.made import predicted, row


def changes(*rows: dict[str, Any], **more: Any) -> dict[tuple[str, str, str | None], dict[str, Any]]:
    given = {"objective": "cost", "slo": "p99<100ms", "reference_rate_per_s": 5.0, "demand_per_s": None} | more
    found = decide(rows, **given)  # type: ignore[arg-type]
    return {(each["what"], each["direction"], each["of"]): each for each in found["changes"]}


CHEAP, DEAR = row("ort@small", price=0.1, capacity=10.0), row("ort@large", price=0.3, capacity=20.0)


def test_prices_move_the_winner_where_the_costs_meet() -> None:
    found = changes(CHEAP, DEAR)
    rise = found["price", "up", "small"]
    assert (rise["verdict"], rise["to"], rise["unit"]) == ("changes", "ort@large", "USD/h")
    assert rise["at"] == pytest.approx(0.15)
    assert rise["factor"]["low"] < 1.5 < rise["factor"]["high"]
    fall = found["price", "down", "large"]
    assert fall["at"] == pytest.approx(0.2)
    assert "+50 %" in rise["said"]
    assert found["price", "down", "small"]["verdict"] == "never"


def test_candidates_on_one_instance_share_its_price() -> None:
    found = changes(CHEAP, row("tvm@small", price=0.1, capacity=8.0))
    only = found["price", "up", "small"]
    assert only["verdict"] == "never"
    assert "moves all alike" in only["reason"]
    among = changes(CHEAP, row("tvm@small", price=0.1, capacity=8.0), DEAR)
    assert among["price", "up", "small"]["to"] == "ort@large", "the other on the same instance does not gain"


def test_a_tie_is_said_to_be_within_the_interval_already() -> None:
    found = changes(CHEAP, row("ort@large", price=0.201, capacity=20.0, spread=1.2))
    assert "within the interval already" in found["price", "up", "small"]["said"]


@pytest.mark.parametrize("objective", ["latency", "throughput"])
def test_no_price_decides_another_objective(objective: str) -> None:
    assert changes(CHEAP, DEAR, objective=objective)["price", "up", "small"]["verdict"] == "never"


def test_load_moves_the_winner_where_a_whole_instance_is_saved() -> None:
    small = row("ort@small", price=0.1, capacity=10.0, spread=1.0)
    large = row("ort@large", price=0.45, capacity=50.0, spread=1.0)
    at = changes(large, small, demand_per_s=45.0)
    down = at["load", "down", None]
    assert (down["winner"], down["to"], down["at"]) == ("ort@large", "ort@small", pytest.approx(40.0))
    assert down["factor"]["value"] == pytest.approx(40 / 45)
    up = at["load", "up", None]
    assert (up["to"], up["at"]) == ("ort@small", pytest.approx(50.0)), "a second large one for 51/s is dearer than 6 small ones"
    far = changes(large, small, demand_per_s=9_000.0)["load", "up", None]
    assert (far["verdict"], far["winner"]) == ("never", "ort@large")
    free = changes(large, small)["load", "down", None]
    assert free["now"] is None
    assert free["factor"] is None


def test_a_winner_at_every_demand_is_said_to_be_one() -> None:
    found = changes(CHEAP, row("ort@large", price=0.4, capacity=10.0))
    assert "at any demand" in found["load", "up", None]["said"]
    assert ("load", "down", None) not in found


def test_the_slo_moves_the_winner_where_the_curves_cross() -> None:
    # Of equal price: steep gains more from a longer limit, and they meet at a factor of 2.
    flat = row("flat@x", capacity=12.0, predicted=predicted([0.25, 1.0, 4.0], [6.0, 12.0, 24.0], [1.0, 9.0], [1.0, 2.0]))
    steep = row("steep@x", capacity=6.0, predicted=predicted([0.25, 1.0, 4.0], [1.5, 6.0, 96.0], [1.0, 9.0], [1.0, 2.0]))
    blind = row("blind@x", capacity=5.0)
    found = changes(flat, steep, blind)
    assert found["slo", "up", None]["factor"]["value"] == pytest.approx(4 ** (1 / 3), rel=0.01)
    assert found["slo", "up", None]["to"] == "steep@x"
    assert found["slo", "up", None]["left_out"] == ["blind@x"]
    down = found["slo", "down", None]
    assert (down["verdict"], down["until"]) == ("stays", pytest.approx(25.0))
    unknown = changes(blind, flat)["slo", "up", None]
    assert (unknown["verdict"], unknown["at"]) == ("unknown", None)
    assert "blind@x cannot be followed" in unknown["said"]


def test_a_limit_that_the_winner_cannot_keep_hands_over() -> None:
    curve = [0.25, 0.5, 1.0, 4.0]
    first = row("first@x", capacity=12.0, predicted=predicted(curve, [0.0, 0.0, 12.0, 13.0], [1.0, 9.0], [1.0, 2.0]))
    other = row("other@x", capacity=6.0, predicted=predicted(curve, [2.0, 4.0, 6.0, 7.0], [1.0, 9.0], [1.0, 2.0]))
    down = changes(first, other)["slo", "down", None]
    assert (down["to"], down["verdict"]) == ("other@x", "changes")


def test_latencies_at_other_rates_pass_through_the_measured_ones() -> None:
    quick = row("quick@x", latency=50.0, predicted=predicted([1.0, 4.0], [9.0, 9.0], [1.0, 5.0, 9.0], [40.0, 45.0, 900.0]))
    broad = row("broad@x", latency=60.0, predicted=predicted([1.0, 4.0], [9.0, 9.0], [1.0, 5.0, 40.0], [58.0, 60.0, 65.0]))
    found = changes(quick, broad, objective="latency")
    up = found["load", "up", None]
    assert (up["winner"], up["to"]) == ("quick@x", "broad@x")
    assert 5.0 < up["at"] < 9.0
    assert found["load", "down", None]["verdict"] == "stays"
    assert found["slo", "up", None]["verdict"] == "never"


def test_a_single_candidate_has_no_rival_and_no_candidate_no_decision() -> None:
    alone = decide([CHEAP], objective="cost", slo=None, reference_rate_per_s=None, demand_per_s=10.0)
    assert (alone["changes"], alone["changes_reason"]) == ([], "there is no other ranked candidate")
    assert alone["cheapest"] == "ort@small"
    none = decide([], objective="cost", slo=None, reference_rate_per_s=None, demand_per_s=None)
    assert (none["fleets"], none["changes_reason"], none["fleet_by_demand"]) == ([], "no candidate was ranked", None)
    assert "--demand" in none["demand_reason"]


def test_a_stored_result_answers_for_another_demand() -> None:
    rows = [CHEAP, DEAR]
    first = decide(rows, objective="cost", slo="p99<100ms", reference_rate_per_s=5.0, demand_per_s=None, tie_ratio=1.1)
    stored = {
        "candidates": rows, "objective": "cost", "slo": {"text": "p99<100ms"}, "reference_rate_per_s": 5.0, "decision": first,
    }  # fmt: skip
    asked = again(stored, 100.0)
    assert (asked["tie_ratio"], asked["demand_per_s"]) == (1.1, 100.0)
    assert [each["id"] for each in asked["fleets"]] == ["ort@small", "ort@large"]
