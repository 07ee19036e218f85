"""What one run showed: counts, rates and quantiles from its samples and from what the generator and the machine reported.

Latency counts from when a request was due, so that a stalled server is charged for the requests it delayed; service counts from
when it was sent. A warm-up is a run of its own and never part of these samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.nouns import SLO, LoadProfile, Measurement, Quantile, Validity
from harness.statistics import nearest_rank, quantile
from loadprofiles.samples import ABSENT_NS, DROPPED, FAILED, SUCCEEDED, UNDRAINED, Samples

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_NS_PER_MS = 1e6
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorReport:
    """What the load generator says of a run: requests whose time came, the window in which they were due (monotonic start and
    length), and its CPU time; None where it does not say."""

    planned: int | None
    start_ns: int | None
    window_ns: int | None
    cpu_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUse:
    """CPU time of the server over `wall_s` on its `cpus` cores, and its largest resident memory."""

    wall_s: float
    cpus: int
    cpu_s: float | None
    peak_rss_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the requests of a run; the four outcomes add up to `recorded` unless a record is corrupt."""

    recorded: int
    succeeded: int
    failed: int
    dropped: int
    undrained: int

    @property
    def lost(self) -> int:
        """Requests without a good answer; they count as infinitely slow."""
        return self.failed + self.dropped + self.undrained

    @property
    def sent(self) -> int:
        return self.succeeded + self.failed + self.undrained


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """One second of a run, by planned send time: the requests due in it, the good answers that arrived in it, and the median
    latency of the requests due in it (None when most of them, or all, were lost)."""

    second: int
    due: int
    completed: int
    p50_ms: float | None


def counts(samples: Samples) -> Counts:
    """How many requests ended in which way."""
    by_outcome = np.bincount(samples["outcome"], minlength=4)
    return Counts(
        recorded=len(samples),
        succeeded=int(by_outcome[SUCCEEDED]),
        failed=int(by_outcome[FAILED]),
        dropped=int(by_outcome[DROPPED]),
        undrained=int(by_outcome[UNDRAINED]),
    )


def contradiction(samples: Samples, planned: int | None) -> str | None:
    """Why the samples cannot be the whole story, in one line, or None.

    Every planned request must have ended in exactly one way, and no instant may precede the one before it.
    """
    seen = counts(samples)
    ended = seen.succeeded + seen.lost
    if ended != len(samples):
        return f"{len(samples) - ended} of {len(samples)} records have no known outcome"
    if planned is not None and planned != ended:
        return f"{planned} requests were planned but {ended} are recorded"
    good = samples[samples["outcome"] == SUCCEEDED]
    backwards = int(((good["sent_ns"] < good["due_ns"]) | (good["done_ns"] < good["sent_ns"])).sum())
    return f"{backwards} requests were sent before they were due or ended before they were sent" if backwards else None


def measure(
    samples: Samples,
    profile: LoadProfile,
    *,
    resources: ServerUse | None,
    generator: GeneratorReport,
    validity: Validity,
) -> Measurement:
    """The figures of one run; see `Measurement` for their meaning and `statistics.quantile` for when one is withheld."""
    seen = counts(samples)
    good = samples[samples["outcome"] == SUCCEEDED]
    planned = seen.recorded if generator.planned is None else generator.planned
    window_s = _window_ns(profile, generator) / _NS_PER_S
    return Measurement(
        profile=profile,
        planned=planned,
        succeeded=seen.succeeded,
        failed=seen.failed,
        dropped=seen.dropped,
        undrained=seen.undrained,
        error_ratio=seen.lost / planned if planned else None,
        offered_per_s=planned / window_s if profile.open_loop and window_s > 0 else None,
        achieved_per_s=_achieved_per_s(samples, profile, generator),
        latency_ms=_quantiles(_since(good, "due_ns" if profile.open_loop else "sent_ns"), seen.lost),
        # A dropped request was never sent, so it says nothing about service.
        service_ms=_quantiles(_since(good, "sent_ns"), seen.failed + seen.undrained),
        queue_ms=_reported(good["queue_us"]),
        compute_ms=_reported(good["compute_us"]),
        lateness_ms=lateness_ms(samples) if profile.open_loop else {},
        cpu_utilization=_utilization(resources),
        # Megabytes, as instance memory is sold.
        memory_mb=None if resources is None or resources.peak_rss_bytes is None else resources.peak_rss_bytes / 1e6,
        generator_cpu_ms_per_request=None if generator.cpu_s is None or not seen.sent else generator.cpu_s * 1e3 / seen.sent,
        validity=validity,
    )


def latency_ms(samples: Samples) -> NDArray[np.float64]:
    """done - due of the good answers, in ms, in the order recorded."""
    return _since(samples[samples["outcome"] == SUCCEEDED], "due_ns")


def lateness_ms(samples: Samples) -> dict[str, float]:
    """p50 and p99, by nearest rank, of sent - due over the requests that were sent; empty when none was."""
    sent = samples[samples["sent_ns"] != ABSENT_NS]
    if not len(sent):
        return {}
    late = np.sort(sent["sent_ns"] - sent["due_ns"]) / _NS_PER_MS
    return {label: float(late[nearest_rank(late.size, p) - 1]) for label, p in (("p50", 0.5), ("p99", 0.99))}


