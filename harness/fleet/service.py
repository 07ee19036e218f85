"""How long an instance takes for a request, as measured, by how many of its workers are busy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.capacity.runs import OpenRun, reconstruct
from loadprofiles.samples import RECORD, SUCCEEDED, Samples

FEWEST = 30
"""Requests that a level of concurrency needs for a distribution of its own."""
FEWEST_OPEN = 200
"""Requests of open-loop runs that make a law of service."""
MOST_IMPOSSIBLE = 0.05
"""Share of services that no such workers could have given, above which the server is taken for something else."""
_NS_PER_US = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTimes:
    """`levels[k-1]` holds service times in ns, int64 and sorted, seen while k workers of an instance were busy; the last one
    also stands for more. `idle` are those of requests that found the instance empty, which pay for what others do while they
    wait; None where they are like the first level. `source` says what they are."""

    levels: tuple[NDArray[np.int64], ...]
    source: str
    idle: NDArray[np.int64] | None = None

    @property
    def lone(self) -> NDArray[np.int64]:
        """Services of requests that meet nobody."""
        return self.levels[0] if self.idle is None else self.idle

    @property
    def mean_s(self) -> float:
        """Of a request that meets nobody."""
        return float(self.lone.mean()) / 1e9

    def pools(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(all values, where each pool begins and the last ends), as the kernel wants them: idle, then level by level."""
        every = (self.lone, *self.levels)
        starts = np.cumsum([0, *(pool.size for pool in every)])
        return np.concatenate(every), np.asarray(starts, np.int64)

    def share_above(self, limit_ms: float) -> float:
        """Share of services that alone, without any wait, take longer than `limit_ms`."""
        return float((self.lone > limit_ms * 1e6).mean())


