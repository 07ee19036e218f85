"""The curves of a row that follow from its measured services: `predicted` in the result."""

from __future__ import annotations

from typing import Any

from harness.capacity import elsewhere
from harness.capacity.finding import QUEUE
from harness.findings import Findings

_LABELS = tuple(f"p{100 * p:g}" for p in elsewhere.QUANTILES)


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


def _nothing(reason: str) -> dict[str, Any]:
    return {"slo_factor": None, "capacity_per_s": None, "rate_per_s": None, "latency_ms": None, "reason": reason}
