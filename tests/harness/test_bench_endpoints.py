"""Endpoints that somebody else serves, ranked beside what is served here: the pipeline on fakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import slo
from harness.candidates import remote_candidates
from harness.errors import UsageError
from harness.nouns import Failure, InstanceType
from harness.request import Remote
from tests.harness.fakes import FakeWorld, constant, fake_model
from tests.harness.test_bench import INSTANCE, REQUEST, run

AT = Remote(name="prod", url="http://127.0.0.1:9/v2/models/m", instance="c7i.large")
ON = replace(INSTANCE, name="c7i.large", usd_per_hour=0.018)


def result(tmp_path: Path, prod: Any, *, here: bool = True) -> dict[str, Any]:
    backends = ("ort", "torch") if here else ()
    world = FakeWorld(servers={"ort": constant(10.0), "torch": constant(30.0), "prod": prod})
    request = replace(REQUEST, backends=backends, endpoints=(AT,))
    outcome, found = run(world, tmp_path / "run", request, slo.parse("p99<100ms"), remotes=((AT, ON),))
    assert outcome.complete
    return found


def test_an_endpoint_is_a_measured_candidate_beside_the_local_ones(tmp_path: Path) -> None:
    found = result(tmp_path, constant(10.0))
    assert found["recommendation"]["id"] == "prod@c7i.large"
    row = next(row for row in found["candidates"] if row["id"] == "prod@c7i.large")
    assert (row["basis"], row["status"], row["rank"], row["instance"]) == ("measured", "ranked", 1, "c7i.large")
    assert row["endpoint"] == {"name": "prod", "url": AT.url, "protocol": "a fake's"}
    assert row["parity"]["payloads"] == 32
    assert row["usd_per_hour"] == 0.018
    assert row["capacity_per_s"]["value"] == pytest.approx(
        next(r for r in found["candidates"] if r["backend"] == "ort")["capacity_per_s"]["value"], rel=0.1
    )
    for key in ("start_s", "load_s", "first_inference_ms", "compile_s", "artifact_bytes", "threads", "workers"):
        assert row[key] is None
        assert "somebody else serves" in row["unmeasured"][key]
    # How long an instance takes to arrive was not seen, and nothing is suggested on a guess.
    assert found["scaling"]["target_value"] is None


def test_only_endpoints_can_be_compared(tmp_path: Path) -> None:
    found = result(tmp_path, constant(10.0), here=False)
    assert [row["id"] for row in found["candidates"]] == ["prod@c7i.large"]
    assert found["candidates"][0]["status"] == "ranked"


def test_an_endpoint_that_is_not_there_or_wrong_is_a_failed_row(tmp_path: Path) -> None:
    found = result(tmp_path, Failure(stage="parity", reason="does not answer like the model"))
    row = next(row for row in found["candidates"] if row["id"] == "prod@c7i.large")
    assert (row["status"], row["stage"], row["reason"]) == ("failed", "parity", "does not answer like the model")
    assert found["recommendation"]["id"] == "ort@local-1"


def test_an_endpoint_that_goes_away_fails_and_the_others_go_on(tmp_path: Path) -> None:
    found = result(tmp_path, replace(constant(10.0), dies_after_runs=6))
    row = next(row for row in found["candidates"] if row["id"] == "prod@c7i.large")
    assert row["status"] == "failed"
    assert found["recommendation"]["id"] == "ort@local-1"


def test_an_id_is_given_once(tmp_path: Path) -> None:
    spec = fake_model(tmp_path / "model").spec
    with pytest.raises(UsageError, match="another name"):
        remote_candidates(spec, [(replace(AT, name="ort"), named("local-1"))], ["ort@local-1"])


def named(name: str) -> InstanceType:
    return replace(INSTANCE, name=name)
