"""One candidate's row of the result: its status with the reason, and every figure measured, null where none was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness import experiment
from harness import measurement as measuring
from harness.bench import Built
from harness.cost import usd_per_million
from harness.findings import Findings, SeenRun
from harness.nouns import Artifact, Candidate, Estimate, Failure, Quantile, Skipped, Status
from harness.ranking import Entry, Place
from harness.records import CLOSED, REFERENCE
from harness.statistics import quantile
from loadprofiles.samples import SUCCEEDED, Samples

_NOT_SEARCHED = Estimate(value=None, low=None, high=None, reason="the capacity was not searched for")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A candidate with what was decided about it before ranking. `status` RANKED means that it may be ranked."""

    candidate: Candidate
    built: Built | None
    status: Status
    reason: str | None
    stage: str | None
    log: str | None
    capacity: Estimate


def judge(candidate: Candidate, built: Built | None, findings: Findings, *, complete: bool) -> Judged:
    """The first thing that keeps a candidate out of the ranking, or that nothing does."""
    name = candidate.id
    capacity = findings.capacities.get(name, _NOT_SEARCHED)
    status, reason, stage, log = _verdict(name, built, findings, capacity, complete)
    return Judged(candidate=candidate, built=built, status=status, reason=reason, stage=stage, log=log, capacity=capacity)


def _verdict(
    name: str, built: Built | None, findings: Findings, capacity: Estimate, complete: bool
) -> tuple[Status, str | None, str | None, str | None]:
    """(status, reason, stage, log) of a candidate."""
    failure = built if isinstance(built, Failure) else None
    visit = findings.failed(name)
    if visit is not None:
        failure = visit.failure
    if isinstance(built, Skipped):
        return Status.SKIPPED, built.reason, None, None
    if failure is not None:
        return Status.FAILED, failure.reason, failure.stage, None if failure.log is None else failure.log.name
    unfinished = "the bench was stopped before its turn"
    if built is None:
        return Status.SKIPPED, unfinished, None, None
    invalid = _invalid(findings.runs(name))
    if not findings.kind(name, CLOSED):
        return (Status.INVALID, invalid, None, None) if invalid else (Status.SKIPPED, unfinished, None, None)
    if (cannot := findings.errors(name) or findings.hopeless(name)) is not None:
        return Status.REJECTED, cannot, None, None
    if not findings.steps(name):
        return (Status.INVALID, invalid, None, None) if invalid else (Status.SKIPPED, unfinished, None, None)
    if capacity.value is None:
        return Status.REJECTED, capacity.reason, None, None
    return Status.RANKED, None if complete else "from a bench that was stopped early", None, None


def entry(judged: Judged, cost: Estimate, findings: Findings) -> Entry:
    """What the ranking needs to know of a candidate that may be ranked."""
    name = judged.candidate.id
    medians = _compute_medians(findings.runs(name))
    return Entry(
        id=name,
        usd_per_million=cost,
        capacity_per_s=judged.capacity,
        latency_ms=_latency(findings, findings.kind(name, REFERENCE)),
        replicate_log_sd=float(np.std(np.log(medians), ddof=1)) if len(medians) > 1 else None,
        replicates=max(1, len(medians)),
    )


def row(judged: Judged, place: Place | None, findings: Findings, safety_factor: float | None) -> dict[str, Any]:
    """The row of `result.json`; see docs/result.md for each key."""
    candidate, name = judged.candidate, judged.candidate.id
    reference, closed = findings.kind(name, REFERENCE), findings.kind(name, CLOSED)
    ranked = place is not None
    return {
        "id": name,
        "instance": candidate.instance.name,
        "backend": candidate.options.backend,
        "precision": candidate.options.precision,
        "threads": candidate.options.threads,
        "workers": candidate.workers,
        "target": candidate.options.target,
        "key": candidate.key,
        "basis": "measured",
        "status": (Status.RANKED if ranked else judged.status).value,
        "reason": judged.reason if place is None else place.reason,
        "stage": judged.stage,
        "log": None if judged.log is None else f"logs/{judged.log}",
        **_load(findings, reference, closed),
        "latency_reason": None if reference else _no_latency(name, findings),
        "capacity_per_s": asdict(judged.capacity),
        "closed_capacity_per_s": findings.closed_capacity_per_s(name),
        **_prices(candidate, judged.capacity, safety_factor),
        **_artifact(judged.built),
        **_cold(findings, name),
        "validity": _validity(findings.runs(name), judged.status),
        "rank": place.rank if place else None,
        "tie_group": place.tie_group if place else None,
        "probability_best": place.probability_best if place else None,
        "steps": [_step(run) for run in findings.runs(name)],
        "cdf": _cdf(findings, reference),
        "service_cdf": _cdf(findings, closed),
    }


