"""The pictures: each a plotly figure as plain JSON values, with a title, what it shows in words, and whom it leaves out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reports import cells, plots_cost, plots_latency, plots_load
from reports import result as read
from reports.ink import Drawn
from reports.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """`figure` is plotly's JSON, or None with the reason in `absent`. `alt` says in words what is to be seen."""

    key: str
    title: str
    alt: str
    caption: str
    figure: dict[str, Any] | None
    absent: str | None = None


_DRAWN: tuple[tuple[str, str, Callable[[Result], Drawn], str], ...] = (
    ("cost", "Cost against latency", plots_cost.cost, "Down and left is better; bars are 95 % intervals."),
    (
        "distribution",
        "Latency distribution",
        plots_latency.distribution,
        "Share of requests answered within a latency, at the reference rate.",
    ),
    (
        "tail",
        "The slow tail",
        plots_latency.tail,
        "Share of requests slower than a latency; each labelled gridline is ten times rarer.",
    ),
    (
        "load",
        "Latency against offered rate",
        plots_load.load,
        "Marked: p99, left out where a step was too short for it. Dotted: p50. Cross: capacity with its 95 % interval.",
    ),
    (
        "violations",
        "Violations against offered rate",
        plots_load.violations,
        "Share of requests over the limit or not answered. Cross: capacity with its 95 % interval.",
    ),
    (
        "time",
        "Where the time goes",
        plots_cost.time,
        "Medians at the reference rate. The server reports queue and compute; transport is all that it does not see.",
    ),
    ("start", "Start-up", plots_cost.start, "From starting the server's process until it has made its first inference."),
)


def pictures(result: Result) -> tuple[Picture, ...]:
    """All pictures, in the order of the page."""
    return tuple(_picture(result, *one) for one in _DRAWN)


def _picture(result: Result, key: str, title: str, draw: Callable[[Result], Drawn], caption: str) -> Picture:
    import plotly.graph_objects as go

    drawn = draw(result)
    names = [cells.label(row) for place, row in enumerate(read.rows(result, "candidates")) if place not in drawn.places]
    if not drawn.places:
        said = f"{title}: nothing to draw, because no candidate has these figures."
        return Picture(key=key, title=title, alt=said, caption=caption, figure=None, absent=said)
    figure = json.loads(go.Figure(data=drawn.traces, layout=drawn.layout).to_json())
    figure["layout"].pop("template", None)
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    left_out = f"Without these figures: {shown}." if names else ""
    return Picture(
        key=key,
        title=title,
        alt=f"{title}. {drawn.seen}",
        caption=" ".join(filter(None, (caption, drawn.remark, left_out))),
        figure=figure,
    )
