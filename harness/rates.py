"""A rate as people write it: `2000/s`, `120000/min`, `7.2e6/h`, or a bare number of requests per second."""

from __future__ import annotations

import math
import re

from harness.errors import UsageError

MOST_PER_S = 1e9
_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0}
_RATE = re.compile(r"([^/\s]+)\s*(?:/\s*([a-z]+))?")


def per_second(text: str, option: str) -> float:
    """Requests per second; raises UsageError that names the option for what is no rate above 0 and at most `MOST_PER_S`."""
    found = _RATE.fullmatch(text.strip().lower())
    try:
        value = float(found[1]) if found else math.nan
    except ValueError:
        value = math.nan
    unit = _UNITS.get((found[2] or "") if found else "?")
    if unit is None or math.isnan(value):
        raise UsageError(f"{option} {text!r} is no rate; write a number with /s, /min or /h, such as {option} 2000/s")
    if not 0 < value / unit <= MOST_PER_S:
        raise UsageError(f"{option} {text!r} is impossible; allowed are rates above 0 and up to {MOST_PER_S:g}/s")
    return value / unit
