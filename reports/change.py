"""What would have to change before another candidate is to be recommended, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reports import result as read
from reports import text, whatif
from reports.result import Result

_WHAT = {
    ("price", "up"): "Higher price",
    ("price", "down"): "Lower price",
    ("load", "up"): "More demand",
    ("load", "down"): "Less demand",
    ("slo", "up"): "Looser limit",
    ("slo", "down"): "Tighter limit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`what` may change and what then follows; `switches` is whether another candidate would be recommended."""

    what: str
    said: str
    switches: bool


def changes(result: Result, model: Mapping[str, Any]) -> tuple[Change, ...]:
    """The nearest price, demand and limit at which somebody else wins, as the result has them, and the other objectives."""
    if read.recommended(result) is None:
        return ()
    return (*_moves(result), *_objectives(result, model))


def _moves(result: Result) -> Iterator[Change]:
    found = read.rows(result, "decision", "changes")
    for each in found:
        key, of = (read.text(each, "what") or "", read.text(each, "direction") or ""), read.text(each, "of")
        name = _WHAT.get(key, text.name(key[0]).capitalize()) + (f" of {text.name(of, 40)}" if of and key[0] == "price" else "")
        said = read.text(each, "said") or read.text(each, "reason") or "the result does not say"
        never = read.text(each, "verdict") == "never"
        shown = f"Would change nothing: {said.removeprefix('never: ')}" if never else said
        yield Change(what=name, said=_sentence(shown), switches=read.text(each, "verdict") == "changes")
    reason = read.text(result, "decision", "changes_reason")
    if not found and reason:
        yield Change(what="Price, demand, limit", said=_sentence(reason), switches=False)


def _objectives(result: Result, model: Mapping[str, Any]) -> Iterator[Change]:
    """Who would come first by another objective; a month's cost only where a demand is known."""
    own, chosen = whatif.original(model), read.recommended(result)
    for objective, said in whatif.OBJECTIVES.items():
        if objective == own.objective or (objective == whatif.MONTH and own.demand_per_s is None):
            continue
        lines = whatif.outcome(model, replace(own, objective=objective))
        first = lines[0] if lines and lines[0].rank is not None else None
        if first is None:
            yield Change(what=f"By {said}", said="No candidate has a figure to compare.", switches=False)
            continue
        tied = [line for line in lines if line.rank == first.rank]
        names = [line.row["label"] + (" (projected)" if line.row["projected"] else "") for line in tied]
        own_is_first = any(line.row["id"] == (chosen or {}).get("id") for line in tied)
        among = f", tied with {_listed(names[1:])}" if len(names) > 1 else ""
        if own_is_first:
            kept = "It would still come first" if len(names) == 1 else f"It would still be among the first: {_listed(names)}"
            yield Change(what=f"By {said}", said=f"{kept}.", switches=False)
        else:
            yield Change(what=f"By {said}", said=f"{names[0]} would come first{among}.", switches=True)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _sentence(said: str) -> str:
    shown = text.clean(said)
    return shown + ("" if shown.endswith((".", "!", "?", "…")) else ".")
