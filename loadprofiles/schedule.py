"""When every request is due, computed before the load starts.

The schedule is a pure function of the profile, so that every candidate and both arms of a comparison get the same one
(common random numbers). Arrivals and payload order come from separate streams of the same seed: changing one leaves the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError
from harness.nouns import LoadProfile, Segment
from loadprofiles.traces import Trace

NS_PER_S = 1_000_000_000
MAX_ARRIVALS = 20_000_000
"""A schedule is held in memory by the generator; this is about 20 min at 16,000 per s."""

_ARRIVALS_STREAM, _PAYLOAD_STREAM = 0, 1


def arrivals(profile: LoadProfile) -> NDArray[np.int64]:
    """Offsets from the start of the window, ns, int64[n], sorted, each in [0, duration).

    `constant`: the i-th request is due when the cumulative rate reaches i, at a fixed rate at i / rate; n = ceil(rate *
    duration), exact in decimal arithmetic.
    `poisson`: a Poisson process conditioned on its number of arrivals, n = the cumulative rate over the whole run, rounded, at
    least 1. Locally the gaps are exponential as ever, but a run of forty requests offers the rate it claims instead of one 30 %
    off by chance. One seed gives the same arrivals at any rate with the same n, scaled; a changing rate stretches and squeezes
    them by the inverse of its cumulative rate (Cinlar, Introduction to Stochastic Processes, 1975, chapter 4.7).

    Raises UsageError for a closed profile and a trace, which have no schedule of their own, and for one too long to hold.
    """
    if not profile.open_loop:
        raise UsageError(f"a {profile.arrivals} load has no arrival schedule: its requests follow the replies")
    if profile.arrivals not in ("constant", "poisson"):
        raise UsageError(f"unknown arrival process {profile.arrivals!r}: known are constant, poisson, closed")
    duration_s, total = profile.duration_s, _expected(profile)
    check_count(total, f"{total / duration_s:g} per s for {duration_s:g} s")
    if profile.arrivals == "poisson":
        shares = _order_statistics(max(1, round(total)), profile.seed)
        ns = _inverse(profile.segments, shares * total) * NS_PER_S if profile.segments else shares * (duration_s * NS_PER_S)
        offsets = np.floor(ns).astype(np.int64)
    elif profile.segments:
        # The cumulative rate is a sum of products: 5.000000000001 requests are five.
        n = math.ceil(round(total, 6))
        offsets = np.rint(_inverse(profile.segments, np.arange(n, dtype=float)) * NS_PER_S).astype(np.int64)
    else:
        offsets = _constant(float(profile.rate_per_s or 0), duration_s)
    return np.minimum(offsets, np.int64(round(duration_s * NS_PER_S) - 1))


def check_count(n: float, what: str) -> None:
    """Raises UsageError, beginning with `what`, when `n` requests are more than a schedule may hold."""
    if n > MAX_ARRIVALS:
        raise UsageError(f"{what} is over {MAX_ARRIVALS:,} requests; shorten the run")


def of_trace(trace: Trace, compress: float, duration_s: float, seed: int) -> NDArray[np.int64]:
    """The arrivals of a recorded trace, `compress` times as fast, cut at `duration_s`; as `arrivals` returns them.

    Recorded instants are replayed as they are. Of a recorded count per interval only the number is known: it is placed as a
    Poisson process conditioned on it, that is, uniformly at random over the interval.
    """
    end_ns = round(duration_s * NS_PER_S)
    if trace.counts is not None and trace.interval_ns is not None:
        counts = trace.counts[: math.ceil(end_ns * compress / trace.interval_ns)]
        check_count(int(counts.sum()), f"{trace.name}: {int(counts.sum()):,} in {duration_s:g} s")
        starts = np.repeat(np.arange(len(counts)), counts)
        inside = _stream(seed, _ARRIVALS_STREAM).random(len(starts))
        offsets = np.sort((starts + inside) * trace.interval_ns)
    else:
        offsets = np.asarray(trace.offsets_ns, dtype=np.float64)
        check_count(len(offsets), f"{trace.name}: {len(offsets):,} arrivals")
    scaled: NDArray[np.int64] = np.floor(offsets / compress).astype(np.int64)
    return scaled[scaled < end_ns]


def user_changes(profile: LoadProfile) -> NDArray[np.int64]:
    """When users of a closed loop join (+) or leave (-): int64[k, 2] of (offset in ns, change), sorted by offset.

    Without segments all are there from the start. Over a segment that rises, a user joins whenever the level reaches a whole
    number; over one that falls, one leaves whenever it does. Where segments do not join, the difference comes at once.
    """
    if profile.users is None:
        raise UsageError(f"a {profile.arrivals} load has no users: its requests are due whoever waits")
    if not profile.segments:
        return np.array([[0, profile.users]], dtype=np.int64)
    changes, at_s, present = [np.empty((0, 2), np.int64)], 0.0, 0
    for segment in profile.segments:
        levels = _crossed(segment)
        if levels[0] != present:
            changes.append(np.array([[round(at_s * NS_PER_S), levels[0] - present]], np.int64))
        if len(levels) > 1:
            share = (levels[1:] - segment.start) / (segment.end - segment.start)
            instants = np.rint((at_s + share * segment.duration_s) * NS_PER_S).astype(np.int64)
            changes.append(np.column_stack([instants, np.diff(levels)]))
        at_s, present = at_s + segment.duration_s, int(levels[-1])
    return np.concatenate(changes)


def _crossed(segment: Segment) -> NDArray[np.int64]:
    """The numbers of users present one after the other: whole users only, so rounded down on the way up, up on the way down."""
    hair = 1e-9  # 2.9999999996 of a sum of decimals is three
    if segment.end >= segment.start:
        return np.arange(math.floor(segment.start + hair), math.floor(segment.end + hair) + 1)
    return np.arange(math.ceil(segment.start - hair), math.ceil(segment.end - hair) - 1, -1)


def _expected(profile: LoadProfile) -> float:
    """The cumulative rate over the whole run, in requests."""
    if profile.segments:
        return math.fsum(each.duration_s * (each.start + each.end) / 2 for each in profile.segments)
    if profile.rate_per_s is None:
        raise UsageError(f"a {profile.arrivals} load needs a rate")
    return profile.rate_per_s * profile.duration_s


def _inverse(segments: Sequence[Segment], requests: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds at which the cumulative rate of `segments` reaches each of `requests`.

    Inside a segment of length d whose rate goes from a to b, a t + (b - a) t^2 / (2 d) = y has the root
    t = 2 y / (a + sqrt(a^2 + 2 (b - a) y / d)), which does not cancel when b is near a.
    """
    length, a, b = (np.array([getattr(each, name) for each in segments]) for name in ("duration_s", "start", "end"))
    before = np.concatenate([[0.0], np.cumsum(length * (a + b) / 2)])
    start_s = np.concatenate([[0.0], np.cumsum(length)])
    # The last segment that begins at or below; one without requests ends where it begins and is passed over.
    index = np.clip(np.searchsorted(before, requests, side="right") - 1, 0, np.flatnonzero(a + b > 0)[-1])
    y, d = requests - before[index], length[index]
    root = np.sqrt(np.maximum(a[index] ** 2 + 2 * (b[index] - a[index]) * y / d, 0.0))
    below = a[index] + root
    inside = np.divide(2 * y, below, out=np.zeros_like(y), where=below > 0)
    seconds: NDArray[np.float64] = start_s[index] + np.minimum(inside, d)
    return seconds


def _constant(rate_per_s: float, duration_s: float) -> NDArray[np.int64]:
    # Through repr, 0.1 counts as the decimal the user wrote: 0.1 per s for 10 s is one request, not two.
    n = math.ceil(Fraction(repr(float(rate_per_s))) * Fraction(repr(float(duration_s))))
    return np.rint(np.arange(n) * NS_PER_S / rate_per_s).astype(np.int64)


def _order_statistics(n: int, seed: int) -> NDArray[np.float64]:
    """`n` uniform shares of the whole, 0..1, sorted: normalised partial sums of exponential gaps."""
    sums = np.cumsum(_stream(seed, _ARRIVALS_STREAM).standard_exponential(n + 1))
    shares: NDArray[np.float64] = sums[:-1] / sums[-1]
    return shares


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
