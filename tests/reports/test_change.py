"""What would change the recommendation, in sentences."""

from __future__ import annotations

from typing import Any

from reports import change, whatif
from tests.reports.conftest import projected


def said(result: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    return {one.what: (one.said, one.switches) for one in change.changes(result, whatif.model(result))}


def test_the_moves_of_the_decision_are_told_with_their_direction(full: dict[str, Any]) -> None:
    found = said(full)
    assert found["Tighter limit"][0].startswith("openvino@local-1 stays ahead as far as a limit of")
    assert found["Higher price of local-1"] == (
        "Would change nothing: every candidate with a price is on local-1: its price moves all alike.",
        False,
    )


def test_a_change_that_switches_is_marked(full: dict[str, Any]) -> None:
    full["decision"]["changes"] = [
        {"what": "slo", "of": None, "direction": "up", "verdict": "changes", "to": "ort@local-1", "said": "ort from 300 ms"}
    ]
    assert said(full)["Looser limit"] == ("ort from 300 ms.", True)


def test_other_objectives_are_asked_of_the_what_if(full: dict[str, Any]) -> None:
    assert said(full)["By latency"] == ("It would still be among the first: openvino@local-1, ort@local-1.", False)
    assert said(full)["By throughput"][0].startswith("It would still be among the first")
    assert "By cost per month at the demand" not in said(full)
    full["decision"]["demand_per_s"] = 10.0
    assert "By cost per month at the demand" in said(full)


def test_another_winner_by_another_objective_is_named(full: dict[str, Any]) -> None:
    text, switches = said(projected(full))["By throughput"]
    assert text.startswith("ort@c7i.large (projected) would come first")
    assert switches


def test_without_a_recommendation_nothing_can_change(full: dict[str, Any]) -> None:
    full["recommendation"] = None
    assert change.changes(full, whatif.model(full)) == ()


def test_a_result_without_a_decision_still_has_the_objectives(full: dict[str, Any]) -> None:
    del full["decision"]
    assert set(said(full)) == {"By latency", "By throughput"}
