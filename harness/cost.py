"""What a million inferences cost on an instance, at its capacity or at the load a scaling target puts on it."""

from __future__ import annotations

from harness.nouns import Estimate

_SECONDS_PER_HOUR = 3600
_MILLION = 1e6


def usd_per_million(usd_per_hour: float | None, capacity_per_s: Estimate, *, utilisation: float = 1.0) -> Estimate:
    """USD per million inferences of an instance kept at `utilisation` (0..1] of its capacity.

    usd_per_hour / (capacity_per_s × utilisation × 3600) × 10^6, the price divided by what the instance serves in an hour. The
    interval is that of the capacity turned round: the lowest cost belongs to the highest capacity. The price counts as exact.
    """
    if not 0 < utilisation <= 1:
        raise ValueError(f"a utilisation lies in (0, 1], got {utilisation}")
    if usd_per_hour is None:
        return Estimate(value=None, low=None, high=None, reason="no price is known for the instance")
    if capacity_per_s.value is None:
        return Estimate(value=None, low=None, high=None, reason=capacity_per_s.reason or "the capacity was not measured")
    if capacity_per_s.value <= 0:
        return Estimate(value=None, low=None, high=None, reason="nothing can be served within the SLO")
    high = _cost(usd_per_hour, capacity_per_s.low, utilisation)
    reason = capacity_per_s.reason
    if high is None:
        reason = "the cost has no upper bound, because the capacity has no lower bound above 0"
    return Estimate(
        value=_cost(usd_per_hour, capacity_per_s.value, utilisation),
        low=_cost(usd_per_hour, capacity_per_s.high, utilisation),
        high=high,
        reason=reason,
    )


def _cost(usd_per_hour: float, rate_per_s: float | None, utilisation: float) -> float | None:
    if not rate_per_s:
        return None
    return usd_per_hour / (rate_per_s * utilisation * _SECONDS_PER_HOUR) * _MILLION
