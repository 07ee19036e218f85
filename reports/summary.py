"""What a reader must know first, in sentences: the recommendation, or why there is none, and what weakens it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports import cells, text, whatif
from reports import result as read
from reports.result import Result

NOT_ENOUGH = "the result gives no reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One of the headline's figures."""

    name: str
    cell: cells.Cell
    unit: str
    remark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """Something that limits what the page may be used for."""

    title: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """`claim` and `evidence` are the two halves of one sentence; `why` and `facts` support it. `found` is whether there is
    a recommendation."""

    found: bool
    claim: str
    why: str | None
    evidence: str | None = None
    facts: tuple[Fact, ...] = ()


def slo_text(result: Result) -> str:
    """The objective as the user wrote it, or what can be said of it."""
    said = read.text(result, "slo", "text")
    quantile, limit = read.number(result, "slo", "quantile"), read.number(result, "slo", "limit_ms")
    if said is None and quantile is not None and limit is not None:
        return f"{read.percentile_name(quantile)}<{limit:g}ms"
    return text.name(said) if said else "no SLO"


def model_name(result: Result) -> str:
    return text.name(read.text(result, "model", "name") or "an unnamed model")


def rate_text(result: Result) -> str:
    """`8 requests/s`, or words that say that no rate is stated."""
    rate = read.number(result, "reference_rate_per_s")
    return f"{rate:.3g} requests/s" if rate is not None else "no common rate"


def probability_best(result: Result) -> float | None:
    stated = read.number(result, "recommendation", "probability_best")
    return stated if stated is not None else read.number(read.recommended(result), "probability_best")


def tied_with(result: Result, row: Mapping[str, Any]) -> list[str]:
    """The other ranked candidates of the row's tie group."""
    group = read.number(row, "tie_group")
    others = [other for other in read.ranked(result) if other is not row]
    return [cells.label(other) for other in others if group is not None and read.number(other, "tie_group") == group]


def headline(result: Result, notes: cells.Notes) -> Headline:
    """The recommendation in one sentence with its figures, or why there is none."""
    if not read.text(result, "recommendation", "id"):
        reason = read.text(result, "recommendation_reason") or NOT_ENOUGH
        candidates = read.rows(result, "candidates")
        said = f"No candidate is recommended for {model_name(result)}"
        if candidates and all(read.leaf(row, "status") == "rejected" for row in candidates):
            said = f"No candidate for {model_name(result)} meets {slo_text(result)}"
        return Headline(found=False, claim=f"{said}.", why=_said(reason))
    why = read.text(result, "recommendation", "why")
    row = read.recommended(result)
    if row is None:
        named = text.name(read.text(result, "recommendation", "id"))
        said = f"The result recommends {named}, which is not among its candidates."
        return Headline(found=False, claim=said, why=_said(why))
    evidence = _evidence(result, row)
    return Headline(
        found=True,
        claim=f"Serve {model_name(result)} with {cells.label(row)}{':' if evidence else '.'}",
        evidence=evidence,
        why=_said(why),
        facts=facts(result, row, notes),
    )


def _said(reason: str | None) -> str | None:
    """A reason as a sentence: first letter large unless it begins a name or a unit, full stop at the end."""
    if not reason:
        return None
    shown = text.clean(reason)
    first = shown[0].upper() if shown.split()[0].isalpha() else shown[0]
    return first + shown[1:] + ("" if shown.endswith((".", "!", "?", "…")) else ".")


def _evidence(result: Result, row: Mapping[str, Any]) -> str | None:
    """`$1.53 per million inferences at capacity, p99 138 ms against 190 ms at 8 requests/s, up to 15.4 requests/s.`"""
    parts = []
    cost = read.mapping(row, "usd_per_million")
    value = read.number(cost, "value")
    if value is not None:
        said = text.usd(value, read.number(cost, "low"), read.number(cost, "high"))
        parts.append(f"{said} per million inferences at capacity")
    fleet = _fleet(result, row)
    if fleet is not None and fleet.usd_per_month is not None:
        parts.append(f"{text.usd(fleet.usd_per_month)} a month for {text.number(whatif.demand_per_s(result))} requests/s")
    name, latency = read.stated_latency(result, row)
    if name is not None:
        limit = read.number(result, "slo", "limit_ms")
        figure = text.number(*(read.number(latency, key) for key in ("value", "low", "high")))
        against = f" against {limit:g} ms" if limit is not None and _is_slo_quantile(result, name) else ""
        parts.append(f"{name} {figure} ms{against} at {rate_text(result)}")
    capacity = read.mapping(row, "capacity_per_s")
    if read.number(capacity, "value") is not None:
        figure = text.number(*(read.number(capacity, key) for key in ("value", "low", "high")))
        parts.append(f"up to {figure} requests/s under the SLO")
    return f"{', '.join(parts)}." if parts else None


def sentence(result: Result) -> str:
    """The headline as one sentence."""
    said = headline(result, cells.Notes())
    return " ".join(part for part in (said.claim, said.evidence) if part)


def _is_slo_quantile(result: Result, name: str) -> bool:
    quantile = read.number(result, "slo", "quantile")
    return quantile is not None and read.percentile_name(quantile) == name


