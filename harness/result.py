"""The result: everything that was decided and every figure behind it, as the JSON that reports and gates read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness import chronicle, environment, failed_build, rows, scaling, twin
from harness.bench import Outcome
from harness.decision.decide import decide
from harness.lanes import LanePlan
from harness.nouns import SLO, Candidate, ModelSpec, Status
from harness.predicted import beyond
from harness.ranking import LATENCY, TIE_RATIO, Entry, Ranking, rank
from harness.request import BenchRequest
from harness.resultfile import SCHEMA
from harness.rows import Judged
from harness.scaling import ScalingSuggestion
from harness.twin import TwinFinding


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What the result says beside the measurements."""

    run_id: str
    created_utc: str
    duration_s: float
    request: BenchRequest
    model: ModelSpec
    notes: tuple[str, ...]
    environment: Mapping[str, Any]
    lane_plan: LanePlan
    outcome: Outcome


def assemble(facts: RunFacts, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """The whole result. A value that was not measured is null, and its neighbour `reason` says why."""
    findings, outcome, request = facts.outcome.findings, facts.outcome, facts.request
    judged = [
        rows.judge(candidate, outcome.built.get(candidate.id), findings, complete=outcome.complete) for candidate in candidates
    ]
    entries = [
        rows.entry(each, rows.cost(each.candidate, each.capacity), findings) for each in judged if each.status is Status.RANKED
    ]
    twins = _twins(facts)
    tie_ratio = TIE_RATIO if twins is None else twins.tie_ratio
    ranking = rank(
        entries,
        request.objective,
        np.random.default_rng(request.seed),
        reference_rate_per_s=findings.reference_rate_per_s,
        tie_ratio=tie_ratio,
    )
    made = _rows(judged, entries, ranking, facts)
    return {
        "schema": SCHEMA,
        "run": _run(facts),
        "model": _model(facts.model),
        "environment": dict(facts.environment),
        "slo": _slo(findings.slo),
        "objective": request.objective,
        "reference_rate_per_s": findings.reference_rate_per_s,
        "generator": _generator(facts),
        "twin": None if twins is None else asdict(twins),
        "interference": None if outcome.interference is None else dict(outcome.interference),
        "notes": _notes(facts, twins),
        "timeline": chronicle.timeline(findings),
        "candidates": made,
        "recommendation": _recommendation(ranking),
        "recommendation_reason": None if ranking.winner else _nearest(judged, facts),
        "scaling": _scaling(ranking, judged, facts),
        "decision": decide(
            made,
            objective=request.objective,
            slo=None if findings.slo is None else str(findings.slo),
            reference_rate_per_s=findings.reference_rate_per_s,
            demand_per_s=request.demand_per_s,
            tie_ratio=tie_ratio,
        ),
    }


def _twins(facts: RunFacts) -> TwinFinding | None:
    """What the hidden A/A twin shows about this bench, in the figure that candidates are ranked by."""
    own, findings = facts.outcome.twin, facts.outcome.findings
    if own is None:
        return None
    if facts.request.objective == LATENCY:
        return twin.compare(own, "p50_ms", {name: rows.median_latency(findings, name) for name in (own, twin.twin_id(own))})
    # Price and safety factor of twins are the same, so the cost differs exactly as the capacity does.
    return twin.compare(own, "capacity_per_s", findings.capacities)


def _rows(judged: Sequence[Judged], entries: Sequence[Entry], ranking: Ranking, facts: RunFacts) -> list[dict[str, Any]]:
    """Ranked rows in order, then the others as they were enumerated."""
    ranked_by = {entry.id: entry for entry in entries}
    places = {place.id: place for place in ranking.places}
    without = {each.id: each.reason for each in ranking.unranked}
    made = []
    for each in judged:
        suggestion = _suggest(each, facts)
        value = rows.row(each, places.get(each.candidate.id), facts.outcome.findings, suggestion.safety_factor)
        value |= beyond(facts.outcome.findings, each.candidate.id, ranked_by.get(each.candidate.id))
        value["price"] = {**value["price"], "spot_usd_per_hour": each.candidate.instance.spot_usd_per_hour}
        value |= failed_build.of(each.built)
        if each.candidate.id in without:
            value |= {"status": Status.REJECTED.value, "reason": without[each.candidate.id]}
        made.append(value)
    order = [place.id for place in ranking.places]
    return sorted(made, key=lambda value: order.index(value["id"]) if value["id"] in order else len(order))


def _suggest(judged: Judged, facts: RunFacts) -> ScalingSuggestion:
    return scaling.suggest(
        judged.capacity,
        rows.start_s(facts.outcome.findings, judged.candidate.id),
        facts.request.growth_per_min,
        facts.request.peak_per_s,
        endpoint=facts.model.name,
    )


def _scaling(ranking: Ranking, judged: Sequence[Judged], facts: RunFacts) -> dict[str, Any] | None:
    """The suggestion for the recommended candidate."""
    winner = ranking.winner
    if winner is None:
        return None
    return next(_suggest(each, facts).to_json() for each in judged if each.candidate.id == winner.id)


def _recommendation(ranking: Ranking) -> dict[str, Any] | None:
    winner = ranking.winner
    if winner is None:
        return None
    return {"id": winner.id, "why": ranking.why, "probability_best": winner.probability_best, "basis": "measured"}


def _nearest(judged: Sequence[Judged], facts: RunFacts) -> str:
    """Why nothing is recommended, with the distance of the candidate that came nearest to the SLO."""
    findings = facts.outcome.findings
    slo, near = findings.slo, None
    for each in judged:
        for run in findings.kind(each.candidate.id, "closed"):
            service = run.measurement.service_ms["p50"].value
            if service is not None and (near is None or service < near[1]):
                near = (each.candidate.id, service)
    if near is None or slo is None:
        return "no candidate could be measured"
    # A median says nothing against a limit on a quantile below it.
    telling = [limit.limit_ms for limit in slo.limits if limit.quantile >= 0.5]
    if telling and near[1] > min(telling):
        return (
            f"no candidate met {slo}: the nearest, {near[0]}, takes {near[1]:.3g} ms (median, one user, no queue), "
            f"{near[1] / min(telling):.2g} times the limit"
        )
    return f"no candidate met {slo} at any tested rate; the fastest with one user is {near[0]} at {near[1]:.3g} ms (median)"


def _run(facts: RunFacts) -> dict[str, Any]:
    return {
        "id": facts.run_id,
        "created_utc": facts.created_utc,
        "command": facts.request.command,
        "profile": facts.request.profile,
        "seed": facts.request.seed,
        "state": "complete" if facts.outcome.complete else "partial",
        "lanes": len(facts.lane_plan.lanes),
        "screening_only": facts.lane_plan.why_screening is not None,
        "duration_s": facts.duration_s,
        "loadstone_version": environment.version("loadstone"),
    }


def _model(spec: ModelSpec) -> dict[str, Any]:
    value = asdict(spec)
    return value | {"inputs": list(value["inputs"]), "outputs": list(value["outputs"])}


def _slo(slo: SLO | None) -> dict[str, Any] | None:
    """All limits, and beside them the one on the highest quantile, which is the one to draw."""
    if slo is None:
        return None
    limits = [{**asdict(limit), "text": str(limit)} for limit in slo.limits]
    rest = {"max_error_ratio": slo.max_error_ratio, "source": slo.source, "text": str(slo)}
    return {**asdict(slo.tail), **rest, "limits": limits}


def _generator(facts: RunFacts) -> dict[str, Any]:
    findings = facts.outcome.findings
    costs = [
        run.measurement.generator_cpu_ms_per_request
        for visit in {visit.candidate: visit for visit in findings.visits}
        for run in findings.runs(visit)
        if run.measurement.generator_cpu_ms_per_request is not None
    ]
    return {
        **asdict(facts.outcome.generator),
        "cpu_ms_per_request": float(np.median(costs)) if costs else None,
    }


def _notes(facts: RunFacts, twins: TwinFinding | None) -> list[str]:
    notes = list(facts.notes)
    if twins is not None and twins.separated:
        notes.append(
            f"The bench separated {twins.candidate} from its own twin by {twins.ratio.value:.3g}x in {twins.metric}: "
            "differences up to that are called ties."
        )
    if facts.outcome.interference is not None and facts.outcome.interference["why_serial"] is not None:
        notes.append(f"Measured one candidate at a time: {facts.outcome.interference['why_serial']}.")
    if facts.lane_plan.why_screening is not None:
        notes.append(f"Screening only: {facts.lane_plan.why_screening}.")
    if not facts.outcome.complete:
        notes.append("The bench was stopped before its end; what is shown was measured until then.")
    torch_rows = [name for name in facts.outcome.built if name.startswith(("torch@", "inductor@"))]
    if torch_rows and "AMD" in str(facts.environment.get("cpu_model")):
        notes.append(
            "On AMD processors torch's fp32 matrix product goes to MKL, which reaches about half of what the core can do."
        )
    return notes
