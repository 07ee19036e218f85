"""The page as values: every text, row and note that the template lays out, with nothing left to decide."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from reports import cells, provenance, summary, text
from reports import result as read
from reports.details import Details, Pair, details
from reports.result import Result

METHOD_PAGE = "docs/method.md"
METHOD_SECTIONS = (
    "Load is a schedule, not a loop",
    "Percentiles",
    "Validity, judged apart from speed",
    "Capacity",
    "Cost and ranking",
    "Scaling suggestion",
    "What this does not tell",
)
"""The headings of the method's page that the report names."""

METHOD = (
    "Each candidate was compiled, checked against the reference outputs, served by a process of its own and loaded by "
    "another. Requests follow a schedule computed beforehand, and latency counts from when a request was due, so waiting "
    "is never left out. Intervals are 95 %; a percentile is withheld when too few requests lie beyond it. Capacity is the "
    "highest offered rate at which the SLO held, estimated from all load steps together, and the cost of a million "
    "inferences is the hourly price divided by it. Candidates whose order the intervals do not decide share a tie group. "
    "A run that broke one of its own rules is invalid and is not ranked, however fast it was."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedRow:
    """One row of the ranking; the cells are in the order of the table's columns."""

    anchor: str
    rank: str
    label: str
    settings: str
    instance: str
    winner: bool
    projected: bool
    reason: str | None
    cells: tuple[tuple[str, cells.Cell], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TieGroup:
    """Ranked rows that the intervals do not tell apart; a lone row is a group of one."""

    tied: bool
    rows: tuple[RankedRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRow:
    """A candidate that is not ranked, and why."""

    anchor: str
    label: str
    settings: str
    status: str
    projected: bool
    reason: str
    log: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """One number behind the scaling suggestion."""

    name: str
    value: str
    unit: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """The suggestion: a sentence, its figures, the numbers behind it and the policy to paste."""

    sentence: str
    figures: tuple[Pair, ...]
    basis: tuple[Basis, ...]
    policies: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything on the page but the pictures."""

    title: str
    headline: summary.Headline
    banners: tuple[summary.Banner, ...]
    headline_notes: tuple[str, ...]
    about: tuple[Pair, ...]
    columns: tuple[str, ...]
    groups: tuple[TieGroup, ...]
    ranking_caption: str
    ranking_notes: tuple[str, ...]
    others: tuple[OtherRow, ...]
    scaling: Scaling | None
    details: tuple[Details, ...]
    environment: tuple[Pair, ...]
    packages: tuple[Pair, ...]
    notes: tuple[str, ...]
    command: str | None
    method: str = METHOD
    method_page: str = METHOD_PAGE
    method_sections: tuple[str, ...] = METHOD_SECTIONS


def view(result: Result) -> View:
    """The page of `result`."""
    fact_notes, row_notes = cells.Notes(), cells.Notes()
    headline = summary.headline(result, fact_notes)
    groups = tuple(_groups(result, row_notes))
    command = read.text(result, "run", "command")
    return View(
        title=f"{summary.model_name(result)} – Loadstone report",
        headline=headline,
        banners=summary.banners(result),
        headline_notes=tuple(fact_notes.reasons),
        about=_about(result),
        columns=tuple(name for name, _ in groups[0].rows[0].cells) if groups else (),
        groups=groups,
        ranking_caption=_caption(result),
        ranking_notes=tuple(row_notes.reasons),
        others=tuple(_other(result, row) for row in read.unranked(result)),
        scaling=_scaling(result),
        details=tuple(details(row, anchor(result, row), result) for row in (*read.ranked(result), *read.unranked(result))),
        environment=tuple(provenance.environment(result)),
        packages=tuple(provenance.packages(result)),
        notes=tuple(text.clean(note) for note in read.texts(result, "notes")),
        command=text.clean(command, 4000) if command else None,
    )


def anchor(result: Result, row: Mapping[str, Any]) -> str:
    """The fragment of the candidate's details: its place in the file, since names are foreign text."""
    places = (place for place, one in enumerate(read.rows(result, "candidates")) if one is row)
    return f"candidate-{next(places)}"


def _caption(result: Result) -> str:
    objective = read.text(result, "objective")
    by = f", best {text.name(objective)} first" if objective else ""
    limit = f" under {summary.slo_text(result)}" if read.mapping(result, "slo") else ", no SLO"
    return f"Candidates{limit}{by}; latency at {summary.rate_text(result)}; intervals are 95 %."


def _groups(result: Result, notes: cells.Notes) -> Iterator[TieGroup]:
    rows = list(enumerate(read.ranked(result)))
    # A row without a tie group is a group of its own.
    keyed = groupby(rows, key=lambda item: (read.number(item[1], "tie_group"), read.number(item[1], "tie_group") or item[0]))
    for _, members in keyed:
        group = tuple(_ranked(result, row, notes) for _, row in members)
        yield TieGroup(tied=len(group) > 1, rows=group)


def _ranked(result: Result, row: Mapping[str, Any], notes: cells.Notes) -> RankedRow:
    rank = read.number(row, "rank")
    best = read.number(row, "probability_best")
    reason = read.text(row, "reason")
    columns = (
        ("Capacity, requests/s", notes.quantity(row.get("capacity_per_s"))),
        ("p50,\u00a0ms", cells.latency(notes, row, "p50")),
        ("p95,\u00a0ms", cells.latency(notes, row, "p95")),
        ("p99,\u00a0ms", cells.latency(notes, row, "p99")),
        ("n", cells.samples(notes, row)),
        ("USD per million", notes.quantity(row.get("usd_per_million"), money=True)),
        ("USD per million at target", notes.quantity(row.get("usd_per_million_at_target"), money=True)),
        ("Probability best", notes.plain(text.percent(best), "no probability of being the best in the result")),
        ("Parity", cells.parity(notes, row)),
        ("Start-up", cells.start_up(notes, row)),
    )
    return RankedRow(
        anchor=anchor(result, row),
        rank=text.DASH if rank is None else f"{rank:g}",
        label=cells.label(row),
        settings=cells.settings(row),
        instance=_instance(row),
        winner=row is read.recommended(result),
        projected=read.text(row, "basis") == "projected",
        reason=text.clean(reason) if reason else None,
        cells=columns,
    )


def _instance(row: Mapping[str, Any]) -> str:
    price = read.number(row, "usd_per_hour")
    where = text.name(read.text(row, "instance") or "unnamed instance", 40)
    return f"{where}, ${price:.6g}/h" if price is not None else f"{where}, no price"


def _other(result: Result, row: Mapping[str, Any]) -> OtherRow:
    stage, status = read.text(row, "stage"), read.text(row, "status")
    said = text.clean(read.text(row, "reason") or "")
    for reason in map(text.clean, read.texts(row, "validity", "reasons")):
        said = said if reason in said else f"{said}; {reason}".removeprefix("; ")
    log = read.text(row, "log")
    return OtherRow(
        anchor=anchor(result, row),
        label=cells.label(row),
        settings=cells.settings(row),
        status=text.name(status or "no status", 24) + (f" at {text.name(stage, 24)}" if stage else ""),
        projected=read.text(row, "basis") == "projected",
        reason=said or summary.NOT_ENOUGH,
        log=text.clean(log, 200) if log else None,
    )


def _about(result: Result) -> tuple[Pair, ...]:
    """The line under the headline: what was asked of what, when, and for how long."""
    source = read.text(result, "slo", "source")
    weights = read.text(result, "model", "weights")
    found = (
        ("SLO", summary.slo_text(result) + (f" ({text.name(source)})" if source else "")),
        ("Objective", read.text(result, "objective")),
        ("Weights", weights),
        ("Profile", read.text(result, "run", "profile")),
        ("Measured", text.instant(read.text(result, "run", "created_utc"))),
        ("Took", text.duration(read.number(result, "run", "duration_s"))),
        ("On", read.text(result, "environment", "cpu_model")),
    )
    return tuple(Pair(name=key, value=text.name(value)) for key, value in found if value and value != text.DASH)


def _scaling(result: Result) -> Scaling | None:
    found = read.mapping(result, "scaling")
    if not found:
        return None
    metric, target = read.text(found, "metric"), read.number(found, "target_value")
    low, high = read.number(found, "min_capacity"), read.number(found, "max_capacity")
    bounds = f"between {text.compact(low)} and {text.compact(high)} instances"
    aim = f"{text.name(metric or 'the metric')} at {text.number(target)}"
    reason = read.text(found, "reason") or summary.NOT_ENOUGH
    figures = (
        ("Target", text.number(target)),
        ("Safety factor", text.number(read.number(found, "safety_factor"))),
        ("Instances", f"{text.compact(low)} to {text.compact(high)}"),
        ("Scale-out cooldown", text.duration(read.number(found, "scale_out_cooldown_s"))),
        ("Scale-in cooldown", text.duration(read.number(found, "scale_in_cooldown_s"))),
    )
    basis = tuple(
        Basis(
            name=text.name(name).replace("_", " "),
            value=_value(one),
            unit=text.name(read.text(one, "unit") or "", 32),
            source=text.clean(read.text(one, "source") or "the result names no source"),
        )
        for name, one in read.mapping(found, "basis").items()
    )
    policies = read.leaf(found, "policies")
    return Scaling(
        sentence=f"Keep {aim}, {bounds}." if target is not None else f"No target can be set: {text.clean(reason)}.",
        figures=tuple(Pair(name=name, value=value) for name, value in figures),
        basis=basis,
        policies=text.clean(json.dumps(policies, indent=2, ensure_ascii=False), 20_000) if policies else None,
    )


def _value(one: Any) -> str:
    """The value of a basis entry: a figure, a text, or a bare value without its unit and source."""
    value = read.number(one, "value")
    if value is not None:
        return text.number(value)
    return text.clean(read.text(one, "value") or (one if isinstance(one, str | int | float) else None) or text.DASH)
