"""What another SLO, demand, price or objective would choose: the ranking again, from curves that the page carries.

`templates/whatif.js` does in the page what `outcome` does here, from the same `model`; a test holds the two against each other.
With the settings of the run the ranking is the stored one, whatever the arithmetic here would say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.cost import usd_per_million
from harness.nouns import Estimate, Quantile
from harness.ranking import COST, LATENCY, THROUGHPUT, TIE_RATIO, Entry, rank
from reports import cells, curves, text
from reports import result as read
from reports.result import Result

MONTH = "month"
OBJECTIVES = {
    COST: "cost per million",
    MONTH: "cost per month at the demand",
    LATENCY: "latency",
    THROUGHPUT: "throughput",
}
"""What may be ranked by, and what it is called. A month's cost counts whole instances, so it is ranked for one demand only."""
STATED, SPOT = "stated", "spot"
HOURS_PER_MONTH = 730
MOST_INSTANCES = 100_000

Model = Mapping[str, Any]
Limit = tuple[float, float]
"""A quantile (0..1) and its limit in ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`share` is how much of its capacity's lower bound an instance may carry (0..1], `prices` USD/h by instance that overrule
    `basis`."""

    limits: tuple[Limit, ...]
    objective: str
    demand_per_s: float | None = None
    share: float = 1.0
    basis: str = STATED
    prices: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One candidate under some settings. `rank` is None with the `reason` for a candidate that they do not rank."""

    row: Mapping[str, Any]
    rank: int | None
    tied: bool
    probability_best: float | None
    reason: str | None
    capacity: Estimate
    usd_per_hour: float | None
    usd_per_million: Estimate
    instances: int | None
    usd_per_month: float | None
    safe_usd_per_month: float | None
    """With one instance more, so that one may be lost."""
    latency_ms: float | None
    """Of the first limit's quantile, at the share of the demand that each instance gets; None where it is not known."""


def model(result: Result) -> dict[str, Any]:
    """What the page carries: plain JSON values, all names already fit to be shown."""
    limits = read.rows(result, "slo", "limits") or [read.mapping(result, "slo")]
    known = [(read.number(each, "quantile"), read.number(each, "limit_ms")) for each in limits]
    objective = read.text(result, "objective")
    return {
        "limits": [list(limit) for limit in known if None not in limit],
        "objective": objective if objective in OBJECTIVES else COST,
        "demand_per_s": demand_per_s(result),
        "tie_ratio": read.number(result, "decision", "tie_ratio") or TIE_RATIO,
        "rate_per_s": read.number(result, "reference_rate_per_s"),
        "hours_per_month": HOURS_PER_MONTH,
        "rows": [_row(row, place) for place, row in enumerate(read.rows(result, "candidates"))],
    }


def demand_per_s(result: Result) -> float | None:
    """The stated demand: what fleets were sized for, else the peak that was given; never one that was assumed."""
    stated = read.number(result, "decision", "demand_per_s")
    if stated is None and (read.text(result, "scaling", "basis", "peak_per_s", "source") or "").startswith("given"):
        stated = read.number(result, "scaling", "basis", "peak_per_s", "value")
    return stated


def original(model: Model) -> Settings:
    """The settings of the run."""
    limits = tuple((float(quantile), float(limit)) for quantile, limit in model["limits"])
    return Settings(limits=limits, objective=model["objective"], demand_per_s=model["demand_per_s"])