def facts(result: Result, row: Mapping[str, Any], notes: cells.Notes) -> tuple[Fact, ...]:
    """Price, latency against the SLO, capacity, probability of being the best."""
    target = read.number(row, "usd_per_million_at_target", "value")
    price = Fact(
        name="Price per million",
        cell=notes.quantity(row.get("usd_per_million"), "no price is known", money=True),
        unit="",
        remark=f"at capacity; {text.usd(target)} at the scaling target" if target is not None else "at capacity",
    )
    capacity = Fact(
        name="Capacity",
        cell=notes.quantity(row.get("capacity_per_s"), "no capacity was measured"),
        unit="requests/s",
        remark=f"highest rate under {slo_text(result)}",
    )
    best = probability_best(result)
    ties = tied_with(result, row)
    chance = Fact(
        name="Probability best",
        cell=notes.plain(text.percent(best) if best is not None else None, "too little was measured to tell"),
        unit="",
        remark=f"tied with {', '.join(ties[:3])}" if ties else "not tied with any other candidate",
    )
    return (price, _month(result, row, notes), _latency_fact(result, row, notes), capacity, chance, _visible(result, notes))


def _fleet(result: Result, row: Mapping[str, Any]) -> whatif.Line | None:
    """The row under the run's own settings, with its fleet; None without a stated demand."""
    if whatif.demand_per_s(result) is None:
        return None
    model = whatif.model(result)
    name = read.text(row, "id") or ""
    return next((one for one in whatif.outcome(model, whatif.original(model)) if one.row["id"] == name), None)


def _month(result: Result, row: Mapping[str, Any], notes: cells.Notes) -> Fact:
    """What the smallest fleet for the stated demand costs; never for a demand that nobody stated."""
    demand, line = whatif.demand_per_s(result), _fleet(result, row)
    name = "Price per month"
    if demand is None or line is None:
        cell = notes.withheld("no demand was stated: set one under What if below, or give --demand")
        return Fact(name=name, cell=cell, unit="", remark="depends on the demand, which was not stated")
    if line.usd_per_month is None:
        return Fact(name=name, cell=notes.withheld(line.usd_per_million.reason or line.reason), unit="")
    said = f"{line.instances} instance{'s' * (line.instances != 1)} for {text.number(demand)} requests/s"
    spare = f"{text.usd(line.safe_usd_per_month)} with one more, so that one may be lost"
    return Fact(name=name, cell=cells.Cell(text=text.usd(line.usd_per_month)), unit="", remark=f"{said}; {spare}")


def _visible(result: Result, notes: cells.Notes) -> Fact:
    """What difference the bench could have seen, from the twin it carried."""
    twin, name = read.mapping(result, "twin"), "Smallest visible difference"
    if not twin:
        return Fact(name=name, cell=notes.withheld("nothing was measured twice under two names; --profile full does"), unit="")
    smallest, ratio = read.number(twin, "smallest_difference"), read.number(twin, "ratio", "value")
    reason = read.text(twin, "reason") or "the twins were not compared"
    remark = None
    if ratio is not None:
        apart = "told apart" if read.flag(twin, "separated") else "not told apart"
        remark = f"a twin of {text.name(read.text(twin, 'candidate'))} came out at {ratio:.3f}x of it, {apart}"
    cell = notes.plain(text.percent(smallest) if smallest is not None else None, reason)
    return Fact(name=name, cell=cell, unit="", remark=remark)


def _latency_fact(result: Result, row: Mapping[str, Any], notes: cells.Notes) -> Fact:
    name, latency = read.stated_latency(result, row)
    quantile, limit = read.number(result, "slo", "quantile"), read.number(result, "slo", "limit_ms")
    wanted = read.percentile_name(quantile) if quantile is not None else "p99"
    if name is None:
        cell = cells.latency(notes, row, wanted)
        return Fact(name=wanted, cell=cell, unit="ms")
    cell = notes.quantity(latency)
    if name != wanted:
        reason = read.text(row, "latency_ms", wanted, "reason") or "not in the result"
        return Fact(name=f"{name} at {rate_text(result)}", cell=cell, unit="ms", remark=f"{wanted} withheld: {reason}")
    against = f"limit {limit:g} ms" if limit is not None else None
    return Fact(name=f"{name} at {rate_text(result)}", cell=cell, unit="ms", remark=against)


def banners(result: Result) -> tuple[Banner, ...]:
    """What limits the use of this result, gravest first."""
    found = []
    row = read.recommended(result)
    if row is not None and read.flag(row, "validity", "valid") is False:
        said = "; ".join(map(text.clean, read.texts(row, "validity", "reasons"))) or NOT_ENOUGH
        found.append(Banner(title="The recommended candidate's run is invalid", body=f"{said}. It must not decide anything."))
    if row is not None and read.text(row, "basis") == "projected":
        said = "No candidate like it was measured: a model computed its figures from a measurement elsewhere"
        found.append(
            Banner(title="The recommendation is projected, not measured", body=f"{said}. Measure it before relying on it.")
        )
    candidates = read.rows(result, "candidates")
    if candidates and all(read.leaf(one, "status") == "invalid" for one in candidates):
        found.append(Banner(title="Every run is invalid", body="No figure here may decide anything; the reasons follow."))
    state = read.text(result, "run", "state")
    if state != "complete":
        said = "It was stopped before its end" if state == "partial" else "The result does not say that it ran to its end"
        body = f"{said}: candidates may be missing. Resume it before deciding."
        found.append(Banner(title="This run is not complete", body=body))
    if read.flag(result, "run", "screening_only"):
        lanes = read.number(result, "run", "lanes")
        shared = f"{lanes:g} candidates were measured at once on one machine" if lanes and lanes > 1 else "a short look"
        body = f"The figures ({shared}) choose what to measure properly; they do not decide what to serve."
        found.append(Banner(title="Screening only", body=body))
    return tuple(found)
