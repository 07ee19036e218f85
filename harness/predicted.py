"""What the decisions need of a row beyond its figures: the curves that follow from its measured services, and its starts."""

from __future__ import annotations

from typing import Any

from harness.capacity import by_limit, elsewhere
from harness.capacity.finding import QUEUE
from harness.findings import Findings
from harness.ranking import Entry

_LABELS = tuple(f"p{100 * p:g}" for p in elsewhere.QUANTILES)


def beyond(findings: Findings, name: str, entry: Entry | None) -> dict[str, Any]:
    """Further keys of a measured row; `entry` is what it was ranked by, None when it was not."""
    colds = [visit.cold for visit in findings.visits if visit.candidate == name and visit.cold]
    return {
        "predicted": predicted(findings, name),
        "capacity_by_limit": capacity_by_limit(findings, name),
        "between_starts": {
            "log_sd": None if entry is None else entry.replicate_log_sd,
            "starts": len(colds) if entry is None else entry.replicates,
        },
        "starts_s": [cold.start_s for cold in colds],
    }


def predicted(findings: Findings, name: str) -> dict[str, Any]:
    """Capacity by the factor on the SLO's limits, latency by rate; null with the reason where the server is not the queue that
    these rest on."""
    found = findings.capacity_findings.get(name)
    if found is None or findings.slo is None:
        return _nothing("the capacity was not searched for")
    if found.method != QUEUE:
        return _nothing(f"the capacity was counted, not computed: {'; '.join(found.reasons)}")
    if found.estimate.value is None:
        return _nothing(found.estimate.reason or "it has no capacity")
    curves = elsewhere.predict(findings.open_runs(name), findings.slo, found.servers, found.estimate.value, findings.seed)
    return {
        "slo_factor": curves.slo_factors.tolist(),
        "capacity_per_s": curves.capacity_per_s.tolist(),
        "rate_per_s": curves.rates_per_s.tolist(),
        "latency_ms": {label: curves.latency_ms[:, at].tolist() for at, label in enumerate(_LABELS)},
        "reason": None,
    }


def capacity_by_limit(findings: Findings, name: str) -> dict[str, Any]:
    """The capacity over the limit, for whoever asks about another one; null for a candidate that no limit would rank."""
    failed = findings.failed(name)
    cannot = failed.failure.reason if failed and failed.failure else findings.errors(name) or findings.unsteady(name)
    found = findings.capacity_findings.get(name) if cannot is None else None
    if found is None:
        return by_limit.to_json((), None, cannot or findings.hopeless(name) or "the capacity was not searched for")
    return by_limit.to_json(findings.capacity_curves(name), found.method, "no request was answered")


def _nothing(reason: str) -> dict[str, Any]:
    return {"slo_factor": None, "capacity_per_s": None, "rate_per_s": None, "latency_ms": None, "reason": reason}
