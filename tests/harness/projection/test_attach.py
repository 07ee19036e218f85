"""Projected rows beside measured ones: from a whole bench on fakes to the result that is published."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import slo
from harness.catalogue import CatalogueRow, find, load_catalogue
from harness.environment import Cpu
from harness.projection import constants, machines, tables
from harness.projection.attach import attach
from harness.projection.nouns import Hardware, Layer, Work
from tests.harness.fakes import FakeWorld, constant
from tests.harness.test_bench import REQUEST, run

ROWS = load_catalogue(user_files=False)
RESNET = Work(layers=(Layer(flops=8.18e9, weights=25.6e6, activations=22.2e6),), operators=72)
ICE = Cpu(
    model="Intel(R) Xeon(R) Platinum 8375C", vendor="intel", arch="x86_64", isa="AVX-512 (2 FMA) VNNI",
    cores=2, threads_per_core=1, flags_digest="",
)  # fmt: skip
HERE = machines.here(ICE, 2.9, 6, ROWS)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    world = FakeWorld(servers={"ort": constant(40.0), "openvino": constant(50.0)})
    request = replace(REQUEST, backends=("ort", "openvino"))
    return run(world, tmp_path_factory.mktemp("run") / "run", request, slo.parse("p99<200ms"))[1]


def projected(
    result: dict[str, Any], *names: str, here: Hardware | str = HERE, work: Work | str = RESNET, **more: Any
) -> dict[str, Any]:
    rows = [replace(find(name, ROWS), **more) for name in names]
    found = attach(result, rows, here, work, tables.load(), seed=7, growth_per_min=0.1, peak_per_s=None)
    json.dumps(found, allow_nan=False)
    return found


def by_id(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in found["candidates"]}


def test_every_way_of_serving_is_projected_with_interval_anchor_and_basis(measured: dict[str, Any]) -> None:
    found = projected(measured, "ml.c6i.2xlarge")
    rows = by_id(found)
    assert set(rows) == {"ort@local-1", "openvino@local-1", "ort@ml.c6i.2xlarge", "openvino@ml.c6i.2xlarge"}
    own, base = rows["ort@ml.c6i.2xlarge"], rows["ort@local-1"]
    assert (own["basis"], own["status"], own["projection"]["from"]) == ("projected", "ranked", "ort@local-1")
    assert own["projection"]["class"] == "cpu, fp32, same instruction set"
    assert own["projection"]["servers"] == 4
    assert own["projection"]["anchor"]["text"]
    speed, width = own["projection"]["speed"], constants.WIDTHS["cpu, fp32, same instruction set"]
    assert speed["value"] == pytest.approx(1.0)  # the same core, here and there
    assert math.log(speed["high"] / speed["value"]) == pytest.approx(width)
    capacity = own["capacity_per_s"]
    assert capacity["value"] == pytest.approx(4 * base["capacity_per_s"]["value"], rel=0.02)
    assert capacity["low"] < capacity["value"] < capacity["high"]
    assert own["service_ms"]["p50"]["value"] == pytest.approx(40.0, rel=0.02)
    assert own["latency_ms"]["p99"]["low"] < own["latency_ms"]["p99"]["value"]
    assert own["usd_per_million"]["value"] == pytest.approx(own["usd_per_hour"] / capacity["value"] / 3600 * 1e6)


def test_what_was_not_measured_is_null_with_the_reason(measured: dict[str, Any]) -> None:
    own = by_id(projected(measured, "ml.c6i.2xlarge"))["ort@ml.c6i.2xlarge"]
    for key in ("parity", "memory_mb", "cpu_utilization", "start_s", "compile_s", "closed_capacity_per_s", "capacity_search"):
        assert own[key] is None
        assert own["unmeasured"][key] == "projected, not measured"
    assert own["steps"] == []
    assert own["latency_ms"]["p99"]["n"] == 0
    assert own["usd_per_million_at_target"]["reason"]
    assert set(own) >= set(measured["candidates"][0]) - {"threads"}


def test_a_projection_that_ties_stands_behind_what_was_measured(measured: dict[str, Any]) -> None:
    cheap = by_id(measured)["ort@local-1"]["usd_per_hour"] * 3.6  # for four times the capacity: 10 % cheaper
    found = projected(measured, "ml.c6i.2xlarge", usd_per_hour=cheap)
    own = by_id(found)["ort@ml.c6i.2xlarge"]
    assert own["tie_group"] == 1
    assert own["usd_per_million"]["value"] < by_id(found)["ort@local-1"]["usd_per_million"]["value"]
    assert found["candidates"][0]["id"] == found["recommendation"]["id"] == "ort@local-1"
    assert found["recommendation"]["basis"] == "measured"
    assert found["scaling"] == measured["scaling"]


def test_a_projection_that_wins_by_more_than_its_interval_says_what_it_is(measured: dict[str, Any]) -> None:
    found = projected(measured, "ml.c6i.2xlarge", usd_per_hour=0.001)
    assert found["recommendation"]["id"] == "ort@ml.c6i.2xlarge"
    assert found["recommendation"]["basis"] == "projected"
    assert found["recommendation"]["why"].startswith("projected, not measured")
    assert "the best that was measured is ort@local-1" in found["recommendation"]["why"]
    assert found["scaling"]["target_value"] is None  # nobody saw such an instance start


def test_refusals_are_rows_with_their_reason(measured: dict[str, Any]) -> None:
    rows = by_id(projected(measured, "ml.t2.medium", "inf1.xlarge"))
    assert (rows["ort@ml.t2.medium"]["status"], "burstable" in rows["ort@ml.t2.medium"]["reason"]) == ("skipped", True)
    assert "Inferentia" in rows["ort@inf1.xlarge"]["reason"]
    unknown = by_id(projected(measured, "c6i.large", here="the clock of this machine is not known"))
    assert unknown["ort@c6i.large"]["reason"] == "the clock of this machine is not known"
    small = by_id(projected(measured, "c6i.large", memory_gib=0.1))
    assert "MB" in small["ort@c6i.large"]["reason"]


def test_an_instance_without_a_price_cannot_be_ranked_by_cost(measured: dict[str, Any]) -> None:
    row = by_id(projected(measured, "raspberry-pi-4b"))["ort@raspberry-pi-4b"]
    if row["capacity_per_s"]["value"]:
        assert (row["status"], row["rank"]) == ("rejected", None)
        assert "no price" in row["reason"]
    else:
        assert "does not keep the SLO" in row["reason"]


def test_an_accelerator_hangs_on_published_results(measured: dict[str, Any]) -> None:
    row = by_id(projected(measured, "ml.g4dn.xlarge"))["tensorrt@ml.g4dn.xlarge"]
    assert (row["backend"], row["precision"], row["basis"]) == ("tensorrt", "fp16", "projected")
    assert row["projection"]["class"] == "gpu, same model"
    assert row["projection"]["anchor"]["kind"] == "published"
    assert "resnet50" in row["projection"]["anchor"]["text"]
    assert row["projection"]["anchor"]["source"]
    # Published: 332 a second on a T4 one at a time.
    assert row["service_ms"]["p50"]["value"] == pytest.approx(1e3 / 332, rel=0.05)
    other = by_id(
        projected(measured, "ml.g5.xlarge", work=replace(RESNET, layers=(Layer(flops=1e9, weights=4e6, activations=1e7),)))
    )
    assert other["tensorrt@ml.g5.xlarge"]["projection"]["class"] == "gpu, nearest model"


def test_projecting_again_replaces_what_was_projected(measured: dict[str, Any]) -> None:
    first = projected(measured, "ml.c6i.2xlarge")
    second = projected(first, "ml.c7g.large")
    assert "ort@ml.c6i.2xlarge" not in by_id(second)
    assert by_id(second)["ort@ml.c7g.large"]["projection"]["class"] == "cpu, fp32, other instruction set"
    assert projected(second, "ml.c6i.2xlarge")["candidates"] == first["candidates"]


def test_a_bench_that_ranked_nothing_projects_nothing(tmp_path: Path) -> None:
    none = run(
        FakeWorld(servers={"ort": constant(40.0)}), tmp_path / "r", replace(REQUEST, backends=("ort",)), slo.parse("p99<1ms")
    )[1]
    found = projected(none, "ml.c6i.2xlarge")
    assert len(found["candidates"]) == 1
    assert found["recommendation"] is None


def test_rows_are_of_the_catalogue() -> None:
    assert isinstance(find("ml.c6i.2xlarge", ROWS), CatalogueRow)