def cost(candidate: Candidate, capacity: Estimate, utilisation: float = 1.0) -> Estimate:
    return usd_per_million(candidate.instance.usd_per_hour, capacity, utilisation=utilisation)


def start_s(findings: Findings, name: str) -> float | None:
    """Median start-up over the candidate's visits: process start until the first inference was done."""
    known = [visit.cold.start_s for visit in findings.visits if visit.candidate == name and visit.cold]
    return float(np.median(known)) if known else None


def _load(findings: Findings, reference: Sequence[SeenRun], closed: Sequence[SeenRun]) -> dict[str, Any]:
    """Latency at the reference rate, service time with one user, and what the server said of itself."""
    samples = _pooled(findings, reference)
    seen = [run.measurement for run in reference]
    busiest = seen or [run.measurement for run in closed]
    return {
        "latency_ms": _plain(_latency(findings, reference)) or None,
        "service_ms": _plain(_service(findings, closed)) or None,
        "offered_per_s": _mean([each.offered_per_s for each in seen]),
        "achieved_per_s": _mean([each.achieved_per_s for each in seen]),
        "error_ratio": _mean([each.error_ratio for each in seen]),
        "queue_ms": _reported(samples, "queue_us"),
        "compute_ms": _reported(samples, "compute_us"),
        "transport_ms": _transport(samples),
        "cpu_utilization": _mean([each.cpu_utilization for each in busiest]),
        "memory_mb": max((each.memory_mb for each in busiest if each.memory_mb is not None), default=None),
        "generator_cpu_ms_per_request": _mean([each.generator_cpu_ms_per_request for each in busiest]),
    }


def _prices(candidate: Candidate, capacity: Estimate, safety_factor: float | None) -> dict[str, Any]:
    instance = candidate.instance
    none = Estimate(value=None, low=None, high=None, reason="there is no scaling target")
    return {
        "usd_per_hour": instance.usd_per_hour,
        "price": {"basis": instance.price_basis, "source": instance.price_source, "date": instance.price_date},
        "usd_per_million": asdict(cost(candidate, capacity)),
        "usd_per_million_at_target": asdict(none if safety_factor is None else cost(candidate, capacity, safety_factor)),
    }


def _artifact(built: Built | None) -> dict[str, Any]:
    made = built if isinstance(built, Artifact) else None
    return {
        "parity": asdict(made.parity) if made else None,
        "compile_s": made.compile_s if made else None,
        "compile_cached": made.cached if made else None,
        "artifact_bytes": made.size_bytes if made else None,
        "artifact_digest": made.digest if made else None,
        "artifact_details": {key: str(value) for key, value in made.details.items()} if made else None,
    }


def _cold(findings: Findings, name: str) -> dict[str, Any]:
    colds = [visit.cold for visit in findings.visits if visit.candidate == name and visit.cold]
    return {
        "start_s": start_s(findings, name),
        "load_s": float(np.median([cold.load_s for cold in colds])) if colds else None,
        "first_inference_ms": float(np.median([cold.first_inference_ms for cold in colds])) if colds else None,
        "starts": len(colds),
    }


def _step(run: SeenRun) -> dict[str, Any]:
    seen = run.measurement
    return {
        "kind": run.record.kind,
        "block": run.visit.block,
        "offered_per_s": seen.offered_per_s,
        "achieved_per_s": seen.achieved_per_s,
        "n": seen.planned,
        "violations": run.step.violations if run.step else None,
        "p50_ms": seen.latency_ms["p50"].value,
        "p99_ms": seen.latency_ms["p99"].value,
        "lateness_p99_ms": seen.lateness_ms.get("p99"),
        "valid": seen.validity.valid,
        "reasons": list(seen.validity.reasons),
        "samples": run.record.samples,
    }