def in_flight_ns(samples: Samples) -> int | None:
    """Σ (done - sent), which by Little's law is the time integral of the requests in flight; None when one never ended."""
    sent = samples[samples["sent_ns"] != ABSENT_NS]
    if (sent["done_ns"] == ABSENT_NS).any():
        return None
    return int((sent["done_ns"] - sent["sent_ns"]).sum())


def violated(samples: Samples, slo: SLO) -> NDArray[np.bool_]:
    """Shape (n, limits): for each planned request, in the order due, and each limit of the SLO, whether the request broke it:
    slower than the limit since it was due, failed, dropped or undrained."""
    ordered = samples[np.argsort(samples["due_ns"], kind="stable")]
    limits_ns = np.array([limit.limit_ms * _NS_PER_MS for limit in slo.limits])
    slow = (ordered["done_ns"] - ordered["due_ns"])[:, None] > limits_ns
    return np.asarray((ordered["outcome"] != SUCCEEDED)[:, None] | slow, dtype=np.bool_)


def violations(samples: Samples, slo: SLO) -> tuple[int, tuple[int, ...]]:
    """(n, violations of each limit) over all planned requests of a run; see `violated`."""
    broken = violated(samples, slo)
    return len(broken), tuple(int(count) for count in broken.sum(axis=0))


def cdf(samples: Samples, points: int = 200) -> tuple[tuple[float, float], ...]:
    """(share, latency in ms) pairs for a plot: the share of planned requests answered well within that latency.

    Half the points are spaced evenly, half grow denser towards the tail, down to single requests. Lost requests are never
    reached, so that the curve ends below 1 when there are any.
    """
    ordered = np.sort(latency_ms(samples))
    if not ordered.size or points < 2:
        return ()
    n = len(samples)
    even = np.linspace(1 / n, 1, points - points // 2)
    tail = 1 - np.geomspace(0.5, 1 / n, points // 2) if n > 2 else np.empty(0)
    ranks = np.unique(np.clip(np.ceil(np.round(np.concatenate([even, tail]) * n, 9)), 1, ordered.size).astype(int))
    return tuple((float(rank / n), float(ordered[rank - 1])) for rank in ranks)


def per_second(samples: Samples, profile: LoadProfile, start_ns: int | None = None) -> tuple[Second, ...]:
    """The run second by second, for a plot; empty without samples."""
    if not len(samples):
        return ()
    start = int(samples["due_ns"].min()) if start_ns is None else start_ns
    seconds = max(1, math.ceil(profile.duration_s))
    good = samples[samples["outcome"] == SUCCEEDED]
    due = np.clip((samples["due_ns"] - start) // _NS_PER_S, 0, seconds - 1)
    finished = (good["done_ns"] - start) // _NS_PER_S
    completed = np.bincount(finished[(finished >= 0) & (finished < seconds)], minlength=seconds)
    slowness = np.where(samples["outcome"] == SUCCEEDED, (samples["done_ns"] - samples["due_ns"]) / _NS_PER_MS, np.inf)
    return tuple(
        Second(second=i, due=int((due == i).sum()), completed=int(completed[i]), p50_ms=_median_ms(slowness[due == i]))
        for i in range(seconds)
    )


def _median_ms(values: NDArray[np.float64]) -> float | None:
    """Nearest-rank median, without an interval; None of nothing and of requests that were lost."""
    if not values.size:
        return None
    middle = float(np.sort(values)[nearest_rank(values.size, 0.5) - 1])
    return middle if math.isfinite(middle) else None


def _since(samples: Samples, start: str) -> NDArray[np.float64]:
    return np.asarray((samples["done_ns"] - samples[start]) / _NS_PER_MS, dtype=np.float64)


def _quantiles(values_ms: NDArray[np.float64], lost: int) -> dict[str, Quantile]:
    return {label: quantile(values_ms, p, failures=lost) for label, p in QUANTILES.items()}


def _reported(values_us: NDArray[np.int32]) -> Quantile | None:
    """Median of what the server reported; None when it reported nothing."""
    known = values_us[values_us >= 0]
    return quantile(known / 1e3, 0.5) if known.size else None


def _window_ns(profile: LoadProfile, generator: GeneratorReport) -> float:
    return generator.window_ns if generator.window_ns is not None else profile.duration_s * _NS_PER_S


def _achieved_per_s(samples: Samples, profile: LoadProfile, generator: GeneratorReport) -> float | None:
    """Good answers per second inside the window.

    A closed loop is busy from the first request to the last, so its window ends with the last answer in it; otherwise up to
    one service time at the end would count as idle, which is much when only ten requests fit.
    """
    window_ns = _window_ns(profile, generator)
    if not len(samples) or window_ns <= 0:
        return None
    start = generator.start_ns if generator.start_ns is not None else int(samples["due_ns"].min())
    done = samples["done_ns"][samples["outcome"] == SUCCEEDED] - start
    done = done[done <= window_ns]
    if not profile.open_loop and done.size:
        window_ns = float(done.max())
    return done.size * _NS_PER_S / window_ns if window_ns > 0 else None


def _utilization(resources: ServerUse | None) -> float | None:
    """Share 0..1 of the server's cores that it used."""
    if resources is None or resources.cpu_s is None or resources.wall_s <= 0 or resources.cpus < 1:
        return None
    return resources.cpu_s / (resources.wall_s * resources.cpus)
