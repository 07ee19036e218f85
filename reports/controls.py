"""The controls of the live what-if, as values for the template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.ranking import LATENCY
from reports import result as read
from reports import text, whatif

_QUANTILES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One option of a list."""

    value: str
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitControl:
    """One limit of the SLO: its quantile and its ms."""

    quantiles: tuple[Choice, ...]
    limit_ms: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """`limit_reason` is why the limit cannot be changed, None when it can; the same for `spot_reason`."""

    limits: tuple[LimitControl, ...]
    limit_reason: str | None
    demand: str
    objectives: tuple[Choice, ...]
    spot_reason: str | None
    instances: tuple[tuple[str, str], ...]
    """Name and price per hour of every instance."""
    quantile: str
    """Of the first limit, for the table."""


def controls(model: Mapping[str, Any]) -> Controls | None:
    """What can be asked about `model`; None where there is nothing to rank again."""
    rows = [row for row in model["rows"] if row["may_rank"]]
    if not rows:
        return None
    known, own = whatif.limit_known(model), whatif.original(model)
    has = {name for row in rows for name in row["curves"]}
    offered = [q for q in _QUANTILES if read.percentile_name(q) in has]
    quantiles = sorted({*offered, *(quantile for quantile, _ in own.limits)})
    spot = any(row["spot_usd_per_hour"] is not None for row in rows)
    return Controls(
        limits=tuple(
            LimitControl(
                quantiles=tuple(_choice(f"{each:.6g}", read.percentile_name(each), each == quantile) for each in quantiles),
                limit_ms=f"{limit:g}",
            )
            for quantile, limit in own.limits
        ),
        limit_reason=None if known else _why_not(rows, own),
        demand="" if own.demand_per_s is None else f"{own.demand_per_s:g}",
        objectives=tuple(_objective(model, key, said, own.objective) for key, said in whatif.OBJECTIVES.items()),
        spot_reason=None if spot else "no spot price is known for these instances",
        instances=tuple({row["instance"]: _price(row["usd_per_hour"]) for row in rows}.items()),
        quantile=read.percentile_name(own.limits[0][0]) if own.limits else "latency",
    )


def _why_not(rows: list[Mapping[str, Any]], own: whatif.Settings) -> str:
    if not own.limits:
        return "the run had no SLO"
    return str(rows[0]["curve_reason"])


def _choice(value: str, label: str, chosen: bool) -> Choice:
    return Choice(value=value, label=label, chosen=chosen)


def _objective(model: Mapping[str, Any], key: str, said: str, own: str) -> Choice:
    rate = model["rate_per_s"]
    at = f" at {text.number(rate)} requests/s" if key == LATENCY and rate is not None else ""
    return _choice(key, f"{said}{at}", key == own)


def _price(usd_per_hour: float | None) -> str:
    return "no price" if usd_per_hour is None else f"{usd_per_hour:.6g}"
