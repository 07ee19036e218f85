"""One candidate's section: settings, validity, load steps, artifact, parity and cold start, as rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reports import artifact, cells, evidence, text
from reports import result as read
from reports.artifact import CompileReport
from reports.result import Result

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A name and its value, both for display."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A titled list of pairs."""

    title: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadStep:
    """One row of the table of load steps, as text in the order of `STEP_COLUMNS`."""

    cells: tuple[str, ...]
    valid: bool


STEP_COLUMNS = ("Kind", "Offered, /s", "Achieved, /s", "n", "Violations", "Share", "p50, ms", "p99, ms", "Valid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """The section of one candidate."""

    anchor: str
    label: str
    status: str
    reason: str | None
    invalid: tuple[str, ...]
    warnings: tuple[str, ...]
    projected: bool
    facts: tuple[Facts, ...]
    compile_report: CompileReport
    steps: tuple[LoadStep, ...]
    samples: tuple[evidence.File, ...]
    log: evidence.File | None
    command: str | None


def details(row: Row, anchor: str, result: Result) -> Details:
    """The section of the candidate `row` of `result`, reached at the fragment `anchor`."""
    reason, log, command = read.text(row, "reason"), read.text(row, "log"), evidence.command(result, row)
    projected = read.text(row, "basis") == "projected"
    return Details(
        anchor=anchor,
        label=cells.label(row),
        status=text.name(read.text(row, "status") or "no status", 24),
        reason=text.clean(reason) if reason else None,
        invalid=tuple(text.clean(one) for one in read.texts(row, "validity", "reasons")),
        warnings=tuple(text.clean(one) for one in read.texts(row, "validity", "warnings")),
        projected=projected,
        facts=(
            Facts(title="Settings", pairs=_pairs(_settings(row))),
            *((Facts(title="Projection", pairs=_pairs(_projection(row))),) if projected else ()),
            Facts(title="Environment", pairs=_pairs(evidence.where(result, row))),
            *_beaten(result, row),
            Facts(title="Cost", pairs=_pairs(_cost(row))),
            Facts(title="Artifact and parity", pairs=_pairs(_artifact(row))),
            *((Facts(title="Failed compile", pairs=_pairs(_failed(row))),) if read.text(row, "reduction") else ()),
            Facts(title="Cold start", pairs=_pairs(_cold_start(row))),
            Facts(title="Load", pairs=_pairs(_load(row))),
        ),
        compile_report=artifact.report(read.mapping(row, "artifact_details")),
        steps=tuple(_step(step) for step in read.rows(row, "steps")),
        samples=evidence.samples(row),
        log=None if log is None else evidence.File(name=text.name(log, 80), href=evidence.link(log), said="log"),
        command=text.clean(command, 4000) if command else None,
    )


def _pairs(found: Iterator[tuple[str, str | None]]) -> tuple[Pair, ...]:
    return tuple(Pair(name=name, value=text.clean(value) if value else text.DASH) for name, value in found)


def _settings(row: Row) -> Iterator[tuple[str, str | None]]:
    yield "Backend", read.text(row, "backend")
    yield "Precision", read.text(row, "precision")
    yield "Target", read.text(row, "target")
    yield "Threads", read.text(row, "threads")
    yield "Workers", read.text(row, "workers")
    yield "Instance", read.text(row, "instance")
    yield "Basis", read.text(row, "basis")


def _projection(row: Row) -> Iterator[tuple[str, str | None]]:
    found = read.mapping(row, "projection")
    level = read.number(found, "level")
    yield "Measured?", "no: every figure here is computed by a model, none was measured"
    yield "From", read.text(found, "from")
    yield "Anchor", read.text(found, "anchor", "text") or read.text(found, "anchor")
    yield (
        "Anchor's source",
        " ".join(filter(None, (read.text(found, "anchor", "source"), read.text(found, "anchor", "date")))) or None,
    )
    yield "Level of the intervals", None if level is None else text.percent(level)
    yield "Speed against its origin", f"{text.estimate(read.mapping(found, 'speed'))} times" if "speed" in found else None
    yield "Servers on the instance", read.text(found, "servers")
    yield "Class", read.text(found, "class")
    yield "Bound by", read.text(found, "bound")
    yield "Assumptions", "; ".join(read.texts(found, "notes")) or None


def _beaten(result: Result, row: Row) -> tuple[Facts, ...]:
    """Who is no worse in cost and latency and better in one of them; nothing for a candidate on the Pareto front."""
    found = read.rows(result, "decision", "dominated_by", read.text(row, "id") or "")
    pairs = [
        (
            read.text(other, "id") or "unnamed",
            f"costs {text.number(read.number(other, 'cost_ratio', 'value'))} and takes "
            f"{text.number(read.number(other, 'latency_ratio', 'value'))} times as much as it",
        )
        for other in found
    ]
    return (
        (Facts(title="Dominated by", pairs=_pairs(iter([(text.name(name), said) for name, said in pairs]))),) if pairs else ()
    )


def _quantile(row: Row, group: str, name: str) -> str:
    found = read.mapping(row, group, name)
    if read.number(found, "value") is not None:
        return f"{text.estimate(found)} ms"
    reason = read.text(found, "reason") or (read.text(row, "latency_reason") if group == "latency_ms" else None)
    return f"{text.DASH} ({text.clean(reason)})" if reason else text.DASH


def _load(row: Row) -> Iterator[tuple[str, str | None]]:
    yield "Capacity under the SLO", _with_reason(row, "capacity_per_s", " requests/s")
    yield "Closed-loop capacity", _unit(read.number(row, "closed_capacity_per_s"), " requests/s")
    yield "Offered", _unit(read.number(row, "offered_per_s"), " requests/s")
    yield "Achieved", _unit(read.number(row, "achieved_per_s"), " requests/s")
    yield "Errors", text.percent(read.number(row, "error_ratio"))
    for name in ("p50", "p90", "p95", "p99"):
        yield f"Latency {name}", _quantile(row, "latency_ms", name)
    for name in ("p50", "p90", "p95", "p99"):
        yield f"Service {name}, one user", _quantile(row, "service_ms", name)
    yield "Queue", _with_reason(row, "queue_ms", " ms")
    yield "Compute", _with_reason(row, "compute_ms", " ms")
    yield "Transport", _unit(read.number(row, "transport_ms"), " ms")
    yield "CPU in use", text.percent(read.number(row, "cpu_utilization"))
    yield "Memory", _unit(read.number(row, "memory_mb"), " MB")


def _cost(row: Row) -> Iterator[tuple[str, str | None]]:
    price = read.number(row, "usd_per_hour")
    yield "Per hour", f"${price:.6g}" if price is not None else None
    yield "Price basis", read.text(row, "price", "basis")
    yield "Price source", read.text(row, "price", "source")
    yield "Price date", read.text(row, "price", "date")
    yield "USD per million at capacity", _with_reason(row, "usd_per_million", "")
    yield "USD per million at the scaling target", _with_reason(row, "usd_per_million_at_target", "")


def _artifact(row: Row) -> Iterator[tuple[str, str | None]]:
    cached = read.flag(row, "compile_cached")
    compile_s = read.number(row, "compile_s")
    yield "Compile time", None if compile_s is None else text.duration(compile_s) + (" (from the cache)" if cached else "")
    yield "Size", text.size(read.number(row, "artifact_bytes"))
    yield "Largest absolute error", text.number(read.number(row, "parity", "max_abs"))
    yield "Largest relative error", text.number(read.number(row, "parity", "max_rel"))
    yield "Same top-1", text.percent(read.number(row, "parity", "top1_agreement"))
    yield "Payloads compared", text.compact(read.number(row, "parity", "payloads"))


def _failed(row: Row) -> Iterator[tuple[str, str | None]]:
    """The smallest graph on which the compiler fails as it did on the whole."""
    yield "Operator", read.text(row, "failed_operator")
    yield "Smallest graph that fails", read.text(row, "reproducer")
    yield "How it was found", read.text(row, "reduction")


def _cold_start(row: Row) -> Iterator[tuple[str, str | None]]:
    yield "Until ready", text.duration(read.number(row, "start_s"))
    for name, value_s in cells.cold_stages(row).items():
        yield f"of which {name}", text.duration(value_s)
    yield "Starts measured", text.compact(read.number(row, "starts"))


def _unit(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{text.number(value)}{unit}"


def _with_reason(row: Row, key: str, unit: str) -> str:
    found = read.mapping(row, key)
    if read.number(found, "value") is not None:
        return f"{text.estimate(found)}{unit}"
    reason = read.text(found, "reason")
    return f"{text.DASH} ({text.clean(reason)})" if reason else text.DASH


def _step(step: Row) -> LoadStep:
    n, violations = read.number(step, "n"), read.number(step, "violations")
    share = violations / n if n and violations is not None else None
    valid = read.flag(step, "valid")
    reasons = read.texts(step, "reasons")
    why = f": {text.clean('; '.join(reasons), 200)}" if reasons else ""
    return LoadStep(
        cells=(
            text.name(read.text(step, "kind") or text.DASH, 24),
            text.number(read.number(step, "offered_per_s")),
            text.number(read.number(step, "achieved_per_s")),
            text.DASH if n is None else f"{n:,.0f}",
            text.DASH if violations is None else f"{violations:,.0f}",
            text.percent(share),
            text.number(read.number(step, "p50_ms")),
            text.number(read.number(step, "p99_ms")),
            {True: "yes", False: f"no{why}", None: text.DASH}[valid],
        ),
        valid=valid is not False,
    )
