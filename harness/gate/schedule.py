"""In which order the versions of one night take their turns, and for how long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BASELINE, TONIGHT, TWIN, CANARY = "baseline", "tonight", "twin", "canary"
"""The accepted version, tonight's, the accepted one on a second server, and that one with extra work on top."""

UTILISATION = 0.5
"""The rate of the open loop as a share of what the baseline answers in a closed one: a queue forms, and stays short."""
UTILISATION_KEPT = (0.3, 0.65)
"""The baseline's own rate is kept as long as it makes the server no less and no more busy than this."""
SLICE_REQUESTS, SLICE_MIN_S, SLICE_MAX_S = 60, 2.5, 3.0
"""A slice is as long as so many requests take, within these bounds."""
CLOSED_SHARE = 0.4
"""The closed loop of a slice takes this share of its open loop's time."""


def order(block: int, arms: Sequence[str]) -> tuple[str, ...]:
    """Who is loaded after whom in a block: for two the quadruple ABBA, block by block; for more a Latin square in which each
    follows every other equally often (Williams, 1949), every row followed by its mirror image, so that a steady drift of the
    machine cancels within two blocks."""
    count = len(arms)
    zigzag = [(at + 1) // 2 if at % 2 else -at // 2 for at in range(count)]
    row = [arms[(step + block // 2) % count] for step in zigzag]
    return tuple(reversed(row)) if block % 2 else tuple(row)


def slice_s(rate_per_s: float, asked_s: float | None) -> float:
    """Seconds of open loop in a slice."""
    return asked_s if asked_s is not None else min(max(SLICE_REQUESTS / rate_per_s, SLICE_MIN_S), SLICE_MAX_S)


def rate_per_s(closed_per_s: float, promoted_rate_per_s: float | None) -> tuple[float, bool]:
    """The rate of the open loop, and whether it is the one of the promotion: nights at one rate can be compared."""
    low, high = UTILISATION_KEPT
    if promoted_rate_per_s is not None and low * closed_per_s <= promoted_rate_per_s <= high * closed_per_s:
        return promoted_rate_per_s, True
    return UTILISATION * closed_per_s, False


def seed(night: int, run: int, block: int, kind: int) -> int:
    """Of a slice's schedule and payloads: the same for every version of a block, another for each block, run and kind."""
    return int(np.random.SeedSequence([night, run, block, kind]).generate_state(1)[0])
