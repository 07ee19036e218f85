"""What a tool left behind is read as it was meant; what it did not leave is a reason, and no process stays."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from harness.truth.log import RECORD
from loadprofiles import samples
from tests.perf.peers import accuracy, capacity, installed, own_client, own_search, tools
from tests.perf.peers.machine import Cores, bounded
from tests.perf.peers.task import Said, Task
from tests.perf.peers.tools import Command, Tool

TASK = Task(
    host="127.0.0.1",
    port=1,
    path="/infer",
    headers={},
    body="",
    rate_per_s=100.0,
    duration_s=1.0,
    arrivals="constant",
    users=10,
)
CPU = min(os.sched_getaffinity(0))
CORES = Cores(server=CPU, client=CPU)

LOADGEN_SUMMARY = """Result is : INVALID
  Early stopping satisfied: NO
50.00 percentile latency (ns)   : 13617135
90.00 percentile latency (ns)   : 23271310
95.00 percentile latency (ns)   : 42747549
99.00 percentile latency (ns)   : 87298043
99.90 percentile latency (ns)   : 106750872
"""


def program(text: str) -> Callable[[Task, str, Path], Command]:
    return lambda task, python, folder: Command(argv=[sys.executable, "-c", text], env={})


def test_loadgen_is_read_from_its_summary(tmp_path: Path) -> None:
    (tmp_path / "mlperf_log_summary.txt").write_text(LOADGEN_SUMMARY)
    (tmp_path / "said.json").write_text('{"requests": 392, "failures": 1}')
    said = tools.read_loadgen(tmp_path)
    assert said == Said(latency_ms={"p50": 13.617135, "p95": 42.747549, "p99": 87.298043}, requests=392, failures=1)


def test_loadgens_peak_comes_with_its_verdict(tmp_path: Path) -> None:
    (tmp_path / "mlperf_log_summary.txt").write_text(LOADGEN_SUMMARY)
    line = ':::MLLOG {"key": "generic_message", "value": "FindPeakPerformance: Found peak performance field: 8.625000"}'
    (tmp_path / "mlperf_log_detail.txt").write_text(line)
    assert capacity.read_peak(tmp_path) == (8.625, "its own verdict: INVALID, early stopping satisfied: no")


def test_a_peak_that_was_not_found_is_none_with_loadgens_reason(tmp_path: Path) -> None:
    line = ':::MLLOG {"key": "error_runtime", "value": "Initial lower bound does not satisfy", "time_ms": 1}'
    (tmp_path / "mlperf_log_detail.txt").write_text(line)
    assert capacity.read_peak(tmp_path) == (None, "Initial lower bound does not satisfy")


def test_aiperf_counts_its_failures_apart(tmp_path: Path) -> None:
    latency = {"unit": "ms", "p50": 10.6, "p95": 10.9, "p99": 11.1}
    export = {"request_latency": latency, "request_count": {"avg": 397.0}, "error_request_count": {"avg": 3.0}}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "profile_export_aiperf.json").write_text(json.dumps(export))
    said = tools.read_aiperf(tmp_path)
    assert said == Said(latency_ms={"p50": 10.6, "p95": 10.9, "p99": 11.1}, requests=400, failures=3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("raise SystemExit('it broke')", "exited with 1: it broke"), ("pass", "left no figures: FileNotFoundError")],
)
def test_a_tool_that_fails_is_a_row_with_the_reason(tmp_path: Path, text: str, problem: str) -> None:
    tool = Tool(name="x", peer=None, command=program(text), read=lambda folder: Said.from_mapping(_json(folder)))
    row = tools.measure(tool, TASK, "", CORES, tmp_path)
    assert row.said is None
    assert row.problem is not None
    assert row.problem.startswith(problem)


def test_a_late_program_is_ended_with_a_child_that_left_its_group(tmp_path: Path) -> None:
    text = (
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    ended = bounded([sys.executable, "-c", text], log=tmp_path / "log", timeout_s=2.0, cpu=CPU)
    assert ended.problem == "not done after 2 s"
    left = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE


def test_cpu_is_of_a_program_and_its_children(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.4: pass"
    text = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}], check=True)"
    ended = bounded([sys.executable, "-c", text], log=tmp_path / "log", timeout_s=30.0, cpu=CPU)
    assert ended.problem is None
    assert 0.4 <= ended.cpu_s <= ended.wall_s + 0.1


def test_the_cpu_window_lies_within_the_load() -> None:
    arrivals = np.arange(10, 20) * 10**9
    trace = [
        (5 * 10**9, 10**9),
        (12 * 10**9, 3 * 10**9),
        (14 * 10**9, 3_100_000_000),
        (17 * 10**9, 3_500_000_000),
        (30 * 10**9, 9 * 10**9),
    ]
    assert accuracy.cpu_window(trace, arrivals) == (5, 0.5)
    assert accuracy.cpu_window(trace[:2], arrivals) is None
    assert accuracy.cpu_window([(12 * 10**9, 5), (14 * 10**9, 3)], arrivals) is None
    assert accuracy.cpu_window(trace, arrivals[:0]) is None


def test_cpu_of_a_request_is_over_all_runs_that_have_it() -> None:
    known = {"window_requests": 100, "window_cpu_s": 0.1, "cpu_s": 2.0}
    absent = {"window_requests": None, "window_cpu_s": None, "cpu_s": None}
    rows: list[dict[str, Any]] = [
        {"tool": "a", **known},
        {"tool": "a", **known, "window_cpu_s": 0.3},
        {"tool": "a", **absent},
        {"tool": "b", **absent},
    ]
    found = accuracy.cpu(rows)
    assert found["a"] == {"per_request_ms": pytest.approx(2.0), "runs_s": 4.0}
    assert found["b"] == {"per_request_ms": None, "runs_s": None}


def test_the_truth_is_what_an_open_loop_meets() -> None:
    assert accuracy.truth_ms("constant:1ms;stall=1s/10s") == pytest.approx({"p50": 1.0, "p95": 501.0, "p99": 901.0})
    assert accuracy.truth_ms("bimodal:4ms,50ms,p=0.02") == pytest.approx({"p50": 4.0, "p95": 4.0, "p99": 50.0})
    for law in ("constant:1ms;servers=1", "exponential:1ms;stall=1s/10s", "constant:1ms;errors=0.1:503"):
        with pytest.raises(ValueError, match="closed form"):
            accuracy.truth_ms(law)
    for scenario in (*accuracy.SCENARIOS, *accuracy.SHORT):
        accuracy.truth_ms(scenario.law)


def test_served_percentiles_leave_out_what_was_never_answered() -> None:
    records = np.zeros(101, RECORD)
    records["arrival_ns"] = np.arange(101)
    records["answered_ns"] = records["arrival_ns"] + np.arange(101) * 10**6
    records["answered_ns"][100] = -1
    found, count = accuracy.served_ms(records)
    assert count == 100
    assert found == {"p50": 49.0, "p95": 94.0, "p99": 98.0}


def test_the_capacity_asked_for_is_the_arithmetics() -> None:
    assert capacity.analytic_per_s() == pytest.approx(6.9, abs=0.1)


def test_a_task_survives_its_file(tmp_path: Path) -> None:
    search = capacity.Search(load=replace(TASK, seed=3), slo="p99<1ms", seed=3, probe_s=1.0, steps=2, step_s=3.0)
    search.write(tmp_path / "search.json")
    assert capacity.Search.read(tmp_path / "search.json") == search
    TASK.write(tmp_path / "task.json")
    assert Task.read(tmp_path / "task.json") == TASK


def test_a_run_is_seen_as_the_capacity_wants_it() -> None:
    found = np.zeros(3, samples.RECORD)
    found["due_ns"] = [1_000_000, 2_000_000, 3_000_000]
    found["done_ns"] = [5_000_000, 9_000_000, samples.ABSENT_NS]
    found["outcome"] = [samples.SUCCEEDED, samples.FAILED, samples.UNDRAINED]
    run = own_search.open_run(found, 7.0, 12.0)
    assert run.latency_ms.tolist() == [4.0, np.inf, np.inf]
    assert (run.rate_per_s, run.duration_s) == (7.0, 12.0)


def test_our_own_row_counts_failures_as_infinitely_slow() -> None:
    found = np.zeros(100, samples.RECORD)
    found["done_ns"] = np.arange(1, 101) * 10**6
    found["outcome"][50:] = samples.FAILED
    said = own_client.said(found)
    assert (said.requests, said.failures) == (100, 50)
    assert said.latency_ms["p50"] == 50.0
    assert said.latency_ms["p95"] is None
    assert said.note is not None


def test_every_peer_has_an_exact_version() -> None:
    pins = installed.requirements()
    assert set(pins) == {tool.peer for tool in tools.TOOLS if tool.peer}
    assert all(re.fullmatch(rf"{name}==\d+(\.\d+)+", line) for name, line in pins.items())


def test_a_peer_that_cannot_be_installed_is_a_row_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peers = tuple(tool for tool in tools.TOOLS if tool.peer)
    monkeypatch.setattr(accuracy, "TOOLS", peers)
    why = {tool.peer: "no such version" for tool in peers if tool.peer}
    rows = accuracy.compare(accuracy.SHORT, why, "", CORES, tmp_path)
    assert len(rows) == len(peers) * len(accuracy.SHORT)
    assert all(row["said"] is None and row["problem"] == "no such version" and row["served_ms"] is None for row in rows)
    assert all(figure is None for each in accuracy.cpu(rows).values() for figure in each.values())


@pytest.mark.slow
def test_our_own_row_is_measured_on_a_live_truth_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "TOOLS", tuple(tool for tool in tools.TOOLS if tool.name == tools.OWN))
    scenario = accuracy.Scenario(name="s", law="constant:10ms", duration_s=8.0)
    (row,) = accuracy.compare([scenario], {}, "", Cores.here(), tmp_path)
    assert row["problem"] is None
    assert row["said"]["requests"] == row["served_requests"] == 800
    assert row["said"]["latency_ms"]["p50"] >= row["truth_ms"]["p50"]
    assert row["window_requests"] > 100
    assert 0 < row["window_cpu_s"] < row["cpu_s"]


def _json(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "said.json").read_text())
    return found
