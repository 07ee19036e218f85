"""The pictures over offered rate: latency and violations of every load step, and the capacity that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports import cells, ink, text
from reports import result as read
from reports.ink import Drawn
from reports.result import Result

Row = Mapping[str, Any]


def _steps(row: Row) -> pd.DataFrame:
    """The valid open-loop steps by offered rate: offered_per_s, n, violations, p50_ms, p99_ms, share (NaN where absent)."""
    found = [step for step in read.rows(row, "steps") if step.get("kind") != "closed" and step.get("valid") is not False]
    columns = ("offered_per_s", "n", "violations", "p50_ms", "p99_ms")
    frame = pd.DataFrame([[read.number(step, name) for name in columns] for step in found], columns=list(columns), dtype=float)
    frame = frame.dropna(subset=["offered_per_s"]).sort_values("offered_per_s")
    return frame.assign(share=frame["violations"] / frame["n"].where(frame["n"] > 0))


def _capacity_mark(row: Row, pen: ink.Pen, y: float | None) -> list[Any]:
    """The capacity point at height `y`, with its interval; nothing when one of them is unknown."""
    import plotly.graph_objects as go

    found = read.mapping(row, "capacity_per_s")
    value = read.number(found, "value")
    if value is None or y is None:
        return []
    below, above = ink.bars(found, value)
    return [
        go.Scatter(
            x=[value],
            y=[y],
            name=pen.safe_label,
            legendgroup=pen.group,
            mode="markers",
            marker={
                "symbol": pen.symbol("x-thin"),
                "size": 11,
                "color": pen.colour,
                "line": {"color": pen.colour, "width": 2.6},
            },
            error_x={
                "type": "data",
                "array": [above],
                "arrayminus": [below],
                "color": pen.colour,
                "thickness": 1.6,
                "width": 5,
            },
            hovertemplate=f"capacity {text.estimate(found)} requests/s",
        )
    ]


def load(result: Result) -> Drawn:
    """p50 and p99 in ms (logarithmic) over the offered rate; the capacity stands on the SLO's line."""
    pens, traces, places = ink.pens(result), [], set()
    height = read.number(result, "slo", "limit_ms")
    for place, row in enumerate(read.rows(result, "candidates")):
        steps, pen = _steps(row), pens[place]
        for column, dash, mode in (("p50_ms", "dot", "lines"), ("p99_ms", pen.dash, "lines+markers")):
            shown = steps.dropna(subset=[column])
            if not shown.empty:
                said = f"{column.removesuffix('_ms')} %{{y:.4~g}} ms at %{{x:.4~g}}/s"
                traces.append(_line(pen, shown["offered_per_s"], shown[column], dash, mode, said))
                places.add(place)
        traces += _capacity_mark(row, pen, height) if place in places else []
    y = ink.log_axis("latency from due, ms")
    shapes = [*ink.slo_line(result, "y"), *_target(result)]
    frame = ink.layout(xaxis=ink.axis("offered, requests/s", rangemode="tozero"), yaxis=y, shapes=shapes)
    return Drawn(traces=traces, layout=frame, seen=_capacity_words(result), places=frozenset(places))


def _target(result: Result) -> list[dict[str, Any]]:
    """The rate that the scaling target puts on an instance of the recommended candidate."""
    per_minute = read.number(result, "scaling", "target_value")
    return [] if per_minute is None else [ink.limit("scaling target", x=per_minute / 60, colour=ink.INK)]


def _line(pen: ink.Pen, x: pd.Series[float], y: pd.Series[float], dash: str, mode: str, said: str) -> Any:
    import plotly.graph_objects as go

    return go.Scatter(
        x=x.tolist(),
        y=y.tolist(),
        name=pen.safe_label,
        legendgroup=pen.group,
        mode=mode,
        opacity=pen.opacity,
        line={"color": pen.colour, "width": pen.width if dash != "dot" else 1.3, "dash": dash},
        marker={"size": 5, "color": pen.colour},
        hovertemplate=said,
    )


def _capacity_words(result: Result) -> str:
    found = []
    for row in read.rows(result, "candidates"):
        value = read.number(row, "capacity_per_s", "value")
        if value is not None:
            said = f"{cells.label(row)} {text.estimate(read.mapping(row, 'capacity_per_s'))} requests/s"
            found.append((-value, said))
    return f"Capacity under the SLO: {'; '.join(said for _, said in sorted(found)[:12])}." if found else "No capacity is known."


def _lost(row: Row, pen: ink.Pen) -> list[Any]:
    """The share of requests without a good answer at each rate of the search; nothing where none was lost."""
    found = [(read.number(step, "rate_per_s"), read.number(step, "n"), read.number(step, "lost")) for step in _searched(row)]
    shares = sorted((rate, lost / n) for rate, n, lost in found if rate is not None and n and lost is not None)
    if not any(share for _, share in shares):
        return []
    x, y = (pd.Series(column, dtype=float) for column in zip(*shares, strict=True))
    return [_line(pen, x, y, "dot", "lines", "%{y:.3~%} not answered at %{x:.4~g}/s")]


def _searched(row: Row) -> list[Row]:
    return read.rows(row, "capacity_search", "steps")


def violations(result: Result) -> Drawn:
    """Share of violations over the offered rate; the capacity stands on the share that the SLO allows."""
    pens, traces, places = ink.pens(result), [], set()
    quantile = read.number(result, "slo", "quantile")
    allowed = 1 - quantile if quantile is not None else None
    for place, row in enumerate(read.rows(result, "candidates")):
        steps, pen = _steps(row).dropna(subset=["share"]), pens[place]
        if not steps.empty:
            said = "%{y:.3~%} violations at %{x:.4~g}/s"
            traces.append(_line(pen, steps["offered_per_s"], steps["share"], pen.dash, "lines+markers", said))
            traces += [*_lost(row, pen), *_capacity_mark(row, pen, allowed)]
            places.add(place)
    top = max((value for trace in traces for value in trace.y), default=0.0)
    # What matters happens around the allowed share; far beyond it a candidate is lost anyway.
    ceiling = min(top * 1.05, 12 * allowed) if allowed else top * 1.05
    y = ink.axis("violations", tickformat=".1~%", range=[-ceiling / 40, ceiling or 1])
    marks = [ink.limit(f"{text.percent(allowed)} allowed", y=allowed)] if allowed is not None else []
    frame = ink.layout(xaxis=ink.axis("offered, requests/s", rangemode="tozero"), yaxis=y, shapes=marks)
    return Drawn(traces=traces, layout=frame, seen=_capacity_words(result), places=frozenset(places))
