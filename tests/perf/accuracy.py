"""What the load generator reports of a server whose times are known: `python -m tests.perf.accuracy --json OUT`.

The truth server runs on one CPU, the generator on another. Three parts, about 11 minutes (`--short`: 1): services of four laws
without a queue, a server that stalls, and queues.

A run that the product's own rules call invalid (steal, a neighbour on either core, a late generator) is repeated, at most
twice, as in a bench; what stays invalid is shown as such.

Chance is kept out of the comparison, because a run of 10,000 requests scatters by more than the limits even if it is measured
perfectly (p99 of exponential services by 2.2 %, the mean of an M/M/1 queue at 90 % by 20 %). Every run takes the first seed
whose requests, on paper and before any load, have the very figures of the formula to a fraction of a percent. What was then
measured is compared with the formula, and with what the server's own log says that it did.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from harness import observe
from harness.errors import InfrastructureError
from harness.loadplan import plan_for
from harness.nouns import LoadProfile
from harness.records import RunRecord
from harness.requestset import RequestSet, write_requests
from harness.resources import ResourceMeter, Watched
from harness.truth import log as truth_log
from harness.truth import queueing
from harness.truth.discipline import sojourns_ns
from harness.truth.draws import services_ns
from harness.truth.launch import truth_server
from harness.truth.law import Law
from harness.truth.spec import Truth, parse
from loadprofiles import samples, schedule
from loadprofiles.generator import Generator

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
SCALES_MS = (1, 5, 10, 100)
LAWS = ("constant:{0}ms", "exponential:{0}ms", "lognormal:{0}ms,sigma=0.5", "bimodal:{0}ms,{1}ms,p=0.02")
LAW_LIMIT, LAW_LIMIT_MS = 0.02, 0.10
QUEUE_LIMITS = {"mean": 0.03, "p99": 0.05}
LOADS = (0.5, 0.7, 0.9)
SERVICE_MS = 5
SEEDS = 20_000
REPEATS = 2

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run: what is served, under which load, the true figures in ms, and how far off they may be measured."""

    what: str
    law: str
    load: LoadProfile
    truth_ms: Figures
    limits: dict[str, float]
    limit_ms: float = 0.0
    paper_error: float
    """How far the requests drawn may be from the truth on paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of one run, in ms. `served_ms` is what the server's log shows it to have done."""

    what: str
    n: int
    figure: str
    truth_ms: float
    served_ms: float
    measured_ms: float
    error: float
    within: bool


def law_cases(scales_ms: Sequence[int], n: int, paper_error: float) -> Iterator[Case]:
    """Services of every law and scale, n requests at even distances, as many servers as it takes.

    The rates keep answers from falling on the instants of later arrivals."""
    for scale_ms, written in itertools.product(scales_ms, LAWS):
        law = written.format(scale_ms, 5 * scale_ms)
        rate = 730.0 if scale_ms < 100 else 433.0
        shares = np.array(list(SHARES.values()))
        yield Case(
            what=law,
            law=law,
            load=LoadProfile(arrivals="constant", rate_per_s=rate, duration_s=n / rate, seed=0),
            truth_ms=dict(zip(SHARES, (parse(law).law.quantiles_s(shares) * 1e3).tolist(), strict=True)),
            limits=dict.fromkeys(SHARES, LAW_LIMIT),
            limit_ms=LAW_LIMIT_MS,
            paper_error=paper_error,
        )


def stall_case(stalls: int) -> Case:
    """A stall of 1 s in every 10 s, at 100/s and a little more, so that every stall finds the arrivals at another phase."""
    law, load = "constant:2ms;stall=1s/10s", 100 + 0.1 / stalls
    truth = parse(law)
    assert truth.stall is not None
    return Case(
        what=law,
        law=law,
        load=LoadProfile(arrivals="constant", rate_per_s=load, duration_s=10.0 * stalls, seed=0),
        truth_ms={name: queueing.stalled_quantile_s(0.002, truth.stall, share) * 1e3 for name, share in SHARES.items()},
        limits=dict.fromkeys(SHARES, 0.02),
        limit_ms=LAW_LIMIT_MS,
        paper_error=0.02,
    )


