"""The simulator's p99 beside what a real server shows: `python -m tests.perf.simulator_live --json OUT` (about 7 minutes).

A real artifact (MobileNet v2, ONNX Runtime, one thread) is served by the project's own server on the first CPU, the generator
has the last one. A first open loop gives the capacity under an SLO of five times the median service, as a bench without --slo
finds it (`--of saturation`: the closed loop's throughput instead, far more sensitive to the machine's speed). Then, in rounds,
since a shared machine is not as fast in one minute as in the next: service times at half of the capacity, and Poisson loads at
40, 60 and 80 % of it. Each load is simulated from those service times with the very arrivals that were sent, 20 times, so that
only the services are left to chance. Nothing measured at a rate compared is given to the simulator.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers import build as building
from compilers import intake
from compilers.cache import default_cache
from compilers.spec_io import PreparedModel, read_payloads
from harness import endpoint
from harness.candidates import enumerate_candidates
from harness.capacity import estimate
from harness.errors import InfrastructureError
from harness.fleet import service
from harness.fleet.nouns import Metric, Policy
from harness.fleet.policies import Limits
from harness.fleet.service import ServiceTimes
from harness.fleet.simulate import simulate
from harness.nouns import SLO, Artifact, Candidate, Failure, InstanceType
from harness.requestset import write_requests
from harness.slo import default_slo, parse
from loadprofiles.generator import Generator
from loadprofiles.samples import Samples
from tests.harness.fleet.models import fleet
from tests.perf.live import Loader, closed, latency_ms, open_run, per_second, poisson, same_arrivals

MODEL, BACKEND = "mobilenet_v2", "ort"
SHARES = (0.4, 0.6, 0.8)
LIMIT = 0.15
SEEDS = 20
ROUNDS = 8
SLO_CAPACITY, SATURATION = "slo", "saturation"
_ANY: SLO = parse("p99<3600s")
_ALONE = Policy(metric=Metric.INVOCATIONS, limits=Limits(least=1, most=1))


def prepared() -> tuple[PreparedModel, Candidate, Artifact]:
    """The model and its artifact, from the cache if they are there."""
    cache = default_cache()
    log = cache / "logs" / "simulator-live.log"
    model = intake.resolve(MODEL, cache, payload_dir=None, shapes={}, log=log, cancelled=lambda: False)
    here = InstanceType(
        name="local-1", vcpus=1, memory_bytes=1 << 32, usd_per_hour=None, price_basis="", price_source="", price_date=""
    )
    candidate = enumerate_candidates(model.spec, (BACKEND,), [here])[0]
    made = building.build(candidate.options, model, cache, log=log, memory_bytes=4 << 30, cancelled=lambda: False)
    if not isinstance(made, Artifact):
        raise InfrastructureError(f"{MODEL} could not be compiled by {BACKEND}: {made.reason}")
    return model, candidate, made


def measured(seconds: float, of: str, keep: Path | None) -> tuple[ServiceTimes, float, dict[float, list[Samples]]]:
    """(service times, capacity in requests/s, the runs compared by their share of it)."""
    model, candidate, artifact = prepared()
    cpus = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        requests = write_requests(model.spec.name, read_payloads(model.folder), folder / "requests")
        served = endpoint.serve(candidate, artifact, model.folder, cpus=cpus[:1], log=folder / "server.log")
        if isinstance(served, Failure):
            raise InfrastructureError(served.reason)
        try:
            with Generator(cpus[-1:], folder / "generator.log") as generator:
                loader = Loader(generator=generator, requests=requests, folder=folder)
                loader.run("warm", served.port, closed(1, 5.0))
                capacity = per_second(loader.run("full", served.port, closed(2, 10.0)))
                if of == SLO_CAPACITY:
                    capacity = under_slo(loader, served.port, capacity)
                half = list[Samples]()
                runs: dict[float, list[Samples]] = {share: [] for share in SHARES}
                for turn in range(ROUNDS):
                    half.append(loader.run(f"half-{turn}", served.port, poisson(0.5 * capacity, seconds / ROUNDS, turn)))
                    for place, share in enumerate(SHARES, start=1):
                        load = poisson(share * capacity, seconds / ROUNDS, 100 * place + turn)
                        runs[share].append(loader.run(f"{share}-{turn}", served.port, load))
        finally:
            served.stop()
            if keep is not None:
                shutil.copytree(folder, keep, dirs_exist_ok=True)
    found = service.measured([], half, 1)
    if found is None:
        raise InfrastructureError("too few requests to know the service times")
    return found, capacity, runs


def under_slo(loader: Loader, port: int, closed_per_s: float) -> float:
    """The capacity under the SLO that a bench takes by itself."""
    rate, seconds = 0.5 * closed_per_s, 15.0
    run = loader.run("capacity", port, poisson(rate, seconds, 1000))
    limit = default_slo(float(np.median(run["compute_us"])) / 1e3)
    found = estimate([open_run(run, rate, seconds)], limit, servers=1, closed_capacity_per_s=closed_per_s, seed=0).estimate
    if not found.value:
        raise InfrastructureError(f"no capacity under {limit}: {found.reason}")
    return found.value


def beside(times: ServiceTimes, share: float, runs: Sequence[Samples]) -> dict[str, Any]:
    """One load, live and simulated."""
    demand, alone = same_arrivals(runs), fleet(times, queue_limit=10**6)
    days = [simulate(alone, _ALONE, demand, _ANY, seed) for seed in range(SEEDS)]
    seen = latency_ms(np.concatenate(runs))
    row: dict[str, Any] = {"share_of_capacity": share, "n": len(seen)}
    for label, p, simulated in (("p50_ms", 0.5, [day.p50_ms for day in days]), ("p99_ms", 0.99, [day.p99_ms for day in days])):
        known = [value for value in simulated if value is not None]
        middle, live = float(np.median(known)), float(np.quantile(seen, p))
        row[label] = {"live": live, "simulated": middle, "least": min(known), "most": max(known), "error": middle / live - 1}
    return row | {"within": abs(row["p99_ms"]["error"]) <= LIMIT}


def compare(seconds: float, of: str, keep: Path | None) -> dict[str, Any]:
    times, capacity, runs = measured(seconds, of, keep)
    rows = [beside(times, share, each) for share, each in runs.items()]
    return {
        "served": f"{MODEL} by {BACKEND}, one thread",
        "service": times.source,
        "service_ms": {"mean": times.mean_s * 1e3, "p99": float(np.quantile(times.lone, 0.99)) / 1e6},
        "capacity_per_s": capacity,
        "capacity_is": of,
        "rows": rows,
        "within_limit": sum(row["within"] for row in rows),
        "of": len(rows),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--seconds", type=float, default=80.0, help="of each load compared (default %(default)s)")
    parser.add_argument("--of", choices=(SLO_CAPACITY, SATURATION), default=SLO_CAPACITY, help="what the capacity is")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the samples here")
    parser.add_argument("--prepare", action="store_true", help="only fill the cache")
    options = parser.parse_args(arguments)
    if options.prepare:
        prepared()
        return
    result = compare(options.seconds, options.of, options.keep)
    print(json.dumps(result, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
