"""How figures and foreign text are written for people: digits by the width of the interval, a dash for what is absent."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from reports import result as read

DASH = "–"
NO_REASON = "not measured; the result gives no reason"

# Controls, lone surrogates, and every character that reorders or hides its neighbours: a name must not be able to disguise
# itself, nor drive a terminal.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def clean(text: object, limit: int = 600) -> str:
    """`text` with unsafe characters shown as `�` and the middle left out beyond `limit` characters."""
    whole = str(text)
    if len(whole) > limit:
        head = limit * 2 // 3
        whole = f"{whole[:head]}…{whole[len(whole) - (limit - head - 1) :]}"
    return _UNSAFE.sub("\ufffd", whole)


def name(text: object, limit: int = 64) -> str:
    """A name on one line, shortened for display."""
    return clean(" ".join(clean(text, 4 * limit).split()), limit)


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def _decimals(value: float, low: float | None, high: float | None) -> int:
    """Decimals that show the first digit of the interval's half-width, and its second where the first is 1 or 2, but two
    to four digits of the value itself."""
    own = _magnitude(value) if value else 0
    if low is None or high is None or high <= low:
        return 2 - own
    half = (high - low) / 2
    shown = -_magnitude(half) + (half < 3 * 10.0 ** _magnitude(half))
    return min(max(shown, 1 - own), 3 - own)


def _fixed(value: float, decimals: int) -> str:
    if not value:
        return "0"
    if abs(value) < 1e-4 or abs(value) >= 1e9:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    if round(value, decimals) == 0:
        decimals = -_magnitude(value)
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def number(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """`value` with as many digits as its interval supports, three significant ones without an interval."""
    return DASH if value is None else _fixed(value, _decimals(value, low, high))


def interval(value: float | None, low: float | None, high: float | None) -> str | None:
    """`low–high` with the digits of `number`, an open end as `?`; None when there is neither end."""
    if low is None and high is None:
        return None
    base = next(item for item in (value, low, high) if item is not None)
    decimals = _decimals(base, low, high)
    return DASH.join("?" if end is None else _fixed(end, decimals) for end in (low, high))


def usd(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """US dollars; at least whole cents from one dollar to a hundred."""
    return DASH if value is None else f"${_fixed(value, _money_decimals(value, low, high))}"


def usd_interval(value: float | None, low: float | None, high: float | None) -> str | None:
    """`$low–high` with the digits of `usd`, an open end as `?`; None when there is neither end."""
    if low is None and high is None:
        return None
    base = next(item for item in (value, low, high) if item is not None)
    decimals = _money_decimals(base, low, high)
    return "$" + DASH.join("?" if end is None else _fixed(end, decimals) for end in (low, high))


def _money_decimals(value: float, low: float | None, high: float | None) -> int:
    decimals = _decimals(value, low, high)
    return max(decimals, 2) if 1 <= abs(value) < 100 else 0 if abs(value) >= 100 else decimals


def percent(share: float | None) -> str:
    """A share as per cent; never rounded to a certainty that it is not."""
    if share is None:
        return DASH
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", " %")
    if 0.995 < share < 1:
        return f">{99 if share < 0.999 else 99.9:g} %"
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.2g} %"


def compact(value: float | None) -> str:
    """A count with three significant digits and a decimal prefix: 25.6 M."""
    if value is None:
        return DASH
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{number(value / factor)} {prefix}"
    return f"{value:g}"


def size(value_bytes: float | None) -> str:
    """Bytes with a binary prefix: 97.8 MiB."""
    if value_bytes is None:
        return DASH
    for factor, unit in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if abs(value_bytes) >= factor:
            return f"{number(value_bytes / factor)} {unit}"
    return f"{value_bytes:g} bytes"


def duration(value_s: float | None) -> str:
    """Seconds as the two largest units that fit: 850 ms, 12.3 s, 4 min 5 s, 1 h 2 min."""
    if value_s is None:
        return DASH
    if value_s < 1:
        return f"{number(value_s * 1000)} ms"
    if value_s < 120:
        return f"{number(value_s)} s"
    minutes, seconds = divmod(round(value_s), 60)
    hours, minutes = divmod(minutes, 60)
    large, small = ((hours, "h"), (minutes, "min")) if hours else ((minutes, "min"), (seconds, "s"))
    return " ".join(f"{count} {unit}" for count, unit in (large, small) if count)


def instant(stamp: str | None) -> str | None:
    """`2026-11-22 09:30 UTC` from an ISO instant with a zone; anything else as it is."""
    try:
        at = datetime.fromisoformat(stamp or "")
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at.tzinfo else stamp
    except (ValueError, OverflowError):
        return stamp


def estimate(data: Mapping[str, Any] | None) -> str:
    """`value [low–high]` of an estimate, in its own unit; the dash when it has no value."""
    value, low, high = (read.number(data, key) for key in ("value", "low", "high"))
    span = interval(value, low, high)
    return number(value, low, high) + (f" [{span}]" if value is not None and span else "")
