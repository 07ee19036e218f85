"""The timeline of a bench: everything on one axis, long pauses and reboots taken out, seconds thinned to their worst."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import chronicle, observe
from harness.endpoint import ColdStart
from harness.records import VisitRecord
from harness.timeline import Timeline
from tests.harness.fakes import FakeWorld, constant
from tests.harness.test_bench import REQUEST, run


def visit(begin_s: float, name: str = "a") -> VisitRecord:
    return VisitRecord(
        id=f"{name}-{begin_s}",
        block=0,
        ordinal=0,
        candidate=name,
        purpose="screen",
        cold=ColdStart(start_s=2.0, load_s=1.0, first_inference_ms=50.0),
        warmup_s=5.0,
        steadiness=None,
        runs=(),
        failure=None,
        warmup_start_ns=round(begin_s * 1e9),
        warmup_window_ms=(12.34567, None),
    )


def test_a_bench_leaves_every_visit_with_its_warm_up_and_runs(tmp_path: Path) -> None:
    world = FakeWorld({"ort": constant(20), "torch": constant(40), "tvm": constant(60)})
    outcome, result = run(world, tmp_path / "run", replace(REQUEST, profile="smoke"))
    found = result["timeline"]
    assert [each["candidate"] for each in found["visits"]] == [each.candidate for each in outcome.findings.visits]
    assert {run["kind"] for each in found["visits"] for run in each["runs"]} >= {"closed", "search", "reference"}
    for each in found["visits"]:
        assert each["warm_up"]["window_ms"]
        begins = [each["warm_up"]["begin_s"], *(run["begin_s"] for run in each["runs"])]
        assert begins == sorted(begins)
        assert begins[0] >= 0
    assert found["limits"]["steal"] == 0.15


def test_pauses_and_reboots_are_taken_out() -> None:
    visits = [visit(100.0), visit(110.0), visit(5000.0), visit(3.0)]
    begins = [each.warmup_start_ns - shift for each, shift in chronicle._placed(visits) if each.warmup_start_ns is not None]
    # The first begins after its own start of 2 s; what comes after a gap begins 30 s after the end before, and its own start.
    assert [begin / 1e9 for begin in begins] == [2.0, 12.0, 17.0 + 30 + 2, 54.0 + 30 + 2]


def test_a_visit_that_never_began_keeps_its_place() -> None:
    failed = replace(visit(0.0, "b"), cold=None, warmup_start_ns=None, warmup_window_ms=())
    placed = list(chronicle._placed([failed, visit(100.0)]))
    assert placed[0][1] == 0
    assert chronicle._visit(failed, [], 0)["warm_up"] is None


def test_seconds_keep_the_worst_of_what_shares_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = tuple(round(at * 1e9) for at in range(4001))
    steal = tuple(0.5 if at == 1234 else 0.001 for at in range(4000))
    seen: Any = SimpleNamespace(record=None)
    monkeypatch.setattr(observe, "timelines", lambda *_: (Timeline(edges_ns=edges, values={"steal": steal}),))
    findings: Any = SimpleNamespace(samples=lambda _: None)
    columns = chronicle._columns(chronicle._thinned(list(chronicle._seconds(findings, seen, 0))))
    assert len(columns["at_s"]) <= chronicle.SECONDS
    assert columns["steal"].count(0.5) == 1
    assert columns["at_s"][columns["steal"].index(0.5)] == 1233.0
