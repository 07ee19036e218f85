"""Cost against latency: whom nobody beats in both, and by whom each of the others is beaten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.decision.options import Option, ratio, worse
from harness.nouns import Estimate


def pareto(found: Sequence[Option], quantile: str | None, tie_ratio: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """(`pareto`, `dominated_by`) of the result.

    A row is dominated by another that is no worse in either figure and better in one by more than a tie, so that a gap inside
    the intervals, wide where a row is projected, beats nobody. Being no worse is a partial order: somebody is always left.
    """
    whole = [each for each in found if each.usd_per_million.value is not None and each.latency_ms.value is not None]
    beaten = {each.id: _dominators(each, whole, tie_ratio) for each in whole}
    front = sorted((each for each in whole if not beaten[each.id]), key=_cost)
    drawn = {
        "latency": quantile,
        "points": [
            {
                "id": each.id,
                "basis": each.basis,
                "usd_per_million": asdict(each.usd_per_million),
                "latency_ms": asdict(each.latency_ms),
                "on_front": not beaten[each.id],
            }
            for each in sorted(whole, key=_cost)
        ],
        "front": [each.id for each in front],
        "left_out": [{"id": each.id, "reason": _missing(each)} for each in found if each.id not in beaten],
    }
    return drawn, {name: by for name, by in beaten.items() if by}


def _cost(option: Option) -> tuple[float, float, str]:
    return (option.usd_per_million.value or 0.0, option.latency_ms.value or 0.0, option.id)


def _dominators(own: Option, others: Sequence[Option], tie_ratio: float) -> list[dict[str, Any]]:
    """Who beats `own`, the cheapest first, and by how much: ratios above 1 say how much worse `own` is."""
    found = []
    for other in sorted(others, key=_cost):
        variance = own.start_variance + other.start_variance
        cost = ratio(own.usd_per_million, other.usd_per_million, variance)
        latency = ratio(own.latency_ms, other.latency_ms, variance)
        no_worse = all(each.value is not None and each.value >= 1 for each in (cost, latency))
        if other.id != own.id and no_worse and (worse(cost, tie_ratio) or worse(latency, tie_ratio)):
            found.append({"id": other.id, "cost_ratio": asdict(cost), "latency_ratio": asdict(latency)})
    return found


def _missing(option: Option) -> str:
    figures: tuple[tuple[str, Estimate], ...] = (("cost", option.usd_per_million), ("latency", option.latency_ms))
    return "; ".join(f"no {name}: {each.reason}" for name, each in figures if each.value is None)
