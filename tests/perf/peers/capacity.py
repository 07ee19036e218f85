"""The highest rate under an SLO, found by LoadGen's peak search and by Loadstone's, beside what the queue's arithmetic says."""

from __future__ import annotations

import contextlib
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from harness import slo as slos
from harness.supervise import Child
from harness.truth import spec
from harness.truth.queueing import capacity_per_s
from tests.perf.peers.accuracy import BODY, PATH
from tests.perf.peers.machine import ROOT, Cores, bounded, end, truth_server
from tests.perf.peers.task import Task
from tests.perf.peers.tools import HERE, OWN, START_S

LAW = "constant:37ms; servers=1"
SLO_TEXT = "p99<100ms"
LOADGEN = "MLPerf LoadGen"
LOADGEN_START_PER_S = 2.0
"""Where LoadGen's search begins. A first step that misses the SLO ends it: with 100 queries at this rate, 4 of 100 searches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Our search on one endpoint: `load` says where; its own rate and duration do not count."""

    load: Task
    slo: str
    seed: int
    probe_s: float
    steps: int
    step_s: float

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Self:
        data = json.loads(path.read_text())
        return cls(**{**data, "load": Task(**data["load"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What each search may spend, and over which seeds it is repeated."""

    own_seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    probe_s: float = 5.0
    steps: int = 4
    step_s: float = 12.0
    loadgen_seeds: tuple[int, ...] = (0, 1, 2)
    loadgen_queries: int = 100
    """Of each of its steps, at least."""
    loadgen_timeout_s: float = 300.0


SHORT = Budget(own_seeds=(0,), probe_s=1.0, steps=2, step_s=3.0, loadgen_seeds=(0,), loadgen_timeout_s=8.0)


def analytic_per_s() -> float:
    """The capacity of the law's queue under the SLO."""
    truth, limit = spec.parse(LAW), slos.parse(SLO_TEXT).tail
    return capacity_per_s(truth.law, truth.servers, limit.quantile, limit.limit_ms / 1e3)


def compare(budget: Budget, unusable: Mapping[str, str | None], python: str, cores: Cores, folder: Path) -> dict[str, Any]:
    """A row for every search. Ours run one after another; LoadGen's, which are nearly idle, at the same time, each on a truth
    server of its own."""
    body = folder / "body.json"
    folder.mkdir(parents=True)
    body.write_bytes(BODY)
    task = Task(
        host="127.0.0.1",
        port=0,
        path=PATH,
        headers={"Content-Type": "application/json"},
        body=str(body),
        rate_per_s=LOADGEN_START_PER_S,
        duration_s=1.0,
        arrivals="poisson",
        users=1,
    )
    rows = [_own(replace(task, seed=seed), budget, cores, folder / f"own-{seed}") for seed in budget.own_seeds]
    why = unusable.get("mlcommons-loadgen")
    if why is None:
        rows += _loadgen(task, budget, python, cores, folder)
    else:
        rows.append(_row(LOADGEN, None, problem=why))
    truth = analytic_per_s()
    for row in rows:
        row["error"] = None if row["value"] is None else row["value"] / truth - 1
    return {"law": LAW, "slo": SLO_TEXT, "analytic_per_s": truth, "rows": rows}


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | int | None]]:
    """For each tool the median of the errors' sizes, the largest, and the spread: highest over lowest, less 1."""
    found: dict[str, dict[str, float | int | None]] = {}
    for name in dict.fromkeys(row["tool"] for row in rows):
        same = [row for row in rows if row["tool"] == name]
        values = [row["value"] for row in same if row["value"] is not None]
        errors = [abs(row["error"]) for row in same if row["error"] is not None]
        found[name] = {
            "searches": len(same),
            "found": len(values),
            "median_error": statistics.median(errors) if errors else None,
            "largest_error": max(errors, default=None),
            "spread": max(values) / min(values) - 1 if len(values) > 1 else None,
        }
    return found


def _row(tool: str, seed: int | None, **known: Any) -> dict[str, Any]:
    """A row with None for all that is not known."""
    empty = dict.fromkeys(("value", "low", "high", "wall_s", "requests", "problem", "note"))
    return {"tool": tool, "seed": seed, **empty, **known}


def _own(task: Task, budget: Budget, cores: Cores, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True)
    with truth_server(LAW, cores.server, folder) as port:
        search = Search(
            load=replace(task, port=port),
            slo=SLO_TEXT,
            seed=task.seed,
            probe_s=budget.probe_s,
            steps=budget.steps,
            step_s=budget.step_s,
        )
        search.write(folder / "task.json")
        argv = [sys.executable, "-m", "tests.perf.peers.own_search", str(folder / "task.json"), str(folder / "out.json")]
        timeout_s = 2 * (budget.probe_s + budget.steps * budget.step_s) + START_S
        ended = bounded(argv, log=folder / "log.txt", timeout_s=timeout_s, cpu=cores.client)
    if ended.problem is not None:
        return _row(OWN, task.seed, problem=ended.problem, wall_s=ended.wall_s)
    found = json.loads((folder / "out.json").read_text())
    known = {key: found[key] for key in ("value", "low", "high", "requests")}
    return _row(OWN, task.seed, **known, wall_s=ended.wall_s, note=found["note"], finding=found["finding"])


def _loadgen(task: Task, budget: Budget, python: str, cores: Cores, folder: Path) -> list[dict[str, Any]]:
    limit = slos.parse(SLO_TEXT).tail
    running: dict[int, tuple[Child, Path]] = {}
    ended_s: dict[int, float] = {}
    with contextlib.ExitStack() as stack:
        for seed in budget.loadgen_seeds:
            own = folder / f"loadgen-{seed}"
            own.mkdir(parents=True)
            port = stack.enter_context(truth_server(LAW, cores.server, own))
            wanted: dict[str, float] = {"find_peak": True, "min_queries": budget.loadgen_queries}
            wanted |= {"limit_ms": limit.limit_ms, "quantile": limit.quantile}
            (own / "task.json").write_text(json.dumps({**asdict(replace(task, port=port, seed=seed)), **wanted}))
            argv = [python, str(HERE / "loadgen_client.py"), str(own / "task.json"), str(own / "said.json"), str(own)]
            child = Child(argv, log=own / "log.txt", cpus=[cores.client], cwd=ROOT)
            stack.callback(end, child)
            running[seed] = (child, own)
        start = time.monotonic()
        while len(ended_s) < len(running) and time.monotonic() - start < budget.loadgen_timeout_s:
            for seed, (child, _) in running.items():
                if seed not in ended_s:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.process.wait(0.2)
                        ended_s[seed] = time.monotonic() - start
        problems = {
            seed: f"not done after {budget.loadgen_timeout_s:.0f} s"
            if seed not in ended_s
            else (None if child.process.returncode == 0 else child.how_it_ended())
            for seed, (child, _) in running.items()
        }
    return [_peak(seed, problems[seed], ended_s.get(seed), own) for seed, (_, own) in running.items()]


def _peak(seed: int, problem: str | None, wall_s: float | None, folder: Path) -> dict[str, Any]:
    if problem is not None:
        return _row(LOADGEN, seed, problem=problem, wall_s=wall_s)
    value, note = read_peak(folder)
    requests = json.loads((folder / "said.json").read_text())["requests"]
    return _row(LOADGEN, seed, value=value, wall_s=wall_s, requests=requests, note=note)


def read_peak(folder: Path) -> tuple[float | None, str | None]:
    """The peak LoadGen found, None when it found none; with its own verdict, or its reason."""
    details = (folder / "mlperf_log_detail.txt").read_text()
    found = re.search(r"Found peak performance field: ([0-9.]+)", details)
    if found is None:
        said = re.search(r'"key": "error_runtime", "value": "([^"]*)"', details)
        return None, said[1] if said else "it states no peak"
    summary_text = (folder / "mlperf_log_summary.txt").read_text()
    verdict = re.search(r"^Result is : (\w+)", summary_text, re.MULTILINE)
    early = re.search(r"^\s*Early stopping satisfied: (\w+)", summary_text, re.MULTILINE)
    said_early = f", early stopping satisfied: {early[1].lower()}" if early else ""
    return float(found[1]), f"its own verdict: {verdict[1]}{said_early}" if verdict else None
