"""When every request is due, computed before the load starts.

The schedule is a pure function of the profile, so that every candidate and both arms of a comparison get the same one
(common random numbers). Arrivals and payload order come from separate streams of the same seed: changing one leaves the other.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.nouns import LoadProfile

NS_PER_S = 1_000_000_000
MAX_ARRIVALS = 20_000_000
"""A schedule is held in memory by the generator; this is about 20 min at 16,000 per s."""

_ARRIVALS_STREAM, _PAYLOAD_STREAM = 0, 1


def arrivals(profile: LoadProfile) -> NDArray[np.int64]:
    """Offsets from the start of the window, ns, int64[n], sorted, each in [0, duration).

    `constant`: the i-th request is due at i / rate; n = ceil(rate * duration), exact in decimal arithmetic.
    `poisson`: a Poisson process conditioned on its number of arrivals, n = rate * duration rounded, at least 1. Locally the
    gaps are exponential as ever, but a run of forty requests offers the rate it claims instead of one 30 % off by chance.
    One seed gives the same arrivals at any rate with the same n, scaled.

    Raises UsageError for a closed profile, which has no schedule, and for one too long to hold.
    """
    rate = profile.rate_per_s
    if rate is None or not profile.open_loop:
        raise UsageError(f"a {profile.arrivals} load has no arrival schedule: its requests follow the replies")
    if rate * profile.duration_s > MAX_ARRIVALS:
        raise UsageError(f"{rate:g} per s for {profile.duration_s:g} s is over {MAX_ARRIVALS:,} requests; shorten the run")
    duration_ns = round(profile.duration_s * NS_PER_S)
    if profile.arrivals == "constant":
        offsets = _constant(rate, profile.duration_s)
    elif profile.arrivals == "poisson":
        offsets = _poisson(rate, profile.duration_s, profile.seed)
    else:
        raise UsageError(f"unknown arrival process {profile.arrivals!r}: known are constant, poisson, closed")
    return np.minimum(offsets, np.int64(duration_ns - 1))


def _constant(rate_per_s: float, duration_s: float) -> NDArray[np.int64]:
    # Through repr, 0.1 counts as the decimal the user wrote: 0.1 per s for 10 s is one request, not two.
    n = math.ceil(Fraction(repr(float(rate_per_s))) * Fraction(repr(float(duration_s))))
    return np.rint(np.arange(n) * NS_PER_S / rate_per_s).astype(np.int64)


def _poisson(rate_per_s: float, duration_s: float, seed: int) -> NDArray[np.int64]:
    """Offsets in ns: normalised partial sums of exponential gaps, that is, the order statistics of n uniform instants."""
    n = max(1, round(rate_per_s * duration_s))
    sums = np.cumsum(_stream(seed, _ARRIVALS_STREAM).standard_exponential(n + 1))
    offsets: NDArray[np.int64] = np.floor(sums[:-1] / sums[-1] * (duration_s * NS_PER_S)).astype(np.int64)
    return offsets


def payload_order(seed: int, n: int, payloads: int) -> NDArray[np.uint16]:
    """Which payload each of `n` requests carries: uint16[n], each below `payloads`.

    Every block of `payloads` requests carries each payload once, in a fresh random order, so that the mix is even over any
    stretch of the run. Raises UsageError unless 1 <= payloads <= 65535 and n >= 0.
    """
    if not 1 <= payloads <= 0xFFFF or n < 0:
        raise UsageError(f"cannot order {n} requests over {payloads} payloads: need 1 to 65535 payloads")
    blocks = np.tile(np.arange(payloads, dtype=np.uint16), (-(-n // payloads), 1))
    order: NDArray[np.uint16] = _stream(seed, _PAYLOAD_STREAM).permuted(blocks, axis=1).ravel()[:n]
    return order


def _stream(seed: int, stream: int) -> np.random.Generator:
    if seed < 0:
        raise UsageError(f"seed {seed} is negative; give 0 or more")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,))))
