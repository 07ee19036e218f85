"""One candidate's row of the result: its status with the reason, and every figure measured, null where none was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness import experiment, run_figures
from harness.cost import usd_per_million
from harness.findings import Findings, SeenRun
from harness.nouns import SLO, Artifact, Candidate, Estimate, Failure, Quantile, Skipped, Status
from harness.ranking import Entry, Place
from harness.reached.nouns import Reached
from harness.records import CLOSED, REFERENCE, VisitRecord
from harness.request import Remote
from harness.workbench import Built

_ELSEWHERE = (
    "threads", "workers", "cpu_utilization", "memory_mb", "start_s", "load_s", "first_inference_ms", "compile_s",
    "compile_cached", "artifact_bytes", "artifact_digest", "artifact_details",
)  # fmt: skip
_WHY_NOT = "somebody else serves the endpoint: its process, its start and its artifact cannot be seen from here"
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
    if (never := findings.unsteady(name)) is not None:
        return Status.INVALID, never, None, None
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
        latency_ms=run_figures.latency(findings, findings.kind(name, REFERENCE)),
        replicate_log_sd=float(np.std(np.log(medians), ddof=1)) if len(medians) > 1 else None,
        replicates=max(1, len(medians)),
    )


def row(judged: Judged, place: Place | None, findings: Findings, safety_factor: float | None) -> dict[str, Any]:
    """The row of `result.json`; see docs/result.md for each key."""
    candidate, name = judged.candidate, judged.candidate.id
    reference, closed = findings.kind(name, REFERENCE), findings.unqueued(name)
    ranked = place is not None
    return {
        "id": name,
        "instance": candidate.instance.name,
        "backend": candidate.options.backend,
        "precision": candidate.options.precision,
        "threads": None if candidate.remote else candidate.options.threads,
        "workers": None if candidate.remote else candidate.workers,
        "target": candidate.options.target,
        "key": candidate.key,
        "basis": "measured",
        "endpoint": None if candidate.remote is None else _endpoint(candidate.remote, judged.built),
        "projection": None,
        "unmeasured": {} if candidate.remote is None else dict.fromkeys(_ELSEWHERE, _WHY_NOT),
        "status": (Status.RANKED if ranked else judged.status).value,
        "reason": judged.reason if place is None else place.reason,
        "stage": judged.stage,
        "log": None if judged.log is None else f"logs/{judged.log}",
        **_load(findings, reference, closed),
        "latency_reason": None if reference else _no_latency(name, findings),
        "capacity_per_s": asdict(judged.capacity),
        "capacity_search": _search(findings, name),
        "closed_capacity_per_s": findings.closed_capacity_per_s(name),
        **_prices(candidate, judged.capacity, safety_factor),
        **_artifact(judged.built),
        **_cold(findings, name),
        "validity": _validity(findings.runs(name), judged.status),
        "rank": place.rank if place else None,
        "tie_group": place.tie_group if place else None,
        "probability_best": place.probability_best if place else None,
        "steps": [_step(run, findings.slo) for run in findings.runs(name)],
        "cdf": run_figures.cdf(findings, reference),
        "service_cdf": run_figures.cdf(findings, closed),
    }


def cost(candidate: Candidate, capacity: Estimate, utilisation: float = 1.0) -> Estimate:
    return usd_per_million(candidate.instance.usd_per_hour, capacity, utilisation=utilisation)


def median_latency(findings: Findings, name: str) -> Estimate:
    """The median latency (ms) at the reference rate."""
    seen = run_figures.latency(findings, findings.kind(name, REFERENCE)).get("p50")
    if seen is None:
        return Estimate(value=None, low=None, high=None, reason=_no_latency(name, findings))
    return Estimate(value=seen.value, low=seen.low, high=seen.high, reason=seen.reason)


def start_s(findings: Findings, name: str) -> float | None:
    """Median start-up over the candidate's visits: process start until the first inference was done."""
    known = [visit.cold.start_s for visit in findings.visits if visit.candidate == name and visit.cold]
    return float(np.median(known)) if known else None


