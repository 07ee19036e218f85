"""How far price, load or SLO must move before the winner changes. Point estimates decide where; intervals say how surely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.decision import options
from harness.decision.changes import DOWN, UP, Change, Verdict, What, first_change, percent
from harness.decision.demandmap import DemandMap
from harness.decision.options import Curve, Option, ratio
from harness.nouns import SLO, Estimate
from harness.ranking import COST, LATENCY

_POINTS = 400
"""Places between now and the end of a curve: a change is found to within a percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What was decided: the winner among the options, by what, under which SLO, rate and demand."""

    winner: Option
    found: tuple[Option, ...]
    objective: str
    slo: SLO | None
    reference_rate_per_s: float | None
    demand_per_s: float | None
    by_demand: DemandMap | None


def changes(situation: Situation) -> list[Change]:
    """Price, load, SLO, in this order."""
    return [*_price(situation), *_load(situation), *_slo(situation)]


def _price(at: Situation) -> list[Change]:
    winner, of = at.winner, at.winner.instance
    if at.objective != COST:
        return [_never(What.PRICE, UP, winner.id, f"the objective is {at.objective}: no price decides", of)]
    priced = [each for each in at.found if each.usd_per_million.value]
    elsewhere = sorted((each for each in priced if each.instance != of), key=lambda each: each.usd_per_million.value or 0.0)
    if not elsewhere:
        return [_never(What.PRICE, UP, winner.id, f"every candidate with a price is on {of}: its price moves all alike", of)]
    rise = _moved(winner, ratio(elsewhere[0].usd_per_million, winner.usd_per_million, _variance(winner, elsewhere[0])))
    found = [_priced(winner, elsewhere[0], UP, winner, rise)]
    found.append(_never(What.PRICE, DOWN, winner.id, "a lower price only lets it win by more", of))
    for instance in dict.fromkeys(each.instance for each in elsewhere):
        best = next(each for each in elsewhere if each.instance == instance)
        fall = _moved(best, ratio(winner.usd_per_million, best.usd_per_million, _variance(winner, best)))
        found.append(_priced(winner, best, DOWN, best, fall))
    return found


def _moved(option: Option, factor: Estimate) -> tuple[float | None, Estimate]:
    price = option.usd_per_hour
    return (None if price is None or factor.value is None else price * factor.value), factor


def _variance(one: Option, other: Option) -> float:
    return one.start_variance + other.start_variance


def _priced(winner: Option, to: Option, direction: str, moving: Option, found: tuple[float | None, Estimate]) -> Change:
    """The change when the price of `moving`'s instance alone moves."""
    price, factor = found
    span = "" if factor.low is None or factor.high is None else f"; {percent(factor.low)} to {percent(factor.high)}"
    tied = factor.low is not None and factor.high is not None and factor.low <= 1 <= factor.high
    ahead = f"{to.id} is the cheaper" if direction == UP else f"{to.id} becomes the cheapest"
    said = (
        f"{moving.instance} {'may rise' if direction == UP else 'must fall'} to {price:.4g} USD/h "
        f"({percent(factor.value or 1.0)}{span}) before {ahead}{': within the interval already' if tied else ''}"
    )
    return Change(
        what=What.PRICE,
        direction=direction,
        verdict=Verdict.CHANGES,
        winner=winner.id,
        of=moving.instance,
        now=moving.usd_per_hour,
        at=price,
        factor=factor,
        to=to.id,
        said=said,
    )


def _load(at: Situation) -> list[Change]:
    if at.objective == LATENCY:
        return _load_by_latency(at)
    if at.objective != COST:
        return [_never(What.LOAD, UP, at.winner.id, "the objective is throughput: a capacity does not depend on the load")]
    by_demand = at.by_demand
    if by_demand is None:
        return [_unknown(What.LOAD, UP, at, "no candidate has a price and a lower bound of its capacity")]
    place = len(by_demand.stretches) - 1 if at.demand_per_s is None else by_demand.at(at.demand_per_s)
    if place is None:
        return [_unknown(What.LOAD, UP, at, f"{at.demand_per_s:.4g}/s is beyond what was looked at")]
    own = by_demand.stretches[place]
    return [_more(at, by_demand, place), _less(at, by_demand, place)] if own.above > 0 else [_more(at, by_demand, place)]


def _more(at: Situation, by_demand: DemandMap, place: int) -> Change:
    """What a higher demand changes."""
    own = by_demand.stretches[place]
    if own.up_to is None:
        always = f"above {own.above:.4g}/s" if own.above else "at any demand"
        return _never(
            What.LOAD, UP, own.id, f"its fleet is the cheapest {always}, however much more is asked", now=at.demand_per_s
        )
    if place + 1 == len(by_demand.stretches):
        said = f"{own.id} has the cheapest fleet up to {own.up_to:.4g}/s at least; further was not looked"
        return Change(
            what=What.LOAD,
            direction=UP,
            verdict=Verdict.STAYS,
            winner=own.id,
            now=at.demand_per_s,
            until=own.up_to,
            reason=said,
            said=said,
        )
    return _at_demand(at, own.id, UP, own.up_to, by_demand.stretches[place + 1].id)