def measured(closed: Sequence[Samples], opened: Sequence[Samples], workers: int) -> ServiceTimes | None:
    """From the samples of valid runs; None when there are too few requests.

    A worker is held from when it begins with a request, that is, when it arrived or the worker had answered the one before,
    until the answer: the services that explain when every answer of the open-loop runs came (`capacity.runs.reconstruct`).
    Where there are too few of those, or no such workers could have answered so, from what the server reports.
    """
    runs = [run for each in opened if (run := _good([each])).size]
    if sum(run.size for run in runs) >= FEWEST_OPEN:
        found = [_held(run, workers) for run in runs]
        if sum(each.impossible * each.service_ns.size for each in found) <= MOST_IMPOSSIBLE * sum(run.size for run in runs):
            return _explained(found, workers)
    return _reported_times(closed, opened, workers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Held:
    """The services of one run: ns, how many workers were busy with one, and whether it found the instance empty."""

    service_ns: NDArray[np.int64]
    busy: NDArray[np.int64]
    lone: NDArray[np.bool_]
    impossible: float


def _held(run: Samples, workers: int) -> _Held:
    run = run[np.argsort(run["due_ns"], kind="stable")]
    due, done = ((run[name] - run["due_ns"][0]) / 1e6 for name in ("due_ns", "done_ns"))
    length_s = max(1e-3, float(due[-1]) / 1e3)
    good = np.ones(run.size, dtype=np.bool_)
    given = OpenRun(start="", rate_per_s=run.size / length_s, due_ms=due, done_ms=done, good=good, duration_s=length_s)
    found = reconstruct(given, workers)
    ended = np.sort(done) if workers == 1 else done
    begun = ended - found.service_ms
    busy = np.searchsorted(np.sort(begun), begun, side="right") - np.searchsorted(np.sort(ended), begun, side="right")
    return _Held(
        service_ns=np.asarray(found.service_ms * 1e6, np.int64),
        busy=np.asarray(np.clip(busy, 1, workers), np.int64),
        lone=~found.busy,
        impossible=found.impossible,
    )


def _explained(found: Sequence[_Held], workers: int) -> ServiceTimes:
    times = np.concatenate([each.service_ns for each in found])
    busy = np.concatenate([each.busy for each in found])
    lone = np.concatenate([each.lone for each in found])
    apart = min(int(lone.sum()), int((~lone).sum())) >= FEWEST
    levels = _levels(times[~lone], busy[~lone], workers) if apart else _levels(times, busy, workers)
    counts = ", ".join(f"{level.size} with {k} busy" for k, level in enumerate(levels, start=1))
    said = f"{int(lone.sum())} that met nobody, {counts}" if apart else counts
    return ServiceTimes(
        levels=levels,
        source=f"services that explain when {times.size} requests were answered ({said})",
        idle=np.sort(times[lone]) if apart else None,
    )


def _reported_times(closed: Sequence[Samples], opened: Sequence[Samples], workers: int) -> ServiceTimes | None:
    """What the server says it computed, plus what a closed loop of one user shows beside it (parsing, encoding, network): there
    nothing waits for anything. Under open-loop load that remainder also holds hidden waiting, and would count twice. From a
    server that reports no compute time, the closed loop's whole service times are taken."""
    alone = _good(closed)
    overhead_ns = _overhead_ns(alone)
    if overhead_ns is None:
        times = np.sort(alone["done_ns"] - alone["sent_ns"])
        enough = times.size >= FEWEST
        source = f"{times.size} requests of one user, sent to answered; the server reports no compute times"
        return ServiceTimes(levels=(np.asarray(times, np.int64),), source=source) if enough else None
    seen = _good([*closed, *opened])
    seen = seen[seen["compute_us"] >= 0]
    if len(seen) < FEWEST:
        return None
    times = seen["compute_us"].astype(np.int64) * _NS_PER_US + overhead_ns
    busy = np.concatenate([_busy(_reported(run), workers) for run in (*closed, *opened)])
    levels = _levels(np.asarray(times, np.int64), busy, workers)
    counts = ", ".join(f"{level.size} with {k} busy" for k, level in enumerate(levels, start=1))
    return ServiceTimes(
        levels=levels,
        source=f"compute times of {len(seen)} requests ({counts}) plus {overhead_ns / 1e6:.3g} ms around them",
    )


def _levels(times: NDArray[np.int64], busy: NDArray[np.int64], workers: int) -> tuple[NDArray[np.int64], ...]:
    """One pool a level of concurrency; a level seen too rarely joins the one below."""
    found: list[NDArray[np.int64]] = []
    for level in range(1, workers + 1):
        here = times[busy >= level] if level == workers else times[busy == level]
        if here.size >= FEWEST:
            found.append(np.sort(here))
        elif found:
            found.append(found[-1])
    return tuple(found) or (np.sort(times),)


def _busy(run: Samples, workers: int) -> NDArray[np.int64]:
    """For each request, in the order given, how many computed when it began to, itself included."""
    done = run["done_ns"].astype(np.int64)
    begun = done - run["compute_us"].astype(np.int64) * _NS_PER_US
    order, ends = np.sort(begun), np.sort(done)
    # Begun until then, less ended until then.
    busy = np.searchsorted(order, begun, side="right") - np.searchsorted(ends, begun, side="right")
    return np.asarray(np.clip(busy, 1, workers), np.int64)


def _overhead_ns(alone: Samples) -> int | None:
    """Median of what a lone request spends beside queue and compute; None when the server reports no compute."""
    known = alone[alone["compute_us"] >= 0]
    if not len(known):
        return None
    inside = (np.maximum(known["queue_us"], 0).astype(np.int64) + known["compute_us"]) * _NS_PER_US
    return max(0, int(np.median(known["done_ns"] - known["sent_ns"] - inside)))


def _good(runs: Sequence[Samples]) -> Samples:
    good = [run[run["outcome"] == SUCCEEDED] for run in runs]
    return np.concatenate(good) if good else np.empty(0, RECORD)


def _reported(run: Samples) -> Samples:
    kept: Samples = run[(run["outcome"] == SUCCEEDED) & (run["compute_us"] >= 0)]
    return kept
