"""The pictures: each a plotly figure as plain JSON values, with a title, what it shows in words, and whom it leaves out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reports import cells, plots_artifact, plots_cost, plots_fleet, plots_latency, plots_load, plots_timeline
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
    wide: bool = False


_WIDE = {"cost", "timeline", "artifact", "fleet"}

_DRAWN: tuple[tuple[str, str, Callable[[Result], Drawn], str], ...] = (
    (
        "cost",
        "Cost against latency",
        plots_cost.cost,
        "Down and left is better; bars are intervals. The line joins those whom nobody beats in both (Pareto front).",
    ),
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
        "Marked: p99, left out where a step was too short for it. Dotted: p50. Cross: capacity with its interval.",
    ),
    (
        "violations",
        "Errors and violations against offered rate",
        plots_load.violations,
        "Share of requests over the limit or not answered; dotted: not answered at all. Cross: capacity with its interval.",
    ),
    (
        "time",
        "Where the time goes",
        plots_cost.time,
        "Medians at the reference rate. The server reports queue and compute; transport is all that it does not see.",
    ),
    ("start", "Start-up", plots_cost.start, "From starting the server's process until it has made its first inference."),
    (
        "timeline",
        "What was measured when, and how quiet the machine was",
        plots_timeline.timeline,
        "Crossed out: invalid runs, which decide nothing. Below: each signal against what a single second may reach.",
    ),
    (
        "artifact",
        "Compile time, size and parity",
        plots_artifact.artifact,
        "Errors against the reference outputs; an exact output has no mark.",
    ),
    ("warmup", "Warm-up", plots_timeline.warm_up, "Median of each window before measuring; a line a server start."),
)
_SIMULATED: tuple[tuple[str, str, Callable[[plots_fleet.Simulation], Drawn], str], ...] = (
    (
        "policies",
        "Simulated scaling policies",
        plots_fleet.frontier,
        "A point a target, labelled with its share of the capacity; crosses keep the SLO in too few seeds; ringed: chosen.",
    ),
    ("fleet", "The chosen policy over a day", plots_fleet.over_time, "The first seed of the simulation, minute by minute."),
)


def pictures(result: Result, simulation: plots_fleet.Simulation | None = None) -> tuple[Picture, ...]:
    """All pictures, in the order of the page; `simulation` is what `plots_fleet.load` found."""
    shown = [_picture(result, key, title, draw(result), caption) for key, title, draw, caption in _DRAWN]
    for key, title, simulate, caption in _SIMULATED:
        if simulation is not None:
            shown.append(_picture({}, key, title, simulate(simulation), caption))
        elif key == "policies":
            shown.append(_absent(key, title, caption, plots_fleet.ABSENT))
    return tuple(shown)


def _absent(key: str, title: str, caption: str, said: str) -> Picture:
    return Picture(key=key, title=title, alt=said, caption=caption, figure=None, absent=said)


def _picture(result: Result, key: str, title: str, drawn: Drawn, caption: str) -> Picture:
    import plotly.graph_objects as go

    names = [cells.label(row) for place, row in enumerate(read.rows(result, "candidates")) if place not in drawn.places]
    if not drawn.places:
        return _absent(key, title, caption, f"{title}: nothing to draw, because no candidate has these figures.")
    # More digits than can be seen would double the page's size.
    made = go.Figure(data=drawn.traces, layout=drawn.layout).to_json()
    figure = json.loads(made, parse_float=lambda digits: float(f"{float(digits):.5g}"))
    figure["layout"].pop("template", None)
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    left_out = f"Without these figures: {shown}." if names else ""
    return Picture(
        key=key,
        title=title,
        alt=f"{title}. {drawn.seen}",
        caption=" ".join(filter(None, (caption, drawn.remark, left_out))),
        figure=figure,
        wide=key in _WIDE,
    )
