"""Two or more results side by side: who meets whom, what each figure became, what else is not the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness import comparison as decide
from harness.comparison import Change, Difference
from harness.nouns import Estimate
from harness.ranking import TIE_RATIO
from reports import cells, markdown, summary
from reports import result as read
from reports.result import Result

SCHEMA = 1

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`letter` stands for it on the page; `link` is its report, relative to the page, None where there is none."""

    letter: str
    name: str
    result: Result
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure that is compared, and where a row holds it. `needs` is what must agree: the `rate`, the `slo` or nothing."""

    key: str
    title: str
    path: tuple[str, ...]
    needs: str | None = None
    higher_is_better: bool = False
    money: bool = False


METRICS = (
    Metric(key="service_p50_ms", title="Service p50, ms", path=("service_ms", "p50")),
    *(
        Metric(key=f"{each}_ms", title=f"{each}, ms", path=("latency_ms", each), needs="rate")
        for each in ("p50", "p90", "p95", "p99")
    ),
    Metric(key="capacity_per_s", title="Capacity, requests/s", path=("capacity_per_s",), needs="slo", higher_is_better=True),
    Metric(key="usd_per_million", title="USD per million", path=("usd_per_million",), needs="slo", money=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One candidate in both runs. `settings` differ; `status` says what became of it when that is not the same."""

    before: Row
    after: Row
    changes: Mapping[str, Change]
    settings: tuple[Difference, ...]
    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """`after` held against `before`. `refused` says why no verdict is given at all; empty when verdicts may be."""

    before: Run
    after: Run
    refused: tuple[str, ...]
    pairs: tuple[Pair, ...]
    appeared: tuple[Row, ...]
    vanished: tuple[Row, ...]
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "before": self.before.name,
            "after": self.after.name,
            "refused": list(self.refused),
            "candidates": [
                {
                    "before": pair.before.get("id"),
                    "after": pair.after.get("id"),
                    "figures": {key: asdict(each) | {"verdict": each.verdict.value} for key, each in pair.changes.items()},
                    "settings": [asdict(each) for each in pair.settings],
                    "status": pair.status,
                }
                for pair in self.pairs
            ],
            "appeared": [row.get("id") for row in self.appeared],
            "vanished": [row.get("id") for row in self.vanished],
            "differences": [asdict(each) for each in self.differences],
        }


def compare(runs: Sequence[Run]) -> tuple[Versus, ...]:
    """Every run after the first, held against the first."""
    return tuple(_versus(runs[0], after) for after in runs[1:])