def queue_cases(loads: Sequence[float], duration_s: float, paper_error: float) -> Iterator[Case]:
    """M/D/1 and M/M/1."""
    for (name, written), share in itertools.product((("M/D/1", "constant"), ("M/M/1", "exponential")), loads):
        law = f"{written}:{SERVICE_MS}ms;servers=1"
        rate = share * 1e3 / SERVICE_MS
        served = parse(law).law
        yield Case(
            what=f"{name} at {share:g}",
            law=law,
            load=LoadProfile(arrivals="poisson", rate_per_s=rate, duration_s=duration_s, seed=0),
            truth_ms=queue_truth_ms(served, rate),
            limits=QUEUE_LIMITS,
            paper_error=paper_error,
        )


def queue_truth_ms(law: Law, rate_per_s: float) -> Figures:
    mean_s = queueing.sojourn_mean_s(law, 1, rate_per_s)
    return {"mean": mean_s * 1e3, "p99": queueing.sojourn_quantile_s(law, 1, rate_per_s, 0.99) * 1e3}


def figures_ms(times_ns: NDArray[np.int64], names: Sequence[str]) -> Figures:
    """Mean, or quantiles by nearest rank."""
    found = {name: np.quantile(times_ns, share, method="inverted_cdf") for name, share in SHARES.items() if name in names}
    return {name: float(times_ns.mean() if name == "mean" else found[name]) / 1e6 for name in names}


def on_paper(truth: Truth, load: LoadProfile) -> NDArray[np.int64]:
    """Sojourns, ns, of the load's arrivals and the services drawn."""
    arrivals = schedule.arrivals(load)
    services = services_ns(truth, len(arrivals))
    if truth.servers == 1 and truth.stall is None:
        walk = np.concatenate(([0], np.cumsum(services[:-1] - np.diff(arrivals))))
        return np.asarray(walk - np.minimum.accumulate(walk) + services)
    return np.array(sojourns_ns(arrivals.tolist(), services.tolist(), truth.servers, truth.stall))


def representative(case: Case) -> Case:
    """The same with the first seed, of arrivals and services, whose figures on paper are those of the formula."""
    truth = parse(case.law)
    for seed in range(SEEDS):
        load = replace(case.load, seed=seed)
        paper = figures_ms(on_paper(replace(truth, seed=seed), load), list(case.truth_ms))
        if all(abs(paper[name] / value - 1) <= case.paper_error for name, value in case.truth_ms.items()):
            return replace(case, load=load, law=f"{case.law};seed={seed}")
    raise InfrastructureError(f"none of {SEEDS} seeds gives {case.what} its own figures; make the run longer")


