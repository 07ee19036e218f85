"""The simulation that autoscale left beside a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reports import figures, page, plots_fleet


@pytest.fixture
def simulation() -> dict[str, Any]:
    trial = {"policy": "tracking", "target_share": 0.6, "keeps_slo": True, "violation_ratio": 0.004, "usd_per_day": 12.5}
    late = trial | {"target_share": 0.9, "keeps_slo": False, "violation_ratio": 0.08, "usd_per_day": 9.0}
    return {
        "candidate": {"id": "openvino@local-1", "model": "resnet50"},
        "slo": {"text": "p99<190ms"},
        "trials": [trial, late],
        "chosen": trial,
        "chosen_reason": "cheapest of 2 that keeps p99<190ms",
        "over_time": {
            "minute": [0, 1, 2],
            "load_per_s": [10.0, 20.0, 15.0],
            "serving": [2, 2, 3],
            "capacity": [2, 3, 3],
            "quantile_ms": [90.0, 200.0, None],
        },
    }


def test_it_is_found_beside_the_result_and_only_if_it_is_of_the_same_model(
    full: dict[str, Any], simulation: dict[str, Any], tmp_path: Path
) -> None:
    assert plots_fleet.load(None, full) is None
    assert plots_fleet.load(tmp_path, full) is None
    (tmp_path / "autoscale").mkdir()
    (tmp_path / "autoscale" / "autoscale.json").write_text(json.dumps(simulation))
    assert plots_fleet.load(tmp_path, full) == simulation
    (tmp_path / "autoscale.json").write_text("{damaged")
    assert plots_fleet.load(tmp_path, full) == simulation
    full["model"]["name"] = "another"
    assert plots_fleet.load(tmp_path, full) is None


def test_policies_and_the_chosen_one_are_drawn(full: dict[str, Any], simulation: dict[str, Any]) -> None:
    found = {picture.key: picture for picture in figures.pictures(full, simulation)}
    policies, fleet = found["policies"].figure, found["fleet"].figure
    assert policies is not None
    assert fleet is not None
    assert policies["data"][0]["marker"]["symbol"] == ["circle", "x"]
    assert policies["data"][1]["name"] == "chosen"
    assert [trace["name"] for trace in fleet["data"]] == [
        "load, requests/s",
        "instances asked for",
        "instances in service",
        "latency, ms",
    ]
    assert "cheapest of 2 that keeps p99<190ms" in found["policies"].alt
    assert "up to 3 instances in service" in found["fleet"].alt


def test_without_a_simulation_the_page_says_how_to_make_one(full: dict[str, Any], tmp_path: Path) -> None:
    assert "No fleet was simulated" in page.render(full, tmp_path)


@pytest.mark.parametrize("broken", [{}, {"trials": [{}], "chosen": None, "over_time": None}, {"trials": "x", "over_time": []}])
def test_a_broken_simulation_leaves_the_page_whole(full: dict[str, Any], broken: dict[str, Any]) -> None:
    found = {picture.key: picture for picture in figures.pictures(full, broken)}
    assert found["fleet"].figure is None