def _row(row: Mapping[str, Any], place: int) -> dict[str, Any]:
    made = read.mapping(row, "capacity_by_limit", "quantiles")
    reason = read.text(row, "capacity_by_limit", "reason") or "the result holds no curve of its capacity over the limit"
    status = read.text(row, "status")
    said = read.text(row, "reason") or next(iter(read.texts(row, "validity", "reasons")), None)
    return {
        "id": read.text(row, "id") or "",
        "label": cells.label(row),
        "anchor": f"candidate-{place}",
        "instance": text.name(read.text(row, "instance") or "unnamed instance", 40),
        "projected": read.text(row, "basis") == "projected",
        "status": text.name(status or "no status", 24),
        "may_rank": status == "ranked" or (status == "rejected" and bool(made)),
        "reason": text.clean(said) if said else None,
        "usd_per_hour": read.number(row, "usd_per_hour"),
        "spot_usd_per_hour": read.number(row, "price", "spot_usd_per_hour"),
        "capacity": _ends(read.mapping(row, "capacity_per_s")),
        "capacity_reason": text.clean(read.text(row, "capacity_per_s", "reason") or "the capacity is not known"),
        "log_sd": read.number(row, "between_starts", "log_sd") or 0.0,
        "starts": max(1.0, read.number(row, "between_starts", "starts") or 1.0),
        "latency": {
            name: _ends(read.mapping(row, "latency_ms", name))
            for name in sorted(read.mapping(row, "latency_ms"))
            if read.number(row, "latency_ms", name, "value") is not None
        },
        "curves": {name: curves.table(each) for name, each in made.items()},
        "curve_reason": text.clean(reason),
        "rank": read.number(row, "rank") if status == "ranked" else None,
        "tie_group": read.number(row, "tie_group"),
        "probability_best": read.number(row, "probability_best"),
    }


def _ends(found: Mapping[str, Any]) -> list[float | None]:
    return [read.number(found, key) for key in ("value", "low", "high")]


def limit_known(model: Model) -> bool:
    """Whether any candidate can be asked about another limit."""
    return any(row["curves"] for row in model["rows"])


def outcome(model: Model, settings: Settings) -> list[Line]:
    """Every candidate under `settings`: the ranked ones in order, then the others in that of the result."""
    lines = [_line(model, row, settings) for row in model["rows"]]
    stored = _is_original(model, settings)
    placed = _stored(lines) if stored else _ranked(model, settings, lines)
    ranked = [line for line in placed if line.rank is not None]
    return ranked + [line for line in placed if line.rank is None]


def _is_original(model: Model, settings: Settings) -> bool:
    """Whether nothing that the ranking depends on was changed; demand and share only size fleets."""
    own = original(model)
    same = (settings.limits, settings.objective, settings.basis) == (own.limits, own.objective, own.basis)
    return same and not settings.prices


def _stored(lines: Sequence[Line]) -> list[Line]:
    ranked = sorted((line for line in lines if line.row["status"] == "ranked"), key=lambda line: line.row["rank"] or math.inf)
    groups = [line.row["tie_group"] for line in ranked]
    placed = [
        _placed(
            line,
            rank=None if line.row["rank"] is None else int(line.row["rank"]),
            tied=line.row["tie_group"] is not None and groups.count(line.row["tie_group"]) > 1,
            best=line.row["probability_best"],
        )
        for line in ranked
    ]
    return placed + [line for line in lines if line.row["status"] != "ranked"]


def _ranked(model: Model, settings: Settings, lines: Sequence[Line]) -> list[Line]:
    entries, by_id = [], {}
    for number, line in enumerate(lines):
        if line.row["may_rank"] and line.capacity.value is not None:
            entry = _entry(f"{number:04}", line, settings)
            entries.append(entry)
            by_id[entry.id] = line
    objective = COST if settings.objective == MONTH else settings.objective
    ranking = rank(entries, objective, np.random.default_rng(0), tie_ratio=model["tie_ratio"])
    groups = [place.tie_group for place in ranking.places]
    placed = [
        _placed(by_id[one.id], rank=one.rank, tied=groups.count(one.tie_group) > 1, best=one.probability_best)
        for one in ranking.places
    ]
    without = {one.id: one.reason for one in ranking.unranked}
    left = [_placed(line, reason=without[name]) for name, line in by_id.items() if name in without]
    return placed + left + [line for line in lines if not any(line is one for one in by_id.values())]


