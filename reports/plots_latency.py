"""The pictures of one load: distribution and tail of the latency at the reference rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from reports import cells, ink, text
from reports import result as read
from reports.ink import Drawn
from reports.result import Result

POINTS, FEWEST_POINTS, ALL_POINTS = 400, 80, 4800
"""Points kept of one distribution, and of all together: more cannot be seen and would make the page heavy."""


def distribution(result: Result) -> Drawn:
    """The share of requests answered within a latency, over latency in ms (logarithmic)."""
    y = ink.axis("share within", tickformat=".0%", range=[0, 1.01])
    return _curves(result, y, lambda share: share, "%{y:.3~%} within", [])


def tail(result: Result) -> Drawn:
    """The share of requests slower than a latency, both logarithmic, with the share that the SLO allows."""
    y = ink.axis("share slower", type="log", dtick=1, tickformat=".2~%")
    quantile = read.number(result, "slo", "quantile")
    allowed = 1 - quantile if quantile is not None and 0 < quantile < 1 else None
    marks = [] if allowed is None else [ink.limit(f"{text.percent(allowed)} allowed", y=allowed)]
    return _curves(result, y, lambda share: 1 - share, "%{y:.3~%} slower than", marks)


def _thin(shares: list[float | None], values: list[float | None], most: int) -> tuple[list[float], list[float]]:
    """At most `most` points of a distribution: evenly spaced, but all of the last ones, where the tail is."""
    known = [(share, value) for share, value in zip(shares, values, strict=False) if share is not None and value is not None]
    if len(known) > most:
        tail = most // 4
        body = known[:-tail]
        step = len(body) / (most - tail)
        known = [body[int(index * step)] for index in range(most - tail)] + known[-tail:]
    return [share for share, _ in known], [value for _, value in known]


def _points(result: Result) -> Iterable[tuple[int, list[float], list[float]]]:
    rows = read.rows(result, "candidates")
    most = min(POINTS, max(FEWEST_POINTS, ALL_POINTS // max(1, len(rows))))
    for place, row in enumerate(rows):
        shares, values = _thin(read.numbers(row, "cdf", "share"), read.numbers(row, "cdf", "ms"), most)
        if values and min(values) > 0:  # the axis is logarithmic
            yield place, shares, values


def _curves(result: Result, y: dict[str, Any], of: Callable[[float], float], said: str, marks: list[dict[str, Any]]) -> Drawn:
    import plotly.graph_objects as go

    pens, traces, places = ink.pens(result), [], set()
    for place, shares, values in _points(result):
        pen = pens[place]
        # A log axis cannot show the last point of the tail, whose share is zero.
        points = [(value, of(share)) for share, value in zip(shares, values, strict=True) if of(share) > 0]
        traces.append(
            go.Scatter(
                x=[value for value, _ in points],
                y=[share for _, share in points],
                name=pen.safe_label,
                legendgroup=pen.group,
                mode="lines",
                opacity=pen.opacity,
                line={"color": pen.colour, "width": pen.width, "dash": pen.dash, "shape": "hv"},
                hovertemplate=f"{said} %{{x:.4~g}} ms",
            )
        )
        places.add(place)
    shapes = [*ink.slo_line(result, "x"), *marks]
    frame = ink.layout(xaxis=ink.log_axis("latency from due, ms"), yaxis=y, shapes=shapes)
    return Drawn(traces=traces, layout=frame, seen=_words(result), places=frozenset(places))


def _words(result: Result) -> str:
    """The stated latency of every candidate that has one, fastest first."""
    found = []
    for row in read.rows(result, "candidates"):
        name, latency = read.stated_latency(result, row)
        value = read.number(latency, "value")
        if name is not None and value is not None:
            found.append((value, f"{cells.label(row)} {name} {text.number(value)} ms"))
    return "; ".join(said for _, said in sorted(found)[:12]) + "."
