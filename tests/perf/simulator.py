"""What the fleet simulator can do and how right it is. `python -m tests.perf.simulator [--json OUT] [--run RUN]`.

Three parts: mean waits against theory; a day of 24 h at 200 requests/s under each policy, in CPU time and memory; and, with the
folder of a finished run, p50 and p99 against what was measured live at each rate that the ranked candidates were loaded with.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.fleet import kernel, measured, sweep
from harness.fleet.demand import Demand, stream
from harness.fleet.nouns import Day
from harness.fleet.service import ServiceTimes
from harness.fleet.simulate import SERVICE_STREAM, simulate, steady
from harness.fleet.sweep import Question
from harness.measurement import latency_ms
from harness.nouns import SLO
from harness.slo import parse
from loadprofiles import samples
from tests.harness.fleet.models import LOOSE, constant, exponential, fleet, md1_wait_s, mmc_wait_s

RATE_PER_S = 200.0
SERVICE_S = 0.01
SEEDS = 16


def theory(requests: int) -> list[dict[str, Any]]:
    """Mean waits of one instance with c workers, each from SEEDS runs of about `requests` requests.

    Chance is taken out where it is known: each run's wait is its mean latency less the mean of the very services it drew, and
    what its arrivals and services had too many or too few of goes by regression over the seeds (control variates, whose
    expectations are exact). `bound` is |error| and 1.96 standard errors.
    """
    cases: list[tuple[str, Callable[[float], ServiceTimes], int, float, float]]
    cases = [(f"M/M/{c}", exponential, c, rho, mmc_wait_s(rho, c, SERVICE_S)) for c in (1, 2, 8) for rho in (0.5, 0.7, 0.9)]
    cases += [("M/D/1", constant, 1, rho, md1_wait_s(rho, SERVICE_S)) for rho in (0.5, 0.7, 0.9)]
    rows = []
    for name, law, workers, rho, wait_s in cases:
        service, rate_per_s = law(SERVICE_S), rho * workers / SERVICE_S
        servers = fleet(service, workers, queue_limit=10**6)
        days = [steady(servers, 1, rate_per_s, round(requests / rate_per_s), LOOSE, seed) for seed in range(SEEDS)]
        error, deviation = _controlled(days, service, rate_per_s, wait_s)
        rows.append(
            {
                "queue": name,
                "utilisation": rho,
                "requests": sum(day.requests for day in days),
                "theory_ms": wait_s * 1e3,
                "error": error,
                "standard_error": deviation,
                "bound": abs(error) + 1.96 * deviation,
            }
        )
    return rows


def _controlled(days: Sequence[Day], service: ServiceTimes, rate_per_s: float, wait_s: float) -> tuple[float, float]:
    """(relative error of the mean wait, its standard error)."""
    (pool,) = service.levels
    drawn = [pool[(stream(day.seed, SERVICE_STREAM).random(day.requests) * pool.size).astype(int)].mean() / 1e9 for day in days]
    waits = np.array([(day.mean_ms or 0.0) / 1e3 for day in days]) - drawn
    controls = [np.array([day.requests / (60 * len(day.minutes)) / rate_per_s - 1 for day in days])]
    if pool.size > 1:
        controls.append(np.array(drawn) / service.mean_s - 1)
    design = np.column_stack([np.ones(len(days)), *controls])
    fit = np.linalg.lstsq(design, waits, rcond=None)[0]
    spread = float(((waits - design @ fit) ** 2).sum()) / (len(days) - design.shape[1])
    return float(fit[0]) / wait_s - 1, float(np.sqrt(spread * np.linalg.inv(design.T @ design)[0, 0])) / wait_s


def speed() -> list[dict[str, Any]]:
    """One generated day at 200 requests/s under each policy."""
    slo = parse("p99<200ms")
    question = Question(
        fleet=fleet(exponential(0.02)),
        demand=Demand(day_mean_per_s=RATE_PER_S),
        slo=slo,
        capacity_per_s=35.0,
        usd_per_hour=None,
    )
    steady(question.fleet, 1, 1.0, 60, slo, 0)  # compile
    peak, rows = sweep.peak_per_s(question.demand, [0]), []
    for kind in sweep.KINDS:
        _, policy = sweep.policy_for(question, kind, 0.6, peak, [0])
        begun, cpu = time.monotonic(), time.process_time()
        day = simulate(question.fleet, policy, question.demand, slo, 0, initial=4)
        rows.append(
            {
                "policy": kind,
                "requests": day.requests,
                "most_instances": day.most_serving,
                "wall_s": time.monotonic() - begun,
                "cpu_s": time.process_time() - cpu,
            }
        )
    return rows


def live(run: Path) -> list[dict[str, Any]]:
    """Simulated beside measured, for every valid open-loop run of every candidate with a capacity."""
    result, rows = json.loads((run / "result.json").read_text()), []
    for row in result["candidates"]:
        try:
            candidate = measured.read(run, row["id"])
        except UsageError as error:
            print(error, file=sys.stderr)
            continue
        for step in row["steps"]:
            if step["valid"] and step["offered_per_s"]:
                seen = latency_ms(samples.read(run / step["samples"]))
                rows.append(_beside(candidate, step["offered_per_s"], seen, candidate.slo))
    return rows


def _beside(candidate: measured.Measured, rate_per_s: float, seen_ms: Any, slo: SLO) -> dict[str, Any]:
    alone = fleet(candidate.service, candidate.workers)
    day = steady(alone, 1, rate_per_s, max(3600, int(100_000 / rate_per_s)), slo, 0)
    return {
        "candidate": candidate.id,
        "rate_per_s": rate_per_s,
        "share_of_capacity": rate_per_s / candidate.capacity_per_s,
        "n": len(seen_ms),
        "p50_ms": {"live": float(np.quantile(seen_ms, 0.5)), "simulated": day.p50_ms},
        "p99_ms": {"live": float(np.quantile(seen_ms, 0.99)), "simulated": day.p99_ms},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", type=Path, help="folder of a finished run, for the comparison with live measurements")
    parser.add_argument("--requests", type=int, default=3_000_000, help="of each of the runs of a theory case")
    options = parser.parse_args()
    rows = theory(options.requests)
    result: dict[str, Any] = {"compiled": kernel.COMPILED, "theory": rows, "largest_error": max(abs(r["error"]) for r in rows)}
    result["speed"] = speed()
    # ru_maxrss is in KiB on Linux.
    result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    if options.run is not None:
        result["live"] = live(options.run)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
