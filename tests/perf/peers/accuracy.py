"""What each tool reports of a server whose truth is known: error of the percentiles, stalls seen or hidden, CPU per request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.statistics import nearest_rank
from harness.truth import log as truth_log
from harness.truth import spec
from harness.truth.law import Constant
from harness.truth.queueing import stalled_quantile_s
from tests.perf.peers.machine import Cores, truth_server
from tests.perf.peers.task import QUANTILES, Task
from tests.perf.peers.tools import TOOLS, Row, Tool, measure

RATE_PER_S = 100.0
BODY = b'{"inputs":[{"name":"x","shape":[1,8],"datatype":"FP32","data":[0,0,0,0,0,0,0,0]}]}'
PATH = "/v2/models/truth/infer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One law, and how long every tool loads it at 100/s. A stall has to come a whole number of times."""

    name: str
    law: str
    duration_s: float


SCENARIOS = (
    Scenario(name="constant", law="constant:10ms", duration_s=10.0),
    # 2 % of slow answers rather than 1 %: with 1 % the p99 is at the jump itself, and either value is right.
    Scenario(name="bimodal", law="bimodal:4ms,50ms,p=0.02", duration_s=10.0),
    Scenario(name="stall", law="constant:1ms;stall=1s/10s", duration_s=20.0),
)
SHORT = (
    Scenario(name="constant", law="constant:10ms", duration_s=3.0),
    Scenario(name="bimodal", law="bimodal:4ms,50ms,p=0.02", duration_s=3.0),
    Scenario(name="stall", law="constant:1ms;stall=0.4s/4s", duration_s=4.0),
)


def truth_ms(law: str) -> dict[str, float]:
    """The percentiles (ms) of an open loop: of the law, or of a constant service with stalls that arrivals meet evenly.

    Raises ValueError for a law that has no such closed form here.
    """
    truth = spec.parse(law)
    if truth.servers is not None or truth.shares:
        raise ValueError(f"no closed form here for {law}")
    if truth.stall is None:
        values = truth.law.quantiles_s(np.array(list(QUANTILES.values())))
        return {name: 1e3 * float(value) for name, value in zip(QUANTILES, values, strict=True)}
    if not isinstance(truth.law, Constant):
        raise ValueError(f"stalls have a closed form for a constant service only, not for {law}")
    return {name: 1e3 * stalled_quantile_s(truth.law.value_s, truth.stall, share) for name, share in QUANTILES.items()}


def served_ms(records: NDArray[Any]) -> tuple[dict[str, float | None], int]:
    """Percentiles (ms, nearest rank) from arrival to answer of the requests that reached the server, and their number."""
    answered = records[records["answered_ns"] != truth_log.ABSENT_NS]
    times = np.sort(answered["answered_ns"] - answered["arrival_ns"]) / 1e6
    if not times.size:
        return dict.fromkeys(QUANTILES), 0
    return {name: float(times[nearest_rank(times.size, share) - 1]) for name, share in QUANTILES.items()}, int(times.size)


def cpu_window(trace: Sequence[tuple[int, int]], arrivals_ns: NDArray[np.int64]) -> tuple[int, float] | None:
    """Requests, and CPU seconds, between the first and the last reading of the CPU that lie within the load; None when fewer
    than two do, or threads ended between them. `arrivals_ns` is sorted, on the clock of the trace."""
    inside = [(at, used) for at, used in trace if arrivals_ns.size and arrivals_ns[0] <= at <= arrivals_ns[-1]]
    if len(inside) < 2 or inside[-1][1] <= inside[0][1]:
        return None
    first, last = np.searchsorted(arrivals_ns, [inside[0][0], inside[-1][0]])
    return (int(last - first), (inside[-1][1] - inside[0][1]) / 1e9) if last > first else None


def compare(
    scenarios: Sequence[Scenario], unusable: Mapping[str, str | None], python: str, cores: Cores, folder: Path
) -> list[dict[str, Any]]:
    """A row for every scenario and tool, each on a fresh truth server; `unusable` says why a peer cannot run."""
    body = folder / "body.json"
    body.write_bytes(BODY)
    rows = []
    for scenario in scenarios:
        known = {"law": scenario.law, "duration_s": scenario.duration_s, "truth_ms": truth_ms(scenario.law)}
        for tool in TOOLS:
            why = unusable.get(tool.peer) if tool.peer else None
            found = (
                _one(scenario, tool, body, python, cores, folder / f"{scenario.name}-{tool.name}")
                if why is None
                else _described(Row(tool=tool.name, said=None, problem=why), None)
            )
            rows.append({"scenario": scenario.name, **known, **found})
    return rows


def _one(scenario: Scenario, tool: Tool, body: Path, python: str, cores: Cores, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True)
    log = folder / "truth.npy"
    with truth_server(scenario.law, cores.server, folder, log=log) as port:
        task = Task(
            host="127.0.0.1",
            port=port,
            path=PATH,
            headers={"Content-Type": "application/json"},
            body=str(body),
            rate_per_s=RATE_PER_S,
            duration_s=scenario.duration_s,
            arrivals="constant",
            users=10,
        )
        row = measure(tool, task, python, cores, folder)
    return _described(row, truth_log.read(log))


def _described(row: Row, records: NDArray[Any] | None) -> dict[str, Any]:
    """A row with what the server saw meanwhile, None where it was not asked."""
    found = asdict(row)
    trace = found.pop("trace")
    served = None if records is None else served_ms(records)
    window = None if records is None else cpu_window(trace, records["arrival_ns"])
    return found | {
        "served_ms": None if served is None else served[0],
        "served_requests": None if served is None else served[1],
        "window_requests": None if window is None else window[0],
        "window_cpu_s": None if window is None else window[1],
    }


def cpu(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """For each tool the client's CPU for one request (ms), over all its runs while the load was on, and its CPU in all (s).
    None where no run has it."""
    found: dict[str, dict[str, float | None]] = {}
    for name in dict.fromkeys(row["tool"] for row in rows):
        same = [row for row in rows if row["tool"] == name]
        good = [row for row in same if row["window_requests"]]
        requests, used = sum(row["window_requests"] for row in good), sum(row["window_cpu_s"] for row in good)
        whole = [row["cpu_s"] for row in same if row["cpu_s"] is not None]
        found[name] = {
            "per_request_ms": 1e3 * used / requests if requests else None,
            "runs_s": sum(whole) if whole else None,
        }
    return found
