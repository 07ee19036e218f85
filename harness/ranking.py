"""Who is best, by how much, how surely, and why everybody else is not: ranks with ties instead of a false total order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.nouns import Estimate, Quantile
from harness.statistics import Z_95

COST, LATENCY, THROUGHPUT = "cost", "latency", "throughput"
OBJECTIVES = (COST, LATENCY, THROUGHPUT)

TIE_RATIO = 1.02
"""Candidates closer than this tie however narrow their intervals: nobody would choose by less."""
DRAWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A candidate with the figures it may be ranked by. `latency_ms` holds quantiles at the common reference rate.

    `replicate_log_sd` is the standard deviation of the logarithm of the ranked figure across `replicates` server starts, None
    when there was one start. `rejected` is why the candidate may not be ranked whatever its figures, None when it may.
    """

    id: str
    usd_per_million: Estimate
    capacity_per_s: Estimate
    latency_ms: Mapping[str, Quantile] = field(default_factory=dict)
    replicate_log_sd: float | None = None
    replicates: int = 1
    rejected: str | None = None
    projected: bool = False
    """By a model; a measured candidate that ties with it stands before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A ranked candidate. Members of a tie group share a rank, which is one more than the number of candidates before them.

    `ratio` is its figure over that of the first place: above 1 is worse for cost and latency, below 1 for throughput.
    """

    id: str
    rank: int
    tie_group: int
    figure: Estimate
    ratio: Estimate
    probability_best: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unranked:
    """A candidate without a place, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Places in order, the first being the recommendation, and those who have none. `metric` is the figure compared:
    `usd_per_million`, `capacity_per_s`, or a quantile such as `p99_ms`."""

    objective: str
    metric: str | None
    places: tuple[Place, ...]
    unranked: tuple[Unranked, ...]
    why: str

    @property
    def winner(self) -> Place | None:
        return self.places[0] if self.places else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rated:
    """A figure as a log-normal: the natural logarithm of its point estimate, smaller being better, and its standard error."""

    id: str
    figure: Estimate
    log: float
    error: float
    projected: bool = False


def rank(
    entries: Sequence[Entry],
    objective: str,
    rng: np.random.Generator,
    *,
    reference_rate_per_s: float | None = None,
    tie_ratio: float = TIE_RATIO,
) -> Ranking:
    """Order `entries` (ids unique) by `objective`, one of `OBJECTIVES`; the order of `entries` does not matter.

    Two candidates tie unless the 95 % interval of the ratio of their figures excludes 1 and the ratio is at least `TIE_RATIO`.
    The best and all who tie with it form the first group; the best of the rest and all the rest who tie with it the next. The
    figures count as independent log-normals. `rng` draws the probabilities of being best, which add up to 1.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"unknown objective {objective!r}; known: {', '.join(OBJECTIVES)}")
    if len({entry.id for entry in entries}) != len(entries):
        raise ValueError("two entries have the same id")
    ordered = sorted(entries, key=lambda entry: entry.id)
    quantile = _common_quantile(ordered) if objective == LATENCY else None
    metric = {COST: "usd_per_million", THROUGHPUT: "capacity_per_s", LATENCY: f"{quantile}_ms" if quantile else None}[objective]
    rated: list[_Rated] = []
    unranked: list[Unranked] = []
    for entry in ordered:
        outcome = _rate(entry, objective, quantile)
        if isinstance(outcome, _Rated):
            rated.append(outcome)
        else:
            unranked.append(Unranked(id=entry.id, reason=outcome))
    rated.sort(key=lambda each: (each.log, each.id))
    chances = _probability_best(rated, rng)
    words = _words(objective, quantile, reference_rate_per_s)
    places = tuple(_places(_groups(rated, tie_ratio), chances, objective, words, tie_ratio))
    return Ranking(
        objective=objective,
        metric=metric,
        places=places,
        unranked=tuple(unranked),
        why=_why(places, unranked, objective, words),
    )


def _common_quantile(entries: Sequence[Entry]) -> str | None:
    """The highest quantile that every candidate with any quantile has; None when nobody has one or they share none."""
    known = [{label for label, q in e.latency_ms.items() if q.value is not None} for e in entries if e.rejected is None]
    shared = set.intersection(*held) if (held := [labels for labels in known if labels]) else set()
    return max(shared, key=lambda label: float(label[1:]), default=None)


def _rate(entry: Entry, objective: str, quantile: str | None) -> _Rated | str:
    """The entry's figure with its error, or why it has none."""
    if entry.rejected is not None:
        return entry.rejected
    figure = _figure(entry, objective, quantile)
    if figure.value is None:
        return figure.reason or f"no figure for {objective}"
    if not 0 < figure.value < math.inf:
        return f"its figure for {objective}, {figure.value:g}, cannot be compared as a ratio"
    spread = log_error(figure)
    if spread is None:
        return f"its figure for {objective} has no interval"
    between = (entry.replicate_log_sd or 0.0) ** 2 / max(1, entry.replicates)
    log = math.log(figure.value) * (-1 if objective == THROUGHPUT else 1)
    error = math.hypot(spread, math.sqrt(between))
    return _Rated(id=entry.id, figure=figure, log=log, error=error, projected=entry.projected)