def _load(findings: Findings, reference: Sequence[SeenRun], closed: Sequence[SeenRun]) -> dict[str, Any]:
    """Latency at the reference rate, service time with one user, and what the server said of itself."""
    samples = run_figures.pooled(findings, reference)
    seen = [run.measurement for run in reference]
    busiest = seen or [run.measurement for run in closed]
    return {
        "latency_ms": _plain(run_figures.latency(findings, reference)) or None,
        "service_ms": _plain(run_figures.service(findings, closed)) or None,
        "offered_per_s": _mean([each.offered_per_s for each in seen]),
        "achieved_per_s": _mean([each.achieved_per_s for each in seen]),
        "error_ratio": _mean([each.error_ratio for each in seen]),
        "queue_ms": run_figures.reported(samples, "queue_us"),
        "compute_ms": run_figures.reported(samples, "compute_us"),
        "transport_ms": run_figures.transport(samples),
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


def _search(findings: Findings, name: str) -> dict[str, Any] | None:
    """How the capacity was found: method, steps with the rules that ended them, confirmations, and the curve."""
    found = findings.capacity_findings.get(name)
    return None if found is None else {key: value for key, value in found.to_json().items() if key != "estimate"}


def _artifact(built: Built | None) -> dict[str, Any]:
    made = built if isinstance(built, Artifact) else None
    return {
        "parity": asdict(built.parity) if isinstance(built, Artifact | Reached) else None,
        "compile_s": made.compile_s if made else None,
        "compile_cached": made.cached if made else None,
        "artifact_bytes": made.size_bytes if made else None,
        "artifact_digest": made.digest if made else None,
        "artifact_details": dict(made.details) if made else None,
    }


def _endpoint(remote: Remote, built: Built | None) -> dict[str, Any]:
    return {"name": remote.name, "url": remote.url, "protocol": built.dialect if isinstance(built, Reached) else None}


def _cold(findings: Findings, name: str) -> dict[str, Any]:
    colds = [visit.cold for visit in findings.visits if visit.candidate == name and visit.cold]
    return {
        "start_s": start_s(findings, name),
        "load_s": float(np.median([cold.load_s for cold in colds])) if colds else None,
        "first_inference_ms": float(np.median([cold.first_inference_ms for cold in colds])) if colds else None,
        "starts": len(colds),
        "steady": _steady(findings, name),
    }


def _steady(findings: Findings, name: str) -> dict[str, Any]:
    """How the warm-ups ended, and the median time from process start to the steady state."""
    visits = [visit for visit in findings.visits if visit.candidate == name and visit.steadiness is not None]
    verdicts = Counter(visit.steadiness.verdict.value for visit in visits if visit.steadiness)
    known = [time for visit in visits if (time := _steady_s(visit)) is not None]
    return {
        "warm_ups": dict(verdicts),
        "time_to_steady_s": float(np.median(known)) if known else None,
        "reason": None if known else "no warm-up reached a steady state",
    }


def _steady_s(visit: VisitRecord) -> float | None:
    """From process start until the first window of the steady state; windows share the warm-up's time evenly."""
    found = visit.steadiness
    if found is None or found.begins is None or not found.windows or visit.cold is None or visit.warmup_s is None:
        return None
    return visit.cold.start_s + visit.warmup_s * found.begins / found.windows


def _step(run: SeenRun, slo: SLO | None) -> dict[str, Any]:
    """`violations` are of the limit on the highest quantile, `violations_by_limit` of all, in the SLO's order."""
    seen, broken = run.measurement, run.step.violations if run.step else None
    return {
        "kind": run.record.kind,
        "block": run.visit.block,
        "offered_per_s": seen.offered_per_s,
        "achieved_per_s": seen.achieved_per_s,
        "n": seen.planned,
        "violations": broken[slo.limits.index(slo.tail)] if broken and slo else None,
        "violations_by_limit": list(broken) if broken else None,
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
