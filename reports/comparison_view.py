"""The comparison as values: every text, cell and note that its page lays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.comparison import CHANCE, Change, Difference, Verdict
from reports import cells, comparison, markdown, summary, text
from reports import result as read
from reports.comparison import METRICS, Metric, Pair, Run, Versus

TITLES = {metric.key: metric.title for metric in METRICS}
_WORDS = {"usd_per_million": "cost", "capacity_per_s": "capacity", "p99_ms": "p99 latency", "service_p50_ms": "service time"}
_LEADING = {"cost": "usd_per_million", "throughput": "capacity_per_s", "latency": "p99_ms"}
_NO_VERDICT = "Their figures stand side by side, and no winner is named."


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeCell:
    """`then` → `now` (`sides`: at least one is there); `ratio` with its `span` and the `verdict` in a word, or `note`, the
    number of the reason for none."""

    title: str
    then: str
    now: str
    sides: bool = True
    ratio: str | None = None
    span: str | None = None
    verdict: str | None = None
    note: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One candidate of both runs; `lost`: it is ranked no more."""

    label: str
    settings: str
    status: str | None
    lost: bool
    cells: tuple[ChangeCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A setting that differs, for display; `of` is the candidate, None for the run."""

    of: str | None
    name: str
    then: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lone:
    """A candidate of one run only."""

    label: str
    settings: str
    only: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run of the comparison; `remark` says how deep it went and whether it ended."""

    letter: str
    name: str
    link: str | None
    remark: str
    cells: tuple[tuple[str, cells.Cell], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One run held against the first. `n` counts the ratios with a verdict, `chance` those that equals would show apart."""

    key: str
    title: str
    refused: tuple[str, ...]
    rows: tuple[PairRow, ...]
    notes: tuple[str, ...]
    lone: tuple[Lone, ...]
    changed: tuple[Changed, ...]
    n: int
    chance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything on the page but the pictures."""

    title: str
    claim: str
    evidence: tuple[str, ...]
    banners: tuple[summary.Banner, ...]
    runs: tuple[RunRow, ...]
    run_notes: tuple[str, ...]
    columns: tuple[str, ...]
    sections: tuple[Section, ...]


def view(runs: Sequence[Run], found: Sequence[Versus]) -> View:
    """The page that compares `runs`, of which `found` holds each after the first against it."""
    notes = cells.Notes()
    said = [sentence(each) for each in found]
    alone = len(found) == 1
    names = list(dict.fromkeys(summary.model_name(run.result) for run in runs))
    return View(
        title=f"{', '.join(names[:3])} – Loadstone comparison",
        claim=said[0] if alone else f"{len(runs)} runs, each held against run {runs[0].letter}",
        evidence=tuple(line for each in found for line in ([] if alone else [sentence(each)]) + _evidence(each)),
        banners=tuple(banner for each in found for banner in _banners(each)),
        runs=tuple(_run(run, notes) for run in runs),
        run_notes=tuple(notes.reasons),
        columns=tuple(metric.title for metric in METRICS),
        sections=tuple(_section(place, each) for place, each in enumerate(found)),
    )


def leading(versus: Versus) -> str | None:
    """The figure to speak of: the objective's, else the first with a verdict; None when there is no verdict at all."""
    wanted = _LEADING.get(read.text(versus.before.result, "objective") or "", "usd_per_million")
    for key in dict.fromkeys((wanted, "usd_per_million", "capacity_per_s", *TITLES)):
        if any(pair.changes[key].verdict is not Verdict.OPEN for pair in versus.pairs):
            return key
    return None


def sentence(versus: Versus) -> str:
    """What one run is against the other, or that it cannot be said."""
    before, after = versus.before.letter, versus.after.letter
    if versus.refused:
        return f"Runs {before} and {after} cannot be held against each other."
    if not versus.pairs:
        return f"Runs {before} and {after} have no candidate in common."
    key = leading(versus)
    if key is None:
        return f"No figure of runs {before} and {after} can be compared; the reasons stand below the table."
    counts = {verdict: _with(versus, key, verdict) for verdict in (Verdict.BETTER, Verdict.WORSE, Verdict.TIED)}
    better, worse, tied = (len(each) for each in counts.values())
    what = _WORDS.get(key, TITLES[key].removesuffix(", ms"))
    return f"In {what}, run {after} is better than run {before} for {better}, worse for {worse} and tied for {tied} candidates."


def _with(versus: Versus, key: str, verdict: Verdict) -> list[Pair]:
    return [pair for pair in versus.pairs if pair.changes[key].verdict is verdict]


def _evidence(versus: Versus) -> list[str]:
    """Who is better and worse by how much, and whether the recommendation holds."""
    said, key = [], leading(versus)
    for verdict in (Verdict.BETTER, Verdict.WORSE) if key else ():
        moved = [f"{comparison.label(pair)} {_ratio(pair.changes[key or ''])[0]}" for pair in _with(versus, key or "", verdict)]
        if moved:
            rest = f" and {len(moved) - 4} more" if len(moved) > 4 else ""
            said.append(f"{verdict.value.capitalize()}: {', '.join(moved[:4])}{rest}.")
    old, new = (_recommended(run) for run in (versus.before, versus.after))
    both = old == new and not old.startswith("nobody")
    said.append(f"Both recommend {old}." if both else f"{versus.before.letter} recommends {old}, {versus.after.letter} {new}.")
    return said


def _recommended(run: Run) -> str:
    row = read.recommended(run.result)
    return "nobody" if row is None else cells.label(row)


def _banners(versus: Versus) -> list[summary.Banner]:
    before, after = versus.before, versus.after
    names = f"runs {before.letter} and {after.letter}"
    found = []
    if versus.refused:
        body = f"{'; '.join(map(text.clean, versus.refused))}. {_NO_VERDICT}"
        found.append(summary.Banner(title=f"Not comparable: {names}", body=body[0].upper() + body[1:]))
    digests = [read.text(run.result, "model", "digest") for run in (before, after)]
    if digests[0] != digests[1]:
        models = [summary.model_name(run.result) for run in (before, after)]
        said = f"{models[0]} and {models[1]}" if models[0] != models[1] else f"two versions of {models[0]}"
        found.append(summary.Banner(title="Different models", body=f"{names.capitalize()} measured {said}."))
    for run in (before, after):
        if read.text(run.result, "run", "state") != "complete":
            body = "What was measured until it stopped is compared; candidates may be missing."
            found.append(summary.Banner(title=f"Run {run.letter} is not complete", body=body))
    return found


def _section(place: int, versus: Versus) -> Section:
    notes = cells.Notes()
    rows = tuple(_row(pair, versus, notes) for pair in versus.pairs)
    n = sum(change.verdict is not Verdict.OPEN for pair in versus.pairs for change in pair.changes.values())
    lone = [(row, versus.before) for row in versus.vanished] + [(row, versus.after) for row in versus.appeared]
    changed = [_changed(None, each) for each in versus.differences]
    changed += [_changed(comparison.label(pair), each) for pair in versus.pairs for each in pair.settings]
    return Section(
        key=f"against-{place}",
        title=f"Run {versus.after.letter} against run {versus.before.letter}",
        refused=versus.refused,
        rows=rows,
        notes=tuple(notes.reasons),
        lone=tuple(_lone(row, run.letter) for row, run in lone),
        changed=tuple(changed),
        n=n,
        chance=f"{CHANCE * n:.2g}",
    )


def _row(pair: Pair, versus: Versus, notes: cells.Notes) -> PairRow:
    return PairRow(
        label=comparison.label(pair),
        settings=cells.settings(pair.after),
        status=None if pair.status is None else text.clean(pair.status, 300),
        lost=pair.status is not None and read.text(pair.after, "status") != "ranked",
        cells=tuple(_cell(metric, pair.changes[metric.key], notes, bare=bool(versus.refused)) for metric in METRICS),
    )


def _cell(metric: Metric, change: Change, notes: cells.Notes, *, bare: bool) -> ChangeCell:
    """`bare`: the page says once, above, why nothing is compared."""
    write = text.usd if metric.money else text.number
    then, now = (write(each.value, each.low, each.high) for each in (change.before, change.after))
    if change.verdict is not Verdict.OPEN:
        ratio, span = _ratio(change)
        return ChangeCell(title=metric.title, then=then, now=now, ratio=ratio, span=span, verdict=change.verdict.value)
    measured = change.before.value is not None and change.after.value is not None
    if bare and measured:
        return ChangeCell(title=metric.title, then=then, now=now)
    reason = None if measured else (change.before if change.before.value is None else change.after).reason
    withheld = notes.withheld(change.reason if not bare else reason)
    sides = change.before.value is not None or change.after.value is not None
    return ChangeCell(title=metric.title, then=then, now=now, sides=sides, note=withheld.note, reason=withheld.reason)


def _ratio(change: Change) -> tuple[str, str | None]:
    """`0.93×` and its interval."""
    ratio = change.ratio
    return f"{text.number(ratio.value, ratio.low, ratio.high)}×", text.interval(ratio.value, ratio.low, ratio.high)


def _changed(of: str | None, found: Difference) -> Changed:
    return Changed(of=of, name=text.name(found.name), then=_value(found.before), now=_value(found.after))


def _value(value: Any) -> str:
    if value is None:
        return "not stated"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return text.clean(", ".join(map(str, value)) if isinstance(value, list) else value, 120)


def _lone(row: comparison.Row, letter: str) -> Lone:
    status = read.text(row, "status") or "no status"
    said = "ranked" if status == "ranked" else f"{status}: {markdown.reasons(row)}"
    return Lone(label=cells.label(row), settings=cells.settings(row), only=letter, status=text.clean(said, 300))


def _run(run: Run, notes: cells.Notes) -> RunRow:
    found = run.result
    fingerprint = read.text(found, "environment", "fingerprint")
    shown = (
        ("Measured", notes.plain(text.instant(read.text(found, "run", "created_utc")), "the run states no time")),
        ("Model", cells.Cell(text=summary.model_name(found))),
        ("SLO", cells.Cell(text=summary.slo_text(found))),
        ("Environment", notes.plain(fingerprint and text.name(fingerprint, 16), "the run states no fingerprint")),
        *winner(found, notes),
    )
    return RunRow(letter=run.letter, name=text.name(run.name), link=run.link, remark=remark(found), cells=shown)


def remark(found: read.Result) -> str:
    """`quick, complete`, and what else limits a run."""
    said = [read.text(found, "run", key) or f"no {key}" for key in ("profile", "state")]
    said += ["screening only"] * bool(read.flag(found, "run", "screening_only"))
    return text.name(", ".join(said))


def winner(found: read.Result, notes: cells.Notes) -> tuple[tuple[str, cells.Cell], ...]:
    """What a run recommends, with its figures."""
    row = read.recommended(found)
    reason = read.text(found, "recommendation_reason") or summary.NOT_ENOUGH
    if row is None:
        none = notes.withheld(reason)
        return tuple((name, none) for name in ("Recommends", "p99, ms", "Capacity, requests/s", "USD per million"))
    return (
        ("Recommends", cells.Cell(text=cells.label(row))),
        ("p99, ms", cells.latency(notes, row, "p99")),
        ("Capacity, requests/s", notes.quantity(row.get("capacity_per_s"))),
        ("USD per million", notes.quantity(row.get("usd_per_million"), money=True)),
    )
