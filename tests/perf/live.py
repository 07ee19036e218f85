"""What live comparisons share: a load on one endpoint as samples, and those as the capacity and the simulator see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.capacity import OpenRun
from harness.errors import MeasurementInvalid
from harness.fleet.demand import Demand
from harness.loadplan import plan_for
from harness.nouns import LoadProfile
from harness.requestset import RequestSet
from loadprofiles import samples
from loadprofiles.generator import Generator
from loadprofiles.samples import Samples
from loadprofiles.traces import Trace

MINUTE_NS = 60 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """A generator with a CPU of its own, and the requests it sends."""

    generator: Generator
    requests: RequestSet
    folder: Path

    def run(self, name: str, port: int, profile: LoadProfile) -> Samples:
        """The samples of one load; MeasurementInvalid when a request was not answered well."""
        plan, _ = plan_for(
            profile,
            self.requests,
            ("127.0.0.1", port),
            self.folder,
            name,
            samples=self.folder / f"{name}.bin",
            in_flight_cap=256,
            own_core=True,
        )
        reply = self.generator.run(plan, profile.duration_s + 60)
        if reply.succeeded != reply.planned or not reply.planned:
            raise MeasurementInvalid(f"{name}: {reply.succeeded} of {reply.planned} requests were answered: {reply.errors}")
        return samples.read(Path(plan.samples))


def closed(users: int, duration_s: float) -> LoadProfile:
    return LoadProfile(arrivals="closed", users=users, duration_s=duration_s, seed=0)


def poisson(rate_per_s: float, duration_s: float, seed: int) -> LoadProfile:
    return LoadProfile(arrivals="poisson", rate_per_s=rate_per_s, duration_s=duration_s, seed=seed)


def per_second(run: Samples) -> float:
    """Requests answered per second."""
    return len(run) / (float(run["done_ns"].max() - run["sent_ns"].min()) / 1e9)


def latency_ms(run: Samples) -> np.ndarray:
    """From when each request was due."""
    return np.asarray((run["done_ns"] - run["due_ns"]) / 1e6)


def open_run(run: Samples, rate_per_s: float, duration_s: float) -> OpenRun:
    """An open-loop run as the capacity sees it."""
    run = run[np.argsort(run["due_ns"], kind="stable")]  # they lie in the order answered
    begin = run["due_ns"][0]
    return OpenRun(
        start="0",
        rate_per_s=rate_per_s,
        due_ms=(run["due_ns"] - begin) / 1e6,
        done_ms=(run["done_ns"] - begin) / 1e6,
        good=np.ones(len(run), dtype=bool),
        duration_s=duration_s,
    )


def same_arrivals(runs: Sequence[Samples], stretch: float = 1.0) -> Demand:
    """The very arrivals of runs, so that chance in them is no difference between those and a simulation. Each run begins on an
    empty minute."""
    placed, at = [], 0
    for run in runs:
        offsets = ((run["due_ns"] - run["due_ns"].min()) * stretch).astype(np.int64)
        placed.append(np.sort(offsets) + at)
        at += (-(-(int(offsets.max()) + 1) // MINUTE_NS) + (len(runs) > 1)) * MINUTE_NS
    offsets, span = np.concatenate(placed), at
    return Demand(trace=Trace(name="the run's own arrivals", span_ns=span, offsets_ns=offsets))
