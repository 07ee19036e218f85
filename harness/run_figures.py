"""Figures over several runs of one candidate, from their pooled samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from harness import measurement as measuring
from harness.findings import Findings, SeenRun
from harness.nouns import Quantile
from harness.statistics import quantile
from loadprofiles.samples import SUCCEEDED, Samples


def latency(findings: Findings, runs: Sequence[SeenRun]) -> dict[str, Quantile]:
    """Quantiles from when requests were due, over the pooled runs; lost requests count as infinitely slow."""
    samples = pooled(findings, runs)
    return _quantiles(samples, "due_ns") if len(samples) else {}


def service(findings: Findings, runs: Sequence[SeenRun]) -> dict[str, Quantile]:
    samples = pooled(findings, runs)
    return _quantiles(samples, "sent_ns") if len(samples) else {}


def _quantiles(samples: Samples, start: str) -> dict[str, Quantile]:
    good = samples[samples["outcome"] == SUCCEEDED]
    values_ms = (good["done_ns"] - good[start]) / 1e6
    return {label: quantile(values_ms, p, failures=len(samples) - len(good)) for label, p in measuring.QUANTILES.items()}


def pooled(findings: Findings, runs: Sequence[SeenRun]) -> Samples:
    arrays = [findings.samples(run.record) for run in runs]
    return np.concatenate(arrays) if arrays else np.empty(0)


def reported(samples: Samples, field: str) -> dict[str, Any] | None:
    """Median of what the server reported for the requests that succeeded."""
    if not len(samples):
        return None
    known = samples[field][(samples["outcome"] == SUCCEEDED) & (samples[field] >= 0)]
    return asdict(quantile(known / 1e3, 0.5)) if len(known) else None


def transport(samples: Samples) -> float | None:
    """Median of what neither queue nor compute explains: HTTP on both sides and the loopback."""
    if not len(samples):
        return None
    good = samples[(samples["outcome"] == SUCCEEDED) & (samples["compute_us"] >= 0) & (samples["queue_us"] >= 0)]
    rest_ms = (good["done_ns"] - good["sent_ns"]) / 1e6 - (good["queue_us"] + good["compute_us"]) / 1e3
    return quantile(rest_ms, 0.5).value if len(good) else None


def cdf(findings: Findings, runs: Sequence[SeenRun]) -> dict[str, Any] | None:
    samples = pooled(findings, runs)
    points = measuring.cdf(samples) if len(samples) else ()
    return {"share": [share for share, _ in points], "ms": [ms for _, ms in points]} if points else None