def _validity(runs: Sequence[SeenRun], status: Status) -> dict[str, Any]:
    """Of the candidate as a whole: invalid only when invalid runs left too little to judge it by.

    Invalid runs decide nothing anyway; where enough others remain, what was wrong with them is a warning.
    """
    broken = [run for run in runs if not run.measurement.validity.valid]
    reasons = list(dict.fromkeys(reason for run in broken for reason in run.measurement.validity.reasons))
    warnings = list(dict.fromkeys(warning for run in runs for warning in run.measurement.validity.warnings))
    if status is Status.INVALID:
        return {"valid": False, "reasons": reasons, "warnings": warnings}
    left_out = [f"left out {len(broken)} of {len(runs)} runs as invalid: {'; '.join(reasons)}"] if broken else []
    return {"valid": True, "reasons": [], "warnings": left_out + warnings}


def _invalid(runs: Sequence[SeenRun]) -> str | None:
    """Why the runs of a candidate decide nothing, None when they do or there are none."""
    reasons = [run.measurement.validity.reasons for run in runs if not run.measurement.validity.valid]
    return f"{len(reasons)} of {len(runs)} runs are invalid: {reasons[0][0]}" if reasons else None


def _no_latency(name: str, findings: Findings) -> str:
    rate = findings.reference_rate_per_s
    closed = findings.closed_capacity_per_s(name)
    if rate is None or closed is None:
        return "no reference run was made"
    if not experiment.carries(rate, closed):
        return f"it cannot carry the reference rate of {rate:.3g}/s: its closed loop reaches {closed:.3g}/s"
    return "no valid reference run"


def _latency(findings: Findings, runs: Sequence[SeenRun]) -> dict[str, Quantile]:
    """Quantiles from when requests were due, over the pooled runs; lost requests count as infinitely slow."""
    samples = _pooled(findings, runs)
    return _quantiles(samples, "due_ns") if len(samples) else {}


def _service(findings: Findings, runs: Sequence[SeenRun]) -> dict[str, Quantile]:
    samples = _pooled(findings, runs)
    return _quantiles(samples, "sent_ns") if len(samples) else {}


def _quantiles(samples: Samples, start: str) -> dict[str, Quantile]:
    good = samples[samples["outcome"] == SUCCEEDED]
    values_ms = (good["done_ns"] - good[start]) / 1e6
    return {label: quantile(values_ms, p, failures=len(samples) - len(good)) for label, p in measuring.QUANTILES.items()}


def _pooled(findings: Findings, runs: Sequence[SeenRun]) -> Samples:
    arrays = [findings.samples(run.record) for run in runs]
    return np.concatenate(arrays) if arrays else np.empty(0)


def _reported(samples: Samples, field: str) -> dict[str, Any] | None:
    """Median of what the server reported for the requests that succeeded."""
    if not len(samples):
        return None
    known = samples[field][(samples["outcome"] == SUCCEEDED) & (samples[field] >= 0)]
    return asdict(quantile(known / 1e3, 0.5)) if len(known) else None


def _transport(samples: Samples) -> float | None:
    """Median of what neither queue nor compute explains: HTTP on both sides and the loopback."""
    if not len(samples):
        return None
    good = samples[(samples["outcome"] == SUCCEEDED) & (samples["compute_us"] >= 0) & (samples["queue_us"] >= 0)]
    rest_ms = (good["done_ns"] - good["sent_ns"]) / 1e6 - (good["queue_us"] + good["compute_us"]) / 1e3
    return quantile(rest_ms, 0.5).value if len(good) else None


def _cdf(findings: Findings, runs: Sequence[SeenRun]) -> dict[str, Any] | None:
    samples = _pooled(findings, runs)
    points = measuring.cdf(samples) if len(samples) else ()
    return {"share": [share for share, _ in points], "ms": [ms for _, ms in points]} if points else None


def _compute_medians(runs: Sequence[SeenRun]) -> list[float]:
    """The median compute time of each visit, ms: one replicate per server start."""
    by_visit: dict[str, list[float]] = {}
    for run in runs:
        seen = run.measurement.compute_ms
        if run.measurement.validity.valid and seen is not None and seen.value:
            by_visit.setdefault(run.visit.id, []).append(seen.value)
    return [float(np.median(values)) for values in by_visit.values()]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _plain(quantiles: dict[str, Quantile]) -> dict[str, Any]:
    return {label: asdict(value) for label, value in quantiles.items()}