def _entry(name: str, line: Line, settings: Settings) -> Entry:
    return Entry(
        id=name,
        usd_per_million=_monthly(line, settings) if settings.objective == MONTH else line.usd_per_million,
        capacity_per_s=line.capacity,
        latency_ms={
            quantile: Quantile(value=value, low=low, high=high, n=0)
            for quantile, (value, low, high) in line.row["latency"].items()
        },
        replicate_log_sd=line.row["log_sd"],
        replicates=int(line.row["starts"]),
    )


def _placed(
    line: Line, *, rank: int | None = None, tied: bool = False, best: float | None = None, reason: str | None = None
) -> Line:
    return replace(
        line, rank=rank, tied=tied, probability_best=best, reason=None if rank is not None else reason or line.reason
    )


def _line(model: Model, row: Mapping[str, Any], settings: Settings) -> Line:
    capacity = capacity_of(row, settings.limits, [tuple(limit) for limit in model["limits"]])
    price = _price(row, settings)
    wanted = settings.demand_per_s
    instances = None if wanted is None else count(wanted, (capacity.low or 0.0) * settings.share)
    reason = capacity.reason if row["may_rank"] and capacity.value is None else row["reason"]
    each = None if instances is None or wanted is None else wanted / instances
    return Line(
        row=row,
        rank=None,
        tied=False,
        probability_best=None,
        reason=reason or "the result gives no reason",
        capacity=capacity,
        usd_per_hour=price,
        usd_per_million=usd_per_million(price, capacity),
        instances=instances,
        usd_per_month=_month(price, instances),
        safe_usd_per_month=_month(price, None if instances is None else instances + 1),
        latency_ms=None if each is None or not settings.limits else curves.latency(row["curves"], settings.limits[0][0], each),
    )


def capacity_of(row: Mapping[str, Any], limits: Sequence[Limit], own: Sequence[Any]) -> Estimate:
    """The highest rate (1/s) under all `limits`; under the run's `own` limits what the run found."""
    if list(limits) == list(own):
        value, low, high = row["capacity"]
        return Estimate(value=value, low=low, high=high, reason=None if value is not None else row["capacity_reason"])
    if not row["curves"]:
        return Estimate(value=None, low=None, high=None, reason=row["curve_reason"])
    return curves.lowest([curves.capacity(row["curves"], quantile, limit) for quantile, limit in limits])


def _price(row: Mapping[str, Any], settings: Settings) -> float | None:
    given = settings.prices.get(row["instance"])
    stated: float | None = row["spot_usd_per_hour"] if settings.basis == SPOT else row["usd_per_hour"]
    return stated if given is None else given


def count(demand_per_s: float, per_instance_s: float) -> int | None:
    """Instances that carry a demand; None when they carry nothing, or too many would be needed."""
    if per_instance_s <= 0:
        return None
    needed = max(1, math.ceil(round(demand_per_s / per_instance_s, 9)))
    return needed if needed <= MOST_INSTANCES else None


def _month(price: float | None, instances: int | None) -> float | None:
    return None if price is None or instances is None else price * instances * HOURS_PER_MONTH


def _monthly(line: Line, settings: Settings) -> Estimate:
    """What the fleet costs a month; the interval's lower end has the fleet that the capacity's upper end allows."""
    if settings.demand_per_s is None:
        return Estimate(value=None, low=None, high=None, reason="no demand is set")
    if line.usd_per_month is None:
        reason = "no price is known for the instance" if line.usd_per_hour is None else "no number of instances is sure to do"
        return Estimate(value=None, low=None, high=None, reason=reason)
    fewest = count(settings.demand_per_s, (line.capacity.high or line.capacity.low or 0.0) * settings.share)
    return Estimate(value=line.usd_per_month, low=_month(line.usd_per_hour, fewest), high=line.usd_per_month)
