"""In which order the versions of one night take their turns, how long a turn is, and when each request in it is due.

The speed of a machine wanders: on a virtual one by several per cent within a second or two. What is compared must therefore
take turns much faster than that, so a block is one load in which the versions are asked in turns of 60 ms, over and over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.nouns import LoadProfile
from loadprofiles import schedule as arrivals

_Arm = TypeVar("_Arm")

BASELINE, TONIGHT, TWIN, CANARY = "baseline", "tonight", "twin", "canary"
"""The accepted version, tonight's, the accepted one on a second server, and that one with extra work on top."""

UTILISATION = 0.4
"""The rate of the latency turns as a share of what the baseline answers in a closed loop: a queue forms, and stays short."""
UTILISATION_KEPT = (0.25, 0.5)
"""The baseline's own rate is kept as long as it makes the server no less and no more busy than this."""
OVERLOAD = 1.3
"""The rate of the throughput turns over what the fastest version answers: the server is never without a request."""
TURN_S, TURN_SERVICES, TURN_MAX_S = 0.06, 10, 2.0
"""A latency turn takes so long, or so many service times where those are longer."""
BURST_S, BURST_LEAST, BURST_MOST = 0.05, 8, 60
"""A throughput turn has as many requests as are answered in this time, within these bounds."""
SLICE_S = 1.2
"""Latency turns of one version in a block, together."""
REST_SERVICES, REST_S = 2, 0.005
"""Between turns, so that one version's queue is empty when the next is asked."""
ROOM = 1.25
"""A throughput turn has this much more time than the baseline needs for it."""
MOST_APART = 20.0
LATENCY, THROUGHPUT = 0, 1
"""The kinds of turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What every block puts on the versions. Latency turns are at `rate_per_s`; the baseline answers `closed_per_s` in a closed
    loop. `slower` and `faster` are how many times longer or shorter any other version takes: turns have that much more room,
    and bursts come that much faster."""

    rate_per_s: float
    closed_per_s: float
    slice_s: float = SLICE_S
    slower: float = 1.0
    faster: float = 1.0

    @property
    def turn_s(self) -> float:
        return min(max(TURN_S, TURN_SERVICES / self.closed_per_s), TURN_MAX_S)

    @property
    def cycles(self) -> int:
        """Latency turns and throughput turns of each version in a block; even, so that every order has its mirror image."""
        return max(2, 2 * round(self.slice_s / self.turn_s / 2))

    @property
    def burst(self) -> int:
        return int(min(max(BURST_S * self.closed_per_s, BURST_LEAST), BURST_MOST))

    def block_s(self, versions: int) -> float:
        """The whole block's length."""
        return self.cycles * versions * (self.latency_turn_s + self.throughput_turn_s)

    @property
    def _rest_s(self) -> float:
        return REST_S + REST_SERVICES * self.slower / self.closed_per_s

    @property
    def latency_turn_s(self) -> float:
        busy = self.rate_per_s / self.closed_per_s * self.slower
        return self.turn_s * max(1.0, busy) + self._rest_s

    @property
    def throughput_turn_s(self) -> float:
        return ROOM * self.slower * self.burst / self.closed_per_s + self._rest_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turns:
    """The requests of one block, in the order due: offsets in ns, and for each whom it asks (index of the version), in which
    turn of that version (counted through), of which kind."""

    offsets_ns: NDArray[np.int64]
    version: NDArray[np.uint8]
    cycle: NDArray[np.int64]
    kind: NDArray[np.uint8]
    payload: NDArray[np.uint16]
    duration_s: float


def turns(load: Load, versions: int, block: int, seed: int, payloads: int) -> Turns:
    """One block: in each cycle every version has a latency turn, then in the reverse order a throughput turn. All versions get
    the same arrivals and payloads in a cycle."""
    rows: list[tuple[NDArray[np.int64], int, int, int, int]] = []
    at_s = 0.0
    for cycle in range(load.cycles):
        drawn = int(np.random.SeedSequence([seed, block, cycle]).generate_state(1)[0])
        profile = LoadProfile(arrivals="poisson", duration_s=load.turn_s, seed=drawn, rate_per_s=load.rate_per_s)
        kinds = {LATENCY: arrivals.arrivals(profile), THROUGHPUT: _burst(load)}
        row = order(block * load.cycles + cycle, list(range(versions)))
        for kind, who, lasts_s in (
            *((LATENCY, version, load.latency_turn_s) for version in row),
            *((THROUGHPUT, version, load.throughput_turn_s) for version in reversed(row)),
        ):
            rows.append((kinds[kind] + round(at_s * arrivals.NS_PER_S), who, cycle, kind, drawn))
            at_s += lasts_s
    counts = [len(offsets) for offsets, *_ in rows]
    return Turns(
        offsets_ns=np.concatenate([offsets for offsets, *_ in rows]),
        version=np.repeat(np.array([who for _, who, *_ in rows], np.uint8), counts),
        cycle=np.repeat(np.array([cycle for _, _, cycle, *_ in rows], np.int64), counts),
        kind=np.repeat(np.array([kind for *_, kind, _ in rows], np.uint8), counts),
        payload=np.concatenate([arrivals.payload_order(drawn, len(offsets), payloads) for offsets, *_, drawn in rows]),
        duration_s=at_s,
    )


def _burst(load: Load) -> NDArray[np.int64]:
    due = np.rint(np.arange(load.burst) * (arrivals.NS_PER_S / (OVERLOAD * load.faster * load.closed_per_s)))
    return np.asarray(due, dtype=np.int64)


def order(turn: int, arms: Sequence[_Arm]) -> tuple[_Arm, ...]:
    """Who is asked after whom: for two the quadruple ABBA, turn by turn; for more a Latin square in which each follows every
    other equally often (Williams, 1949), every row followed by its mirror image, so that a steady drift cancels within two."""
    count = len(arms)
    zigzag = [(at + 1) // 2 if at % 2 else -at // 2 for at in range(count)]
    row = [arms[(step + turn // 2) % count] for step in zigzag]
    return tuple(reversed(row)) if turn % 2 else tuple(row)


def rate_per_s(closed_per_s: float, promoted_rate_per_s: float | None) -> tuple[float, bool]:
    """The rate of the latency turns, and whether it is the one of the promotion: nights at one rate can be compared."""
    low, high = UTILISATION_KEPT
    if promoted_rate_per_s is not None and low * closed_per_s <= promoted_rate_per_s <= high * closed_per_s:
        return promoted_rate_per_s, True
    return UTILISATION * closed_per_s, False
