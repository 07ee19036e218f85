"""The what-if in Python: the run's own settings give the run's own ranking, and every control moves what it should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reports import controls, whatif
from reports.whatif import MONTH, Line, Settings
from tests.reports.conftest import projected


def ranked(lines: list[Line]) -> list[tuple[str, int]]:
    return [(line.row["id"], line.rank) for line in lines if line.rank is not None]


@pytest.fixture
def model(full: dict[str, Any]) -> dict[str, Any]:
    return whatif.model(full)


def ask(model: dict[str, Any], **changed: Any) -> list[Line]:
    return whatif.outcome(model, replace(whatif.original(model), **changed))


def test_own_settings_give_exactly_the_stored_ranking(edge: dict[str, Any]) -> None:
    model = whatif.model(edge)
    lines = whatif.outcome(model, whatif.original(model))
    stored = [row for row in edge.get("candidates") or () if row.get("status") == "ranked" and row.get("rank")]
    assert [line.rank for line in lines if line.rank is not None] == sorted(row["rank"] for row in stored)
    assert len(lines) == len(edge.get("candidates") or ())
    assert all(line.reason for line in lines if line.rank is None)


def test_the_arithmetic_alone_agrees_with_the_stored_ranking(model: dict[str, Any]) -> None:
    own = whatif.original(model)
    lines = [whatif._line(model, row, own) for row in model["rows"] if row["status"] == "ranked"]
    again = whatif._ranked(model, own, lines)
    assert [line.row["id"] for line in again] == [line.row["id"] for line in whatif.outcome(model, own)][: len(again)]
    assert [line.tied for line in again] == [True, True, False]


def test_demand_sizes_fleets_and_leaves_the_ranking(model: dict[str, Any], full: dict[str, Any]) -> None:
    before, after = ask(model), ask(model, demand_per_s=100.0)
    assert ranked(before) == ranked(after)
    best = after[0]
    assert best.instances == 7  # 100 / 15.096 of the capacity's lower end
    assert best.usd_per_month == pytest.approx(7 * 0.085 * 730)
    assert best.safe_usd_per_month == pytest.approx(8 * 0.085 * 730)
    assert best.latency_ms is not None
    assert best.latency_ms < 190
    assert before[0].instances is None


def test_fleets_are_those_of_the_decision(full: dict[str, Any], model: dict[str, Any]) -> None:
    from harness.decision.decide import again

    sized = {each["id"]: each for each in again(full, 321.0)["fleets"]}
    for line in ask(model, demand_per_s=321.0):
        if line.row["id"] in sized:
            assert line.instances == sized[line.row["id"]]["instances"]
            assert line.usd_per_month == pytest.approx(sized[line.row["id"]]["usd_per_month"])


def test_room_for_growth_takes_more_instances(model: dict[str, Any]) -> None:
    assert ask(model, demand_per_s=100.0, share=0.5)[0].instances == 14


def test_a_price_moves_the_ranking_by_month_and_by_million(full: dict[str, Any]) -> None:
    model = whatif.model(projected(full))
    dear = ask(model, prices={"local-1": 0.5})
    assert dear[0].row["id"] == "ort@c7i.large"
    cheap = ask(model, prices={"c7i.large": 0.5}, objective=MONTH, demand_per_s=100.0)
    assert cheap[0].row["instance"] == "local-1"


def test_spot_prices_rank_only_who_has_one(model: dict[str, Any]) -> None:
    model["rows"][1]["spot_usd_per_hour"] = 0.03
    lines = ask(model, basis="spot")
    assert ranked(lines) == [("ort@local-1", 1)]
    assert next(line for line in lines if line.row["id"] == "openvino@local-1").reason == "no price is known for the instance"


def test_a_tighter_limit_lowers_the_capacity_and_raises_the_cost(model: dict[str, Any]) -> None:
    before, after = ask(model)[0], ask(model, limits=((0.99, 120.0),))[0]
    assert before.capacity.value is not None
    assert after.capacity.value is not None
    assert after.capacity.value < before.capacity.value
    assert after.usd_per_million.value is not None
    assert after.capacity.low is not None
    assert after.capacity.low < after.capacity.value
    nobody = ask(model, limits=((0.99, 5.0),))
    assert ranked(nobody) == []
    assert nobody[0].reason == "no rate is known to meet p99<5ms"


def test_objectives_rank_by_their_figures(model: dict[str, Any]) -> None:
    by_capacity = [line.capacity.value for line in ask(model, objective="throughput") if line.rank is not None]
    assert by_capacity == sorted(by_capacity, key=lambda value: -(value or 0))
    by_latency = ask(model, objective="latency")
    medians = [line.row["latency"]["p95"][0] for line in by_latency if line.rank is not None]
    assert medians == sorted(medians)
    assert ranked(ask(model, objective=MONTH)) == []
    assert {line.rank for line in ask(model, objective=MONTH, demand_per_s=1.0) if line.rank} == {1}, "one instance each"


def test_a_result_without_curves_still_renders_and_says_why(full: dict[str, Any]) -> None:
    for row in full["candidates"]:
        del row["capacity_by_limit"]
    model = whatif.model(full)
    shown = controls.controls(model)
    assert shown is not None
    assert shown.limit_reason == "the result holds no curve of its capacity over the limit"
    assert ranked(ask(model))[0] == ("openvino@local-1", 1)
    assert ranked(ask(model, limits=((0.99, 100.0),))) == []


def test_a_stated_demand_is_never_an_assumed_one(full: dict[str, Any]) -> None:
    assert whatif.demand_per_s(full) is None
    full["scaling"]["basis"]["peak_per_s"] = {"value": 20.0, "unit": "1/s", "source": "assumption: 3 instances at their target"}
    assert whatif.demand_per_s(full) is None
    full["scaling"]["basis"]["peak_per_s"]["source"] = "given"
    assert whatif.demand_per_s(full) == 20.0
    full["decision"]["demand_per_s"] = 30.0
    assert whatif.demand_per_s(full) == 30.0


def test_settings_are_values() -> None:
    assert Settings(limits=((0.99, 1.0),), objective="cost") == Settings(limits=((0.99, 1.0),), objective="cost")