def _figure(entry: Entry, objective: str, quantile: str | None) -> Estimate:
    if objective == COST:
        return entry.usd_per_million
    if objective == THROUGHPUT:
        return entry.capacity_per_s
    seen = None if quantile is None else entry.latency_ms.get(quantile)
    if seen is None or seen.value is None:
        why = next((q.reason for q in entry.latency_ms.values() if q.reason), None) or "it was not measured there"
        return Estimate(value=None, low=None, high=None, reason=f"no latency at the reference rate to compare: {why}")
    return Estimate(value=seen.value, low=seen.low, high=seen.high, reason=seen.reason)


def log_error(figure: Estimate) -> float | None:
    """Standard error of ln(value): the width of the 95 % interval, or twice its known half; None without an interval."""
    if not figure.value:
        return None
    below = math.log(figure.value / figure.low) if figure.low else None
    above = math.log(figure.high / figure.value) if figure.high else None
    known = [half for half in (below, above) if half is not None]
    return max(0.0, sum(known) / len(known)) / Z_95 if known else None


def _ties(best: _Rated, other: _Rated, tie_ratio: float) -> bool:
    gap = abs(other.log - best.log)
    return gap <= Z_95 * math.hypot(best.error, other.error) or gap < math.log(tie_ratio)


def _groups(rated: Sequence[_Rated], tie_ratio: float) -> list[list[_Rated]]:
    groups: list[list[_Rated]] = []
    rest = list(rated)
    while rest:
        best = rest[0]
        tied = [each for each in rest if _ties(best, each, tie_ratio)]
        groups.append(sorted(tied, key=lambda each: each.projected))
        rest = [each for each in rest if not _ties(best, each, tie_ratio)]
    return groups


def _probability_best(rated: Sequence[_Rated], rng: np.random.Generator) -> dict[str, float]:
    """Share of draws in which each has the smallest figure; equal smallest figures share the draw."""
    if not rated:
        return {}
    fixed = sorted(rated, key=lambda each: each.id)
    draws = rng.normal([each.log for each in fixed], [each.error for each in fixed], size=(DRAWS, len(fixed)))
    first = draws == draws.min(axis=1, keepdims=True)
    shares = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return {each.id: float(share) for each, share in zip(fixed, shares, strict=True)}


def _ratio(own: _Rated, best: _Rated, objective: str) -> Estimate:
    """own / best in the unit of the figure: above 1 is worse for cost and latency, below 1 for throughput."""
    gap, half = own.log - best.log, Z_95 * math.hypot(own.error, best.error)
    if own.id == best.id:
        half = 0.0
    sign = -1 if objective == THROUGHPUT else 1
    low, high = sorted(math.exp(sign * (gap + side * half)) for side in (-1, 1))
    return Estimate(value=math.exp(sign * gap), low=low, high=high)


def _places(
    groups: Sequence[Sequence[_Rated]],
    chances: Mapping[str, float],
    objective: str,
    words: tuple[str, str],
    tie_ratio: float,
) -> list[Place]:
    places: list[Place] = []
    for number, group in enumerate(groups, 1):
        before = len(places)
        for each in group:
            best = groups[0][0]
            ratio = _ratio(each, best, objective)
            places.append(
                Place(
                    id=each.id,
                    rank=before + 1,
                    tie_group=number,
                    figure=each.figure,
                    ratio=ratio,
                    probability_best=chances[each.id],
                    reason=_reason(each, best, ratio, words, tie_ratio if number == 1 else None),
                )
            )
    return places


def _words(objective: str, quantile: str | None, reference_rate_per_s: float | None) -> tuple[str, str]:
    """What is compared, and under which condition."""
    if objective == COST:
        return "cost", "at the same SLO"
    if objective == THROUGHPUT:
        return "capacity", "at the same SLO"
    at = "the same rate" if reference_rate_per_s is None else f"{reference_rate_per_s:.3g}/s"
    return f"{quantile} latency", f"at {at}"


def _reason(own: _Rated, best: _Rated, ratio: Estimate, words: tuple[str, str], tie_ratio: float | None) -> str:
    """`tie_ratio` is None for a candidate that does not tie with the best."""
    what, condition = words
    if own.id == best.id:
        return f"best {what} {condition}"
    share = f"{ratio.value:.2f}x ({ratio.low:.2f}-{ratio.high:.2f}) the {what} of {best.id} {condition}"
    if tie_ratio is None:
        return share
    close = abs(own.log - best.log) < math.log(tie_ratio)
    return f"ties with {best.id}: {share}; " + (
        f"differs by less than {100 * (tie_ratio - 1):.2g}%" if close else "the interval includes 1"
    )


def _why(places: Sequence[Place], unranked: Sequence[Unranked], objective: str, words: tuple[str, str]) -> str:
    """Why the first place is recommended, in one sentence."""
    what, condition = words
    if not places:
        return f"no candidate could be ranked by {objective}" + (
            f": {unranked[0].id}: {unranked[0].reason}" if unranked else ""
        )
    best = places[0]
    superlative = "highest" if objective == THROUGHPUT else "lowest"
    tied = [place for place in places[1:] if place.tie_group == 1]
    chance = f"best with probability {best.probability_best:.2f}"
    if len(places) == 1:
        return f"{best.id} is the only candidate that could be ranked by {what} {condition}"
    if tied:
        others = ", ".join(f"{place.id} ({place.ratio.value:.2f}x)" for place in tied)
        return f"{best.id} has the {superlative} estimate of {what} {condition}, but ties with {others}; {chance}"
    second = places[1]
    ratio = f"{second.ratio.value:.2f}x ({second.ratio.low:.2f}-{second.ratio.high:.2f})"
    return f"{best.id} has the {superlative} {what} {condition}; the next, {second.id}, has {ratio} of it; {chance}"
