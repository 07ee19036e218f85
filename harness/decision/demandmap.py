"""Whose fleet is the cheapest at each demand: instances come whole, so a small demand may have another winner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.decision.options import Option

Floats = NDArray[np.float64]

MOST_STEPS = 5_000
"""Instances of the winner of large demands up to which is looked."""
_SAME = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Demands (1/s) above `above` up to `up_to`, at which the fleet of `id` costs least; None is without end."""

    above: float
    up_to: float | None
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandMap:
    """Stretches in order. `until` is how far was looked, None when the last stretch is proved to have no end."""

    stretches: tuple[Stretch, ...]
    until: float | None

    def at(self, demand_per_s: float) -> int | None:
        """Which stretch a demand lies in; None beyond what was looked at."""
        for place, each in enumerate(self.stretches):
            if demand_per_s <= (math.inf if each.up_to is None else each.up_to):
                return place
        return None


def demand_map(found: Sequence[Option], preferred: str, demand_per_s: float | None = None) -> DemandMap | None:
    """Of the options with a price and a lower bound of the capacity; None without any. `preferred` wins between equals.

    With rate = price / capacity, a fleet of i costs at least rate_i × demand and at most rate_i × demand + price_i. So beyond
    price_w / (rate_j - rate_w) no j is cheaper than the one with the lowest rate, w.
    """
    whole = [each for each in found if each.usd_per_hour is not None and each.capacity_per_s.low]
    if not whole:
        return None
    prices = np.array([each.usd_per_hour or 0.0 for each in whole])
    capacities = np.array([each.capacity_per_s.low or 1.0 for each in whole])
    rates = prices / capacities
    last = min(range(len(whole)), key=lambda place: (rates[place], whole[place].id != preferred, whole[place].id))
    gaps = rates - rates[last]
    ends = np.where(gaps > _SAME * rates[last], prices[last] / np.where(gaps > 0, gaps, 1.0), np.inf)
    ends[last] = 0.0
    # Who costs the same per request for ever is no cheaper at a demand without end, only at single steps before it.
    proved = float(ends.max())
    looked = min(proved, max(MOST_STEPS * float(capacities[last]), 4 * (demand_per_s or 0.0)))
    ends[last] = looked
    steps = [np.arange(1, 2 + int(min(end, looked) / each)) * each for end, each in zip(ends, capacities, strict=True)]
    places = np.unique(np.concatenate([*(each[:MOST_STEPS] for each in steps), [looked]]))
    places = places[(places > 0) & (places <= max(looked, float(capacities[last])))]
    order = _winners(places, prices, capacities, [each.id for each in whole], whole[last].id, preferred)
    stretches = _merged(places, order)
    if looked >= proved:
        end = stretches[-1] if stretches and stretches[-1].id == whole[last].id else None
        above = end.above if end else float(places[-1])
        kept = stretches[:-1] if end else stretches
        return DemandMap(stretches=(*kept, Stretch(above=above, up_to=None, id=whole[last].id)), until=None)
    return DemandMap(stretches=stretches, until=looked)


def _winners(places: Floats, prices: Floats, capacities: Floats, names: Sequence[str], last: str, preferred: str) -> list[str]:
    """Who costs least at each place. Between equals: the preferred, the winner of large demands, whoever was it before."""
    counts = np.maximum(1, np.ceil(np.round(places[:, None] / capacities[None, :], 9)))
    costs = counts * prices[None, :]
    cheap = costs <= costs.min(axis=1, keepdims=True) * (1 + _SAME)
    order: list[str] = []
    for row in cheap:
        equal = [name for name, is_cheap in zip(names, row, strict=True) if is_cheap]
        wanted = (preferred, last, order[-1] if order else None)
        order.append(next((name for name in wanted if name in equal), min(equal)))
    return order


def _merged(places: Floats, order: Sequence[str]) -> tuple[Stretch, ...]:
    found: list[Stretch] = []
    above = 0.0
    for place, name in zip(places.tolist(), order, strict=True):
        if found and found[-1].id == name:
            found[-1] = Stretch(above=found[-1].above, up_to=place, id=name)
        else:
            found.append(Stretch(above=above, up_to=place, id=name))
        above = place
    return tuple(found)
