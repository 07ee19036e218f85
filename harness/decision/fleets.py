"""The smallest fleet of each candidate that carries a demand, what it costs, and what it costs to be able to lose one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.decision.options import Option

HOURS_PER_MONTH = 730
"""A year's hours by twelve, as cloud bills count."""
MOST_INSTANCES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """`instances` carry the demand under the SLO even at the lower end of the capacity's interval; `expected` at its estimate.
    With `safe` instances one may be lost and the rest still carry it. None, with the reason, where something is not known."""

    option: Option
    demand_per_s: float
    instances: int | None
    expected: int | None
    reason: str | None = None

    @property
    def safe(self) -> int | None:
        return None if self.instances is None else self.instances + 1

    def utilisation(self, instances: int | None) -> float | None:
        """Share of the capacity (estimate) in use."""
        capacity = self.option.capacity_per_s.value
        return None if not instances or not capacity else self.demand_per_s / (instances * capacity)

    def usd_per_month(self, instances: int | None) -> float | None:
        price = self.option.usd_per_hour
        return None if instances is None or price is None else instances * price * HOURS_PER_MONTH

    def to_json(self) -> dict[str, Any]:
        """A row of `decision.fleets`."""
        return {
            "id": self.option.id,
            "instance": self.option.instance,
            "basis": self.option.basis,
            "instances": self.instances,
            "instances_expected": self.expected,
            "utilization": self.utilisation(self.instances),
            "usd_per_month": self.usd_per_month(self.instances),
            "one_lost": {
                "instances": self.safe,
                "utilization": self.utilisation(self.safe),
                "utilization_after_loss": self.utilisation(self.instances),
                "usd_per_month": self.usd_per_month(self.safe),
            },
            "reason": self.reason,
        }


def fleet(option: Option, demand_per_s: float) -> Fleet:
    """Every instance is taken to carry what one alone carried: with a balancer that knows who is idle it is a little more."""
    capacity, reason = option.capacity_per_s, None
    instances, expected = count(demand_per_s, capacity.low), count(demand_per_s, capacity.value)
    if capacity.value is None:
        reason = capacity.reason or "its capacity is not known"
    elif not capacity.low:
        reason = "its capacity has no lower bound above 0, so no number of instances is sure to do"
    elif instances is None:
        reason = f"{demand_per_s:.4g}/s would take more than {MOST_INSTANCES:,} instances"
    elif option.usd_per_hour is None:
        reason = "no price is known for the instance"
    return Fleet(option=option, demand_per_s=demand_per_s, instances=instances, expected=expected, reason=reason)


def fleets(found: Sequence[Option], demand_per_s: float) -> list[Fleet]:
    """The cheapest first; those without a price or a size last, in the order given."""
    made = [fleet(option, demand_per_s) for option in found]
    return sorted(made, key=lambda each: _or_last(each.usd_per_month(each.instances)))


def count(demand_per_s: float, capacity_per_s: float | None) -> int | None:
    """Instances that carry a demand; None when the capacity is not known or too many would be needed."""
    if not capacity_per_s:
        return None
    needed = max(1, math.ceil(round(demand_per_s / capacity_per_s, 9)))
    return needed if needed <= MOST_INSTANCES else None


def _or_last(value: float | None) -> float:
    return math.inf if value is None else value
