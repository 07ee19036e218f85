"""One answer to "how far must it move before the winner changes", and the sentence that goes with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from harness.nouns import Estimate


class What(StrEnum):
    """What may move."""

    PRICE = "price"
    LOAD = "load"
    SLO = "slo"


class Verdict(StrEnum):
    """What is known of a direction."""

    CHANGES = "changes"
    STAYS = "stays"
    """As far as was looked."""
    NEVER = "never"
    UNKNOWN = "unknown"


UP, DOWN = "up", "down"
UNITS = {What.PRICE: "USD/h", What.LOAD: "1/s", What.SLO: "ms"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From `now` in one `direction`, `to` takes the place of `winner` at `at`; `factor` is at / now, with an interval where the
    figures have one. Without a change `until` is how far the winner was seen to stay, and `reason` says why it always does or
    why nobody knows. `of` is the instance whose price moves, `left_out` who could not be followed."""

    what: What
    direction: str
    verdict: Verdict
    winner: str
    of: str | None = None
    now: float | None = None
    at: float | None = None
    factor: Estimate | None = None
    to: str | None = None
    until: float | None = None
    reason: str | None = None
    said: str = ""
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """An item of `decision.changes`."""
        return asdict(self) | {
            "what": self.what.value,
            "verdict": self.verdict.value,
            "unit": UNITS[self.what],
            "factor": None if self.factor is None else asdict(self.factor),
            "left_out": list(self.left_out),
        }


def percent(factor: float) -> str:
    """`+12 %` or `−12 %`; above doubling `2.4 times`."""
    if factor >= 2:
        return f"{factor:.3g} times"
    moved = 100 * (factor - 1)
    size = f"{abs(moved):.2g}" if abs(moved) < 99.5 else "100"  # and not 1e+02
    return f"{'+' if moved >= 0 else '−'}{size} %"


Score = Callable[[str, float], float | None]
"""Of a candidate at a place; smaller is better, None where it cannot be."""


def first_change(places: Sequence[float], names: Sequence[str], winner: str, score: Score) -> tuple[float, str | None]:
    """Going through `places` away from now: (the first at which another is better than the winner, who), or (the last at
    which the winner still leads, None)."""
    reached = places[0]
    for place in places:
        known = {name: value for name in names if (value := score(name, place)) is not None}
        if not known:
            break
        best = min(known, key=lambda name: (known[name], name))
        if winner not in known or known[best] < known[winner]:
            return place, best
        reached = place
    return reached, None