def run(case: Case, requests: RequestSet, cpus: Sequence[int], folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """Serve, load and compare one case; the rows, and what else is worth keeping of the run."""
    log, frames = folder / "served.npy", folder / "samples.bin"
    frames.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    with (
        truth_server(case.law, output=folder / "server.log", cpus=[cpus[0]], log=log) as port,
        Generator([cpus[-1]], folder / "generator.log") as generator,
    ):
        plan, _ = plan_for(case.load, requests, ("127.0.0.1", port), folder, "load", samples=frames, own_core=len(cpus) > 1)
        watched = Watched(
            server_pid=next(each.pid for each in psutil.Process().children() if "harness.truth" in each.cmdline()),
            server_cpus=(cpus[0],),
            lane_cpus=(cpus[0], cpus[-1]),
            generator_pid=generator.pid,
            generator_cpus=(cpus[-1],),
        )
        meter = ResourceMeter(watched).start()
        try:
            reply = generator.run(plan, case.load.duration_s + 60)
        finally:
            use = meter.stop()
    record = RunRecord(kind="load", profile=case.load, reply=reply, resources=use, samples=plan.samples)
    validity = observe.measurement(record, samples.read(frames), None).validity
    records, served = samples.read(frames), truth_log.read(log)
    good = records[records["outcome"] == samples.SUCCEEDED]
    if not len(good):
        raise InfrastructureError(f"{case.what}: no request was answered: {reply.errors}")
    names = list(case.truth_ms)
    measured = figures_ms(good["done_ns"] - good["due_ns"], names)
    did = figures_ms(served["answered_ns"] - served["arrival_ns"], names)
    rows = [row(case, name, reply.planned, did[name], measured[name], len(good)) for name in names]
    late_us = (good["sent_ns"] - good["due_ns"]) / 1e3
    served_late_us = (served["answered_ns"] - served["due_ns"]) / 1e3
    notes = {
        "what": case.what,
        "law": case.law,
        "planned": reply.planned,
        "succeeded": reply.succeeded,
        "valid": validity.valid,
        "invalid_because": list(validity.reasons),
        "generator_late_p50_p99_us": np.percentile(late_us, [50, 99]).tolist(),
        "server_late_p50_p99_us": np.percentile(served_late_us, [50, 99]).tolist(),
        "transport_p50_us": float(
            np.median(good["done_ns"] - good["sent_ns"]) - np.median(served["answered_ns"] - served["arrival_ns"])
        )
        / 1e3,
    }
    return rows, notes


def row(case: Case, name: str, planned: int, served_ms: float, measured_ms: float, good: int) -> Row:
    truth_ms = case.truth_ms[name]
    off_ms = measured_ms - truth_ms
    within = good == planned and abs(off_ms) <= max(case.limits[name] * truth_ms, case.limit_ms)
    return Row(
        what=case.what,
        n=planned,
        figure=name,
        truth_ms=truth_ms,
        served_ms=served_ms,
        measured_ms=measured_ms,
        error=off_ms / truth_ms,
        within=within,
    )


def measure(cases: Sequence[Case], say: Callable[[str], None]) -> dict[str, Any]:
    cpus = sorted(os.sched_getaffinity(0))
    rows, runs = list[Row](), list[dict[str, Any]]()
    say(HEADING)
    for case in cases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            requests = write_requests("truth", [{"x": np.zeros((1, 8), np.float32)}], folder / "requests")
            chosen_case = representative(case)
            for repeat in range(REPEATS + 1):
                got, notes = run(chosen_case, requests, cpus, folder)
                if notes["valid"]:
                    break
                say(f"  invalid, {'repeated' if repeat < REPEATS else 'shown as it is'}: {'; '.join(notes['invalid_because'])}")
        for each in got:
            say(line(each))
        rows += got
        runs.append(notes)
    return {
        "server_cpu": cpus[0],
        "generator_cpu": cpus[-1],
        "load_average_1_min": os.getloadavg()[0],
        "rows": [asdict(each) for each in rows],
        "runs": runs,
        "within_limits": sum(each.within for each in rows),
        "of": len(rows),
    }


HEADING = f"{'served':32}{'n':>7}  {'':5}{'truth ms':>10}{'served ms':>11}{'measured ms':>13}{'error':>9}"


def line(row: Row) -> str:
    verdict = "" if row.within else "  OUTSIDE"
    figures = f"{row.truth_ms:10.3f}{row.served_ms:11.3f}{row.measured_ms:13.3f}{100 * row.error:8.2f} %"
    return f"{row.what:32}{row.n:7}  {row.figure:5}{figures}{verdict}"


def chosen(parts: Sequence[str], *, short: bool) -> list[Case]:
    cases = list[Case]()
    if "laws" in parts:
        cases += law_cases((1, 10), 2000, 0.01) if short else law_cases(SCALES_MS, 10_900, 0.003)
    if "stall" in parts:
        cases.append(stall_case(1 if short else 6))
    if "queues" in parts:
        cases += queue_cases((0.7,), 10.0, 0.02) if short else queue_cases(LOADS, 45.0, 0.005)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write everything measured here")
    parser.add_argument("--short", action="store_true", help="fewer and shorter runs, to see that it works")
    parser.add_argument("--parts", default="laws,stall,queues", help="which of them (default %(default)s)")
    options = parser.parse_args()
    result = measure(chosen(options.parts.split(","), short=options.short), lambda text: print(text, flush=True))
    print(f"{result['within_limits']} of {result['of']} figures within their limits")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
