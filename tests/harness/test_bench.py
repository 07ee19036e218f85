"""The whole pipeline on fakes: what is decided, what is stored, and what a stopped bench does when it goes on."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from harness import lanes, slo
from harness.bench import Bench, Outcome
from harness.candidates import enumerate_candidates, remote_candidates
from harness.decision.decide import again
from harness.depth import DEPTHS
from harness.nouns import SLO, Failure, InstanceType, Skipped
from harness.progress import Display
from harness.request import BenchRequest, Remote
from harness.result import RunFacts, assemble
from harness.store import Store
from tests.harness.fakes import FakeServer, FakeWorld, constant, fake_model

INSTANCE = InstanceType(
    name="local-1",
    vcpus=1,
    memory_bytes=1 << 33,
    usd_per_hour=0.036,
    price_basis="given",
    price_source="a test",
    price_date="",
)
REQUEST = BenchRequest(
    model="fake", backends=("ort", "torch", "tvm"), instances=("local-1",), profile="quick", objective="cost", seed=7
)


def run(
    world: FakeWorld,
    folder: Path,
    request: BenchRequest = REQUEST,
    limit: SLO | None = None,
    remotes: Sequence[tuple[Remote, InstanceType]] = (),
) -> tuple[Outcome, dict[str, Any]]:
    model = fake_model(folder.parent / "model")
    candidates = enumerate_candidates(model.spec, request.backends, [INSTANCE]) + remote_candidates(model.spec, remotes, [])
    plan = lanes.plan_lanes([(0,), (1,)], 1, None)
    store = Store(folder)
    try:
        with Display(Console(file=io.StringIO())) as display:
            outcome = Bench(
                request,
                model,
                candidates,
                DEPTHS[request.profile],
                limit,
                plan,
                store,
                world.workbench(),
                display,
                lambda: False,
            ).run()
    finally:
        store.close()
    facts = RunFacts(
        run_id="r",
        created_utc="2026-01-01T00:00:00+00:00",
        duration_s=1.0,
        request=request,
        model=model.spec,
        notes=(),
        environment={"cpu_model": "test"},
        lane_plan=plan,
        outcome=outcome,
    )
    result = assemble(facts, candidates)
    json.dumps(result, allow_nan=False)
    return outcome, result


def rows(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["backend"]: row for row in result["candidates"]}


def test_ranks_by_cost_and_says_why_the_others_lost(tmp_path: Path) -> None:
    world = FakeWorld(servers={"ort": constant(10.0), "torch": constant(20.0), "tvm": constant(300.0)})
    outcome, result = run(world, tmp_path / "run", replace(REQUEST, profile="full"))
    by = rows(result)
    assert outcome.complete
    assert result["recommendation"]["id"] == "ort@local-1"
    assert result["recommendation"]["probability_best"] > 0.95
    assert result["slo"]["text"] == "p99<51ms" or result["slo"]["limit_ms"] == pytest.approx(50, rel=0.05)
    assert by["ort"]["rank"] == 1
    assert by["torch"]["rank"] == 2
    assert "x" in by["torch"]["reason"]
    assert by["tvm"]["status"] == "rejected"
    assert "single user" in by["tvm"]["reason"]


def test_capacity_and_cost_are_those_of_the_queue(tmp_path: Path) -> None:
    world = FakeWorld(servers={"ort": constant(10.0), "torch": constant(20.0), "tvm": constant(20.1)})
    _, result = run(world, tmp_path / "run", limit=slo.parse("p99<50ms"))
    row = rows(result)["ort"]
    analytic = slo.md1_utilisation(0.99, 5.0) * 100  # an M/D/1 queue of 10 ms services
    assert row["capacity_per_s"]["low"] <= analytic <= row["capacity_per_s"]["high"]
    assert row["capacity_per_s"]["value"] == pytest.approx(analytic, rel=0.15)
    expected = 0.036 / (row["capacity_per_s"]["value"] * 3600) * 1e6
    assert row["usd_per_million"]["value"] == pytest.approx(expected)
    assert row["usd_per_million_at_target"]["value"] > row["usd_per_million"]["value"]
    assert result["scaling"]["target_value"] < row["capacity_per_s"]["value"] * 60
    assert row["service_ms"]["p50"]["value"] == pytest.approx(10.0, rel=0.02)
    assert row["latency_ms"]["p99"]["n"] >= 1000


def test_the_decision_follows_from_the_rows_and_names_what_would_change_it(tmp_path: Path) -> None:
    world = FakeWorld(servers={"ort": constant(10.0), "torch": constant(14.0), "tvm": constant(300.0)})
    _, result = run(world, tmp_path / "run", replace(REQUEST, demand_per_s=400.0), slo.parse("p99<100ms"))
    found, curves = result["decision"], rows(result)["ort"]["predicted"]
    assert found["pareto"]["front"] == ["ort@local-1"]
    assert [each["id"] for each in found["dominated_by"]["torch@local-1"]] == ["ort@local-1"]
    assert [each["id"] for each in found["fleets"]] == ["ort@local-1", "torch@local-1"]
    assert found["fleets"][0]["instances"] in (5, 6)
    assert {each["what"]: each["verdict"] for each in found["changes"]} == {"price": "never", "load": "never", "slo": "stays"}
    # The curve passes through the capacity itself, and a tenth of the load leaves hardly a queue.
    assert np.interp(1.0, curves["slo_factor"], curves["capacity_per_s"]) == pytest.approx(
        rows(result)["ort"]["capacity_per_s"]["value"]
    )
    assert curves["latency_ms"]["p50"][0] == pytest.approx(10.0, rel=0.05)
    assert json.loads(json.dumps(found, allow_nan=False)) == again(result, 400.0)


def test_a_model_too_slow_for_a_median_in_the_probe_still_gets_an_slo(tmp_path: Path) -> None:
    servers = {"ort": constant(180.0), "torch": constant(260.0), "tvm": constant(400.0)}
    _, result = run(FakeWorld(servers=servers), tmp_path / "run", replace(REQUEST, profile="smoke"))
    assert result["slo"] is not None
    assert rows(result)["ort"]["status"] == "ranked"


def test_near_equals_tie(tmp_path: Path) -> None:
    world = FakeWorld(servers={"ort": constant(10.0), "torch": constant(10.05), "tvm": constant(300.0)})
    _, result = run(world, tmp_path / "run")
    by = rows(result)
    assert by["ort"]["tie_group"] == by["torch"]["tie_group"] == 1
    assert 0.2 < by["ort"]["probability_best"] < 0.8


def test_failures_and_skips_are_rows(tmp_path: Path) -> None:
    world = FakeWorld(
        servers={
            "ort": constant(10.0),
            "torch": Skipped(reason="no program"),
            "tvm": Failure(stage="compile", reason="unsupported operator Foo"),
        }
    )
    _, result = run(world, tmp_path / "run")
    by = rows(result)
    assert (by["torch"]["status"], by["torch"]["reason"]) == ("skipped", "no program")
    assert (by["tvm"]["status"], by["tvm"]["stage"]) == ("failed", "compile")
    assert by["ort"]["status"] == "ranked"


def test_a_server_that_dies_is_a_failed_row_and_the_others_go_on(tmp_path: Path) -> None:
    dying = replace(constant(10.0), dies_after_runs=6)
    _, result = run(FakeWorld(servers={"ort": dying, "torch": constant(20.0), "tvm": constant(21.0)}), tmp_path / "run")
    by = rows(result)
    assert by["ort"]["status"] == "failed"
    assert "SIGSEGV" in by["ort"]["reason"]
    assert result["recommendation"]["id"] in ("torch@local-1", "tvm@local-1")


def test_errors_reject_however_fast_they_are(tmp_path: Path) -> None:
    failing = FakeServer(service_ms=lambda rng, n: np.full(n, 1.0), fail_share=0.05)
    _, result = run(FakeWorld(servers={"ort": failing, "torch": constant(20.0), "tvm": constant(30.0)}), tmp_path / "run")
    by = rows(result)
    assert by["ort"]["status"] == "rejected"
    assert result["recommendation"]["id"] == "torch@local-1"


def test_an_slo_nobody_can_meet_is_a_result_with_the_distance(tmp_path: Path) -> None:
    world = FakeWorld(servers={"ort": constant(10.0), "torch": constant(20.0), "tvm": constant(30.0)})
    _, result = run(world, tmp_path / "run", limit=slo.parse("p99<1ms"))
    assert result["recommendation"] is None
    assert {row["status"] for row in result["candidates"]} == {"rejected"}
    assert "ort@local-1" in result["recommendation_reason"]
    assert "10 times" in result["recommendation_reason"]
    assert result["scaling"] is None


@pytest.mark.parametrize("stop_after", [0, 3, 11, 17, 23, 31])
def test_a_stopped_bench_resumes_and_repeats_only_what_was_not_final(tmp_path: Path, stop_after: int) -> None:
    servers = {"ort": constant(10.0), "torch": constant(20.0), "tvm": constant(300.0)}
    stopped = FakeWorld(servers=servers, interrupt_after=stop_after)
    outcome, partial = run(stopped, tmp_path / "run")
    assert not outcome.complete
    assert partial["run"]["state"] == "partial"
    store = Store(tmp_path / "run")
    final = {visit["id"] for visit in store.visits()}
    store.close()
    again = FakeWorld(servers={name: constant(ms) for name, ms in (("ort", 10.0), ("torch", 20.0), ("tvm", 300.0))})
    outcome, result = run(again, tmp_path / "run")
    assert outcome.complete
    assert not final & set(again.visits)
    assert result["recommendation"]["id"] == "ort@local-1"
    assert len(again.stopped) == len(again.visits)


def test_every_server_that_was_started_is_stopped(tmp_path: Path) -> None:
    world = FakeWorld(servers={"ort": constant(10.0), "torch": constant(20.0), "tvm": constant(30.0)}, interrupt_after=14)
    run(world, tmp_path / "run")
    assert len(world.stopped) == len(world.visits)


def test_the_experiment_is_interleaved_and_seeded(tmp_path: Path) -> None:
    servers = {"ort": constant(10.0), "torch": constant(10.05), "tvm": constant(10.1)}
    first, second = FakeWorld(servers=servers), FakeWorld(servers=servers)
    run(first, tmp_path / "a")
    run(second, tmp_path / "b")
    assert first.visits == second.visits
    purposes = [visit.rsplit("-", 1)[1] for visit in first.visits]
    assert purposes[:9] == ["screen"] * 3 + ["search"] * 6
    assert set(purposes[9:]) == {"final"}


def test_time_goes_to_those_who_can_still_win(tmp_path: Path) -> None:
    world = FakeWorld(servers={"ort": constant(10.0), "torch": constant(10.1), "tvm": constant(25.0)})
    _, result = run(world, tmp_path / "run", limit=slo.parse("p99<100ms"))
    visits = {name: [visit for visit in world.visits if f"-{name}@" in visit] for name in ("ort", "torch", "tvm")}
    assert sum("search" in visit for visit in visits["ort"]) == sum("search" in visit for visit in visits["torch"]) == 2
    assert sum("search" in visit for visit in visits["tvm"]) == 1
    assert sum("final" in visit for visit in visits["ort"]) == 2
    assert rows(result)["tvm"]["status"] == "ranked"
    assert rows(result)["tvm"]["tie_group"] > 1
    assert [step["kind"] for step in rows(result)["ort"]["steps"]].count("confirm") == 2


def test_a_full_bench_carries_a_hidden_twin_and_prints_what_it_could_see(tmp_path: Path) -> None:
    world = FakeWorld(servers={"ort": constant(10.0), "torch": constant(14.0), "tvm": constant(25.0)})
    request = replace(REQUEST, profile="full", backends=("ort", "torch"))
    _, result = run(world, tmp_path / "run", request)
    assert [row["backend"] for row in result["candidates"]] == ["ort", "torch"]
    assert any("~twin" in visit for visit in world.visits)
    twin = result["twin"]
    assert twin["candidate"] == "ort@local-1"
    assert not twin["separated"]
    assert 0.02 <= twin["smallest_difference"] < 0.2
    starts = [visit for visit in world.visits if "-ort@local-1-" in visit]
    assert len(starts) >= 5
    assert rows(result)["torch"]["tie_group"] == 2


def test_a_bench_that_may_repeat_nothing_more_lets_invalid_runs_stand(tmp_path: Path) -> None:
    world = FakeWorld(servers={"ort": constant(10.0), "torch": constant(20.0), "tvm": constant(30.0)}, steal_share=0.5)
    _, result = run(world, tmp_path / "run")
    assert {row["status"] for row in result["candidates"]} == {"invalid"}
    assert "steal" in rows(result)["ort"]["reason"]
    depth = DEPTHS["quick"]
    assert world.generator_runs <= 3 * (3 + depth.warmup_max_s / depth.warmup_window_s)