def to_json(runs: Sequence[Run], found: Sequence[Versus]) -> dict[str, Any]:
    """The comparison as plain data; docs/reports.md has its keys."""
    keys = ("created_utc", "profile", "state", "loadstone_version")
    return {
        "schema": SCHEMA,
        "runs": [
            {
                "letter": run.letter,
                "run": run.name,
                **{key: read.leaf(run.result, "run", key) for key in keys},
                "model": read.leaf(run.result, "model", "name"),
                "slo": read.leaf(run.result, "slo", "text"),
                "fingerprint": read.leaf(run.result, "environment", "fingerprint"),
            }
            for run in runs
        ],
        "comparisons": [each.to_json() for each in found],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How figures of two runs meet: why not at all, what each need of a metric lacks, and what still counts as equal."""

    refused: tuple[str, ...]
    needs: Mapping[str | None, str | None]
    tie_ratio: float


def terms(before: Result, after: Result) -> Terms:
    """What the two runs themselves allow to be compared."""
    sides = (("before", before), ("after", after))
    screening = (f"the run {when} was for screening only" for when, each in sides if read.flag(each, "run", "screening_only"))
    return Terms(
        refused=(*decide.hindrances(*(read.mapping(each, "environment") for _, each in sides)), *screening),
        needs={
            None: None,
            "rate": decide.same_rate(*(read.number(each, "reference_rate_per_s") for _, each in sides)),
            "slo": decide.same_slo(*(_slo(each) for _, each in sides)),
        },
        tie_ratio=max(TIE_RATIO, *(_twins(each) for _, each in sides)),
    )


def changed(before: Row, after: Row, metric: Metric, on: Terms) -> Change:
    """What became of one figure from the row `before` to the row `after`."""
    unfit = _unfit(before, "before") or _unfit(after, "after")
    return decide.change(
        figure(before, metric),
        figure(after, metric),
        higher_is_better=metric.higher_is_better,
        tie_ratio=on.tie_ratio,
        hindrance=(on.refused[0] if on.refused else None) or unfit or on.needs[metric.needs],
    )


def _versus(before: Run, after: Run) -> Versus:
    matched, vanished, appeared = _match(read.rows(before.result, "candidates"), read.rows(after.result, "candidates"))
    on = terms(before.result, after.result)
    return Versus(
        before=before,
        after=after,
        refused=on.refused,
        pairs=tuple(_pair(*rows, on) for rows in matched),
        appeared=appeared,
        vanished=vanished,
        differences=tuple(_differences(before.result, after.result)),
    )


def _match(before: Sequence[Row], after: Sequence[Row]) -> tuple[list[tuple[Row, Row]], tuple[Row, ...], tuple[Row, ...]]:
    """(pairs, only before, only after): by content key first, then by id among those that are left; each row once."""
    found: dict[int, Row] = {}
    left = list(after)
    for name in ("key", "id"):
        for place, row in enumerate(before):
            said = read.text(row, name)
            other = next((each for each in left if said is not None and read.text(each, name) == said), None)
            if place not in found and other is not None:
                found[place] = other
                left = [each for each in left if each is not other]
    pairs = [(row, found[place]) for place, row in enumerate(before) if place in found]
    return pairs, tuple(row for place, row in enumerate(before) if place not in found), tuple(left)


def _pair(before: Row, after: Row, on: Terms) -> Pair:
    changes = {metric.key: changed(before, after, metric, on) for metric in METRICS}
    status = None
    if read.text(before, "status") != read.text(after, "status"):
        why = "" if read.text(after, "status") == "ranked" else f": {markdown.reasons(after)}"
        status = f"{read.text(before, 'status') or 'no status'}, now {read.text(after, 'status') or 'no status'}{why}"
    return Pair(before=before, after=after, changes=changes, settings=tuple(_settings(before, after)), status=status)


def _unfit(row: Row, when: str) -> str | None:
    """Why no figure of a row may decide anything."""
    if read.text(row, "status") == "invalid":
        return f"the run {when} is invalid and decides nothing"
    basis = read.text(row, "basis")
    return f"the figures {when} are {basis}, not measured" if basis not in (None, "measured") else None


def figure(row: Row, metric: Metric) -> Estimate:
    """The figure that a row holds for `metric`, with the reason where it holds none."""
    found = read.leaf(row, *metric.path)
    value, low, high = (read.number(found, key) for key in ("value", "low", "high"))
    reason = read.text(found, "reason")
    if value is None and reason is None:
        reason = read.text(row, "latency_reason") if metric.needs == "rate" else None
        reason = reason or read.text(row, "reason")
    return Estimate(value=value, low=low, high=high, reason=reason)


_SETTINGS = ("id", "backend", "instance", "precision", "threads", "workers", "target", "usd_per_hour", "artifact_digest")


def _settings(before: Row, after: Row) -> Iterator[Difference]:
    old, new = ({key: each.get(key) for key in (*_SETTINGS, "artifact_details")} for each in (before, after))
    if "skipped" not in (before.get("status"), after.get("status")):
        yield from decide.differences(old, new)


def _differences(before: Result, after: Result) -> Iterator[Difference]:
    """What was asked for, of which model, by which loadstone, on what: settings before the environment."""
    old, new = (
        {
            "SLO": _slo(each),
            "objective": each.get("objective"),
            "rate per s": each.get("reference_rate_per_s"),
            **{key: read.leaf(each, "run", key) for key in ("profile", "seed", "lanes", "state", "loadstone_version")},
            "model": {key: read.leaf(each, "model", key) for key in ("name", "digest", "weights", "reference")},
            "environment": {
                key: value for key, value in read.mapping(each, "environment").items() if key not in ("fingerprint", "lanes")
            },
        }
        for each in (before, after)
    )
    yield from decide.differences(old, new)


def _slo(result: Result) -> str | None:
    return summary.slo_text(result) if read.mapping(result, "slo") else None


def _twins(result: Result) -> float:
    """How far apart a bench's hidden twins came out: closer than that, candidates tie."""
    ratio = read.number(result, "twin", "ratio", "value")
    return max(ratio, 1 / ratio) if ratio else TIE_RATIO


def label(pair: Pair) -> str:
    """The candidate's name, both where it changed."""
    old, new = cells.label(pair.before), cells.label(pair.after)
    return old if old == new else f"{old}, now {new}"
