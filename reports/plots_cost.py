"""The pictures that compare candidates by single figures: cost against latency, time within a request, start-up."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import cells, ink, summary, text
from reports import result as read
from reports.ink import Drawn
from reports.result import Result

QUANTILES = ("p99", "p95", "p90", "p50")

Parts = tuple[tuple[str, Callable[[Mapping[str, Any]], float | None]], ...]
"""What a bar is made of: each part's name and how it is read from a candidate."""


def _common_quantile(result: Result) -> str:
    """The highest quantile, up to the SLO's, that most candidates have."""
    have = {
        name: sum(read.number(row, "latency_ms", name, "value") is not None for row in read.rows(result, "candidates"))
        for name in QUANTILES
        if float(name[1:]) <= 100 * (read.number(result, "slo", "quantile") or 0.99)
    }
    return max(have, key=lambda name: have[name], default="p50")


def cost(result: Result) -> Drawn:
    """USD per million inferences at capacity over the latency that most candidates have, in ms."""
    pens, name = ink.pens(result), _common_quantile(result)
    points = []
    for place, row in enumerate(read.rows(result, "candidates")):
        latency, price = read.mapping(row, "latency_ms", name), read.mapping(row, "usd_per_million")
        x, y = read.number(latency, "value"), read.number(price, "value")
        if x is not None and y is not None:
            points.append(_Point(pen=pens[place], place=place, x=x, y=y, latency=latency, price=price, quantile=name))
    points.sort(key=lambda point: (point.x, point.place))
    # Neighbours carry their names on opposite sides, so that a tie stays readable.
    furthest = max((point.x for point in points), default=0.0)
    sides = [
        f"{'bottom' if odd % 2 else 'top'} {'left' if point.x > 0.7 * furthest else 'center'}"
        for odd, point in enumerate(points)
    ]
    words = [f"{point.pen.label} {name} {text.number(point.x)} ms and {text.usd(point.y)} per million" for point in points[:12]]
    wanted = read.percentile_name(read.number(result, "slo", "quantile") or 0.99)
    frame = ink.layout(
        xaxis=ink.axis(f"{name} at {ink.safe(summary.rate_text(result))}, ms", rangemode="tozero"),
        yaxis=ink.axis("USD per million inferences", rangemode="tozero", tickprefix="$"),
        shapes=ink.slo_line(result, "x") if name == wanted else [],
    )
    front = _front(
        points, {place for place, row in enumerate(read.rows(result, "candidates")) if row.get("status") == "ranked"}
    )
    return Drawn(
        traces=[*front, *(_marker(point, side) for point, side in zip(points, sides, strict=True))],
        layout=frame,
        seen="; ".join(words) + ".",
        places=frozenset(point.place for point in points),
        remark=None if name == wanted else f"{name} is drawn, because most candidates have it and fewer have {wanted}.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """One candidate in the picture of cost against latency."""

    pen: ink.Pen
    place: int
    x: float
    y: float
    latency: Mapping[str, Any]
    price: Mapping[str, Any]
    quantile: str


def _front(points: Sequence[_Point], ranked: Container[int]) -> list[Any]:
    """The line through the ranked points that no other is left of and below; nothing through fewer than two."""
    import plotly.graph_objects as go

    best, lowest = list[_Point](), math.inf
    for point in sorted((point for point in points if point.place in ranked), key=lambda point: (point.x, point.y)):
        if point.y < lowest:
            best.append(point)
            lowest = point.y
    if len(best) < 2:
        return []
    line = {"color": ink.MUTED, "width": 1.2, "dash": "dot", "shape": "hv"}
    x, y = [point.x for point in best], [point.y for point in best]
    return [go.Scatter(x=x, y=y, mode="lines", line=line, name="Pareto front", hoverinfo="skip")]


def _marker(point: _Point, side: str) -> Any:
    import plotly.graph_objects as go

    pen = point.pen
    (left, right), (down, up) = ink.bars(point.latency, point.x), ink.bars(point.price, point.y)
    spread = {"type": "data", "color": pen.colour, "thickness": 1.2, "width": 3}
    return go.Scatter(
        x=[point.x],
        y=[point.y],
        name=pen.safe_label,
        legendgroup=pen.group,
        mode="markers+text",
        opacity=pen.opacity,
        text=[ink.safe(text.name(pen.label, 30))],
        textposition=side,
        textfont={"size": 11, "color": ink.INK},
        marker={"size": 11 if pen.slot == 0 or pen.projected else 8, "color": pen.colour, "symbol": pen.symbol()},
        error_x={**spread, "array": [right], "arrayminus": [left]},
        error_y={**spread, "array": [up], "arrayminus": [down]},
        cliponaxis=False,
        hovertemplate=f"{point.quantile} {text.estimate(point.latency)} ms<br>${text.estimate(point.price)} per million",
    )


def time(result: Result) -> Drawn:
    """Medians of queue, compute and transport, stacked, in ms."""
    parts: Parts = (
        ("queue", lambda row: read.number(row, "queue_ms", "value")),
        ("compute", lambda row: read.number(row, "compute_ms", "value")),
        ("transport", lambda row: read.number(row, "transport_ms")),
    )
    return _stacked(result, parts, "ms", (0, 1, 2))


def start(result: Result) -> Drawn:
    """Process start, load and first inference, stacked, in seconds."""
    parts: Parts = (
        ("process start", lambda row: cells.cold_stages(row)["process start"]),
        ("load", lambda row: cells.cold_stages(row)["load"]),
        ("first inference", lambda row: cells.cold_stages(row)["first inference"]),
    )
    return _stacked(result, parts, "s", (1, 3, 2))


def _stacked(result: Result, parts: Parts, unit: str, shades: tuple[int, ...]) -> Drawn:
    import plotly.graph_objects as go

    rows, pens = read.rows(result, "candidates"), ink.pens(result)
    places = [place for place, row in enumerate(rows) if any(of(row) is not None for _, of in parts)]
    traces = []
    for shade, (name, of) in zip(shades, parts, strict=True):
        traces.append(
            go.Bar(
                x=[of(rows[place]) for place in places],
                y=list(range(len(places))),
                orientation="h",
                name=name,
                marker={"color": f"var(--part{shade})", "line": {"width": 0}},
                hovertemplate=f"{name} %{{x:.4~g}} {unit}<extra></extra>",
            )
        )
    labels = [ink.safe(text.name(pens[place].label, 30)) for place in places]
    words = [_part_words(rows[place], parts, unit) for place in places[:12]]
    frame = ink.layout(
        height_px=110 + 32 * len(places),
        barmode="stack",
        bargap=0.42,
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "xanchor": "left", "traceorder": "normal"},
        xaxis=ink.axis(unit),
        # Candidates are placed by number, because two shortened names may be equal.
        yaxis=ink.axis("", tickmode="array", tickvals=list(range(len(places))), ticktext=labels, autorange="reversed"),
    )
    return Drawn(traces=traces, layout=frame, seen="; ".join(words) + ".", places=frozenset(places))


def _part_words(row: Mapping[str, Any], parts: Parts, unit: str) -> str:
    known = [(name, of(row)) for name, of in parts]
    said = ", ".join(f"{name} {text.number(value)} {unit}" for name, value in known if value is not None)
    return f"{cells.label(row)}: {said}"
