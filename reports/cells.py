"""One figure as it is shown: its text, its interval, and, when it is withheld, the reason as a numbered note."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports import result as read
from reports import text


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`text` with its unit left to the column; `detail` is a secondary line; `note` numbers the reason of a withheld value."""

    text: str
    detail: str | None = None
    reason: str | None = None
    note: int | None = None


class Notes:
    """The reasons shown beneath one table, each once, numbered from 1."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def withheld(self, reason: str | None) -> Cell:
        """The cell of a value that is absent for `reason`."""
        said = text.clean(reason) if reason else text.NO_REASON
        if said not in self.reasons:
            self.reasons.append(said)
        return Cell(text=text.DASH, reason=said, note=self.reasons.index(said) + 1)

    def plain(self, said: str | None, reason: str | None = None, detail: str | None = None) -> Cell:
        """A cell with `said`, withheld when that is None or the dash."""
        return self.withheld(reason) if said in (None, text.DASH) else Cell(text=str(said), detail=detail)

    def quantity(self, data: Any, reason: str | None = None, *, money: bool = False) -> Cell:
        """The cell of a `value`, `low`, `high` mapping, withheld for its own reason, else for `reason`."""
        value, low, high = (read.number(data, key) for key in ("value", "low", "high"))
        if value is None:
            return self.withheld(read.text(data, "reason") or reason)
        write, span = (text.usd, text.usd_interval) if money else (text.number, text.interval)
        return Cell(text=write(value, low, high), detail=span(value, low, high))


def latency(notes: Notes, row: Mapping[str, Any], name: str, *, of: str = "latency_ms") -> Cell:
    """The cell of one quantile in ms; `of` is `latency_ms` (from due) or `service_ms` (closed loop, one user)."""
    reason = read.text(row, "latency_reason") or read.text(row, "reason")
    return notes.quantity(read.leaf(row, of, name), reason)


def samples(notes: Notes, row: Mapping[str, Any]) -> Cell:
    """The number of requests behind the quantiles at the reference rate."""
    counts = [read.number(item, "n") for item in read.mapping(row, "latency_ms").values()]
    known = [count for count in counts if count is not None]
    said = f"{max(known):,.0f}" if known else None
    return notes.plain(said, read.text(row, "latency_reason") or read.text(row, "reason"))


def parity(notes: Notes, row: Mapping[str, Any]) -> Cell:
    """How far the outputs are from the reference: share of payloads with the same top-1, largest relative error."""
    agreement, error = read.number(row, "parity", "top1_agreement"), read.number(row, "parity", "max_rel")
    if agreement is None and error is None:
        return notes.withheld(read.text(row, "reason"))
    top1 = f"{text.percent(agreement)} top-1" if agreement is not None else "no top-1"
    return Cell(text=top1, detail=None if error is None else f"max rel {text.number(error)}")


def cold_stages(row: Mapping[str, Any]) -> dict[str, float | None]:
    """The consecutive stages of a cold start in seconds: what `start_s` holds besides the load and the first inference,
    and these two. Each figure is a median of its own, so the first stage is withheld where the others exceed `start_s`."""
    whole, load = read.number(row, "start_s"), read.number(row, "load_s")
    first_ms = read.number(row, "first_inference_ms")
    first = None if first_ms is None else first_ms / 1000
    rest = None if whole is None or load is None or first is None else whole - load - first
    return {"process start": rest if rest is not None and rest >= 0 else None, "load": load, "first inference": first}


def start_up(notes: Notes, row: Mapping[str, Any]) -> Cell:
    """From starting the process until it is ready, in seconds, with the stages that make it up."""
    whole = read.number(row, "start_s")
    if whole is None:
        return notes.withheld(read.text(row, "reason") or "the server was not started")
    stages = list(cold_stages(row).values())
    known = [f"{stage:.2g}" for stage in stages if stage is not None]
    return Cell(text=text.duration(whole), detail=" + ".join(known) if len(known) == len(stages) else None)


def settings(row: Mapping[str, Any]) -> str:
    """`onnxruntime · fp32 · 1 thread × 1 worker` as far as it is known."""
    threads, workers = read.number(row, "threads"), read.number(row, "workers")
    parts = [text.name(part, 32) for part in (read.text(row, "backend"), read.text(row, "precision")) if part]
    if threads is not None:
        size = f"{threads:g} thread{'s' * (threads != 1)}"
        parts.append(size if workers is None else f"{size} × {workers:g} worker{'s' * (workers != 1)}")
    if read.text(row, "basis") == "projected":
        parts.append("projected, not measured")
    return " · ".join(parts)


def label(row: Mapping[str, Any]) -> str:
    """The candidate's name for display."""
    return text.name(read.text(row, "id") or "unnamed candidate")
