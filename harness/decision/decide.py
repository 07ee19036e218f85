"""The key `decision` of the result, from its own rows: a report may ask again for another demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import slo as slos
from harness.decision import options
from harness.decision.demandmap import DemandMap, demand_map
from harness.decision.fleets import HOURS_PER_MONTH, Fleet, fleets
from harness.decision.pareto import pareto
from harness.decision.sensitivity import Situation, changes
from harness.ranking import COST, TIE_RATIO

NO_DEMAND = "no demand was given; ask with --demand 2000/s"
_STRETCHES_SHOWN = 60


def decide(
    rows: Sequence[Mapping[str, Any]],
    *,
    objective: str,
    slo: str | None,
    reference_rate_per_s: float | None,
    demand_per_s: float | None,
    tie_ratio: float = TIE_RATIO,
) -> dict[str, Any]:
    """`rows` are the candidates of a result, the ranked ones in order; see docs/result.md for what comes out."""
    quantile = options.common_quantile(rows)
    found = options.options(rows, quantile)
    drawn, dominated = pareto(found, quantile, tie_ratio)
    winner = found[0] if found else None
    by_demand = None if winner is None else demand_map(found, winner.id, demand_per_s)
    alone = "no candidate was ranked" if winner is None else "there is no other ranked candidate" if len(found) < 2 else None
    made = [] if demand_per_s is None else fleets(found, demand_per_s)
    situation = None
    if winner is not None and alone is None:
        situation = Situation(
            winner=winner,
            found=found,
            objective=objective,
            slo=None if slo is None else slos.parse(slo),
            reference_rate_per_s=reference_rate_per_s,
            demand_per_s=demand_per_s,
            by_demand=by_demand,
        )
    return {
        "tie_ratio": tie_ratio,
        "pareto": drawn,
        "dominated_by": dominated,
        "changes": [] if situation is None else [each.to_json() for each in changes(situation)],
        "changes_reason": alone,
        "demand_per_s": demand_per_s,
        "demand_reason": NO_DEMAND if demand_per_s is None else None,
        "hours_per_month": HOURS_PER_MONTH,
        "fleets": [each.to_json() for each in made],
        "cheapest": _cheapest(made),
        "fleet_by_demand": None if by_demand is None else _map(by_demand),
    }


def again(result: Mapping[str, Any], demand_per_s: float | None) -> dict[str, Any]:
    """The decision of a stored result for another demand."""
    return decide(
        result["candidates"],
        objective=result.get("objective") or COST,
        slo=(result.get("slo") or {}).get("text"),
        reference_rate_per_s=result.get("reference_rate_per_s"),
        demand_per_s=demand_per_s,
        tie_ratio=(result.get("decision") or {}).get("tie_ratio") or TIE_RATIO,
    )


def _cheapest(made: Sequence[Fleet]) -> str | None:
    first = made[0] if made else None
    return None if first is None or first.usd_per_month(first.instances) is None else first.option.id


def _map(found: DemandMap) -> dict[str, Any]:
    """The first stretches: with small fleets they alternate, and the last ones are what counts, so that one stays."""
    shown = [{"above_per_s": each.above, "up_to_per_s": each.up_to, "id": each.id} for each in found.stretches]
    left_out = max(0, len(shown) - _STRETCHES_SHOWN)
    if left_out:
        shown = [*shown[: _STRETCHES_SHOWN - 1], shown[-1]]
    return {"stretches": shown, "left_out": left_out, "until_per_s": found.until}