def _less(at: Situation, by_demand: DemandMap, place: int) -> Change:
    own = by_demand.stretches[place]
    return _at_demand(at, own.id, DOWN, own.above, by_demand.stretches[place - 1].id)


def _at_demand(at: Situation, winner: str, direction: str, where: float, to: str) -> Change:
    now = at.demand_per_s
    factor = None if not now else Estimate(value=where / now, low=None, high=None, reason="instances come whole: no interval")
    moved = "" if factor is None else f" ({percent(where / (now or where))})"
    side = "above" if direction == UP else "at or below"
    said = f"{side} {where:.4g}/s{moved} the fleet of {to} is cheaper than that of {winner}"
    return Change(
        what=What.LOAD,
        direction=direction,
        verdict=Verdict.CHANGES,
        winner=winner,
        now=now,
        at=where,
        factor=factor,
        to=to,
        said=said,
    )


def _load_by_latency(at: Situation) -> list[Change]:
    """Another rate at which latencies are compared, by the queue of the measured services."""
    now = at.reference_rate_per_s
    curves = {each.id: curve for each in at.found if (curve := _through(each, now))}
    if now is None or at.winner.id not in curves or len(curves) < 2:
        return [_unknown(What.LOAD, UP, at, _curveless(at, "load"))]
    ends = [place for curve in curves.values() for place, _ in curve]
    found = []
    for direction, end in ((UP, max(ends)), (DOWN, min(ends))):
        places = np.geomspace(now, end, _POINTS).tolist()
        where, to = first_change(places, list(curves), at.winner.id, lambda name, x: options.at(curves[name], x))
        better = f"at {where:.4g}/s {to} answers sooner than {at.winner.id}"
        stays = f"{at.winner.id} has the lowest latency as far as {where:.4g}/s"
        found.append(_followed(What.LOAD, direction, at, now, where, to, better if to else stays, curves))
    return found


def _through(option: Option, rate_per_s: float | None) -> Curve:
    """The latency by load, scaled so that it has the measured one where that was measured; empty where it cannot be."""
    own = None if rate_per_s is None else options.at(option.by_load, rate_per_s)
    if own is None or option.latency_ms.value is None:
        return ()
    return tuple((rate, value * option.latency_ms.value / own) for rate, value in option.by_load)


def _slo(at: Situation) -> list[Change]:
    """The limits moved together, by the queue of the measured services."""
    if at.slo is None:
        return [_unknown(What.SLO, UP, at, "there is no SLO")]
    if at.objective == LATENCY:
        reason = "the objective is latency at one rate: the SLO says who may be ranked, not who is first"
        return [_never(What.SLO, UP, at.winner.id, reason)]
    curves = {each.id: each.by_limit for each in at.found if each.by_limit}
    prices = {each.id: (each.usd_per_hour if at.objective == COST else 1.0) for each in at.found}
    if at.winner.id not in curves or len(curves) < 2:
        return [_unknown(What.SLO, UP, at, _curveless(at, "SLO"))]

    def score(name: str, factor: float) -> float | None:
        capacity, price = options.at(curves[name], factor), prices[name]
        return None if capacity is None or price is None else price / capacity

    now, found = at.slo.tail.limit_ms, []
    for direction, end in ((UP, curves[at.winner.id][-1][0]), (DOWN, curves[at.winner.id][0][0])):
        factor, to = first_change(np.geomspace(1.0, end, _POINTS).tolist(), list(curves), at.winner.id, score)
        limit = f"a limit of {now * factor:.4g} ms ({percent(factor)})"
        better = f"with {limit} {to} is ahead of {at.winner.id}"
        stays = f"{at.winner.id} stays ahead as far as {limit}"
        found.append(_followed(What.SLO, direction, at, now, now * factor, to, better if to else stays, curves))
    return found


def _followed(
    what: What, direction: str, at: Situation, now: float, where: float, to: str | None, said: str, curves: Mapping[str, Curve]
) -> Change:
    """A change found along curves, or how far it was looked for."""
    left_out = tuple(each.id for each in at.found if each.id not in curves)
    factor = Estimate(value=where / now, low=None, high=None, reason="from the point estimates of the curves")
    return Change(
        what=what,
        direction=direction,
        verdict=Verdict.STAYS if to is None else Verdict.CHANGES,
        winner=at.winner.id,
        now=now,
        at=None if to is None else where,
        factor=None if to is None else factor,
        to=to,
        until=where if to is None else None,
        reason=said if to is None else None,
        said=said,
        left_out=left_out,
    )


def _curveless(at: Situation, what: str) -> str:
    own = at.winner
    curve = own.by_load if what == "load" else own.by_limit
    if not curve:
        return f"{own.id} cannot be followed to another {what}: {own.curve_reason or 'its curve is not in the result'}"
    return f"no other candidate can be followed to another {what}"


def _never(what: What, direction: str, winner: str, reason: str, of: str | None = None, now: float | None = None) -> Change:
    said = f"never: {reason}"
    return Change(
        what=what, direction=direction, verdict=Verdict.NEVER, winner=winner, of=of, now=now, reason=reason, said=said
    )


def _unknown(what: What, direction: str, at: Situation, reason: str) -> Change:
    said = f"not known: {reason}"
    return Change(what=what, direction=direction, verdict=Verdict.UNKNOWN, winner=at.winner.id, reason=reason, said=said)
