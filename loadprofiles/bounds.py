"""What the figures of a load profile may be: one place for files and for options alike."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator

MAX_RATE_PER_S = 1e6
MAX_USERS = 10_000
MAX_DURATION_S = 24 * 3600.0
MAX_REQUESTS = 20_000_000
MAX_SPAWN_PER_MIN = 600_000.0
MAX_STEPS = 1_000
MAX_TIMES = 1_000.0
MAX_COMPRESS = 1e6


class Bound:
    """Passes a number in low..high, without `low` itself when `above`, and a whole one when `whole`."""

    def __init__(self, low: float, high: float, *, above: bool = False, whole: bool = False, unit: str = "") -> None:
        self._low, self._high, self._above, self._whole = low, high, above, whole
        allowed = f"above {low:g} and at most {high:,.0f}" if above else f"{low:g} to {high:,.0f}"
        self._allowed = ("a whole number, " if whole else "") + allowed + (f" {unit}" if unit else "")

    def __call__(self, value: Any) -> Any:
        """`value` itself. Raises ValueError with what is allowed."""
        if isinstance(value, bool) or not isinstance(value, int if self._whole else int | float):
            raise ValueError(f"must be {self._allowed}, not {str(value)[:40]!r}")
        # In this order: an integer of a thousand digits is no float.
        if not self._low <= value <= self._high or not math.isfinite(value) or (self._above and value == self._low):
            raise ValueError(f"must be {self._allowed}, not {_short(value)}")
        return value


def _short(value: float) -> str:
    text = f"{value:,}" if isinstance(value, int) and abs(value) < 10**18 else str(value) if isinstance(value, float) else ""
    return text or "a number of more than 18 digits"


RATE = Bound(0, MAX_RATE_PER_S, above=True, unit="per s")
USERS = Bound(1, MAX_USERS, whole=True)
DURATION = Bound(0, MAX_DURATION_S, above=True, unit="s")
REQUESTS = Bound(1, MAX_REQUESTS, whole=True)
COMPRESS = Bound(0, MAX_COMPRESS, above=True)

Rate = Annotated[float, BeforeValidator(RATE)]
Users = Annotated[int, BeforeValidator(USERS)]
Duration = Annotated[float, BeforeValidator(DURATION)]
Requests = Annotated[int, BeforeValidator(REQUESTS)]
Compress = Annotated[float, BeforeValidator(COMPRESS)]
Steps = Annotated[int, BeforeValidator(Bound(1, MAX_STEPS, whole=True))]
PerMinute = Annotated[float, BeforeValidator(Bound(0, MAX_SPAWN_PER_MIN, unit="users per minute"))]
Times = Annotated[float, BeforeValidator(Bound(0, MAX_TIMES))]
