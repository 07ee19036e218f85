"""The Universal Scalability Law (Gunther, 1993) of the closed loop: where to search, never the answer.

X(N) = g N / (1 + a (N - 1) + b N (N - 1)) for N users, with contention a >= 0 and coherency b >= 0; it peaks at
N = sqrt((1 - a) / b).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from harness.capacity.finding import ClosedPoint, UslFit

Floats = NDArray[np.float64]

LEAST_POINTS = 4
_FALL = 0.97
"""Throughput at the most users, as a share of the highest, below which it counts as falling."""


def throughput_per_s(users: Floats, gain_per_s: float, contention: float, coherency: float) -> Floats:
    """X(N), 1/s, of shape (n,)."""
    return np.asarray(gain_per_s * users / (1 + contention * (users - 1) + coherency * users * (users - 1)), dtype=np.float64)


def fit(points: Sequence[ClosedPoint]) -> UslFit:
    """Least squares in relative error over at least four numbers of users."""
    users = np.array([point.users for point in points], dtype=float)
    seen = np.array([point.per_s for point in points], dtype=float)
    if np.unique(users).size < LEAST_POINTS:
        return _none(f"{np.unique(users).size} numbers of users were tried, a fit needs {LEAST_POINTS}")
    if not (np.isfinite(seen).all() and (seen > 0).all() and (users >= 1).all()):
        return _none("a closed loop answered nothing")
    first = float(np.max(seen / users))
    try:
        (gain, contention, coherency), _ = optimize.curve_fit(
            throughput_per_s, users, seen, p0=(first, 0.1, 1e-3), sigma=seen, bounds=([0, 0, 0], [np.inf, 1, 1])
        )
    except RuntimeError as error:
        return _none(f"the fit did not converge: {error}")
    return _described(users, seen, float(gain), float(contention), float(coherency))


def _described(users: Floats, seen: Floats, gain: float, contention: float, coherency: float) -> UslFit:
    peak = math.sqrt((1 - contention) / coherency) if coherency > 1e-9 and contention < 1 else math.inf
    # Beyond the users that were tried the law is a guess; a peak there is none that was seen.
    at = float(np.clip(peak, 1, users.max()))
    highest = float(throughput_per_s(np.array([at]), gain, contention, coherency)[0])
    return UslFit(
        gain_per_s=gain,
        contention=contention,
        coherency=coherency,
        peak_users=at if peak <= users.max() else None,
        peak_per_s=highest,
        retrograde=bool(peak < users.max() and seen[users.argmax()] < _FALL * seen.max()),
        effective_servers=highest / gain,
    )


def _none(reason: str) -> UslFit:
    return UslFit(
        gain_per_s=None,
        contention=None,
        coherency=None,
        peak_users=None,
        peak_per_s=None,
        retrograde=None,
        effective_servers=None,
        reason=reason,
    )
