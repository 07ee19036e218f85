"""Pictures of several runs: ratios of two with their intervals, and a figure of one series over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.comparison import Verdict
from reports import comparison, ink, text
from reports.comparison import METRICS, Metric, Versus
from reports.figures import Picture

_PANELS = ("usd_per_million", "capacity_per_s", "service_p50_ms", "p99_ms", "p95_ms", "p90_ms", "p50_ms")
_MOST = 3
_COLOURS = {Verdict.BETTER: "var(--good)", Verdict.WORSE: "var(--bad)", Verdict.TIED: "var(--muted)"}


def ratios(versus: Versus, key: str) -> tuple[Picture, ...]:
    """The ratios of the first figures that have any verdict, a picture each; none where nothing is compared."""
    metrics = {metric.key: metric for metric in METRICS}
    found = [name for name in _PANELS if any(pair.changes[name].verdict is not Verdict.OPEN for pair in versus.pairs)]
    return tuple(_forest(versus, metrics[name], f"{key}-{name}") for name in found[:_MOST])


def _forest(versus: Versus, metric: Metric, key: str) -> Picture:
    shown = [(comparison.label(pair), pair.changes[metric.key]) for pair in versus.pairs]
    known = [(name, change) for name, change in shown if change.verdict is not Verdict.OPEN]
    # Categories are places, so that two candidates of one name stay two lines.
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [change.ratio.value],
            "y": [place],
            "error_x": _bars([(change.ratio.value or 0.0, change.ratio.low, change.ratio.high)], _COLOURS[change.verdict]),
            "marker": {"size": 9, "color": _COLOURS[change.verdict]},
            "text": [ink.safe(f"{name}: {text.number(change.ratio.value)}×, {change.verdict.value}")],
            "hovertemplate": "%{text}<extra></extra>",
        }
        for place, (name, change) in enumerate(known)
    ]
    labels = [ink.safe(text.name(name, 22)) for name, _ in known]
    better = "right is better" if metric.higher_is_better else "left is better"
    places = {"tickmode": "array", "tickvals": list(range(len(known))), "ticktext": labels, "range": [len(known) - 0.5, -0.5]}
    one = {"type": "line", "x0": 1, "x1": 1, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": ink.MUTED, "width": 1}}
    figure = _figure(
        traces,
        ink.layout(
            height_px=90 + 34 * len(known),
            xaxis=ink.axis(f"now / then; {better}", type="log", nticks=4, tickangle=0),
            yaxis=ink.axis("", **places),
            shapes=[one],
        ),
    )
    words = "; ".join(f"{name} {text.number(change.ratio.value)} times, {change.verdict.value}" for name, change in known[:12])
    left_out = len(shown) - len(known)
    caption = "Bars are 95 % intervals." + (f" Without a verdict: {left_out}." if left_out else "")
    alt = f"{metric.title}, now over then: {words}"
    return Picture(key=key, title=metric.title.split(",")[0], alt=alt, caption=caption, figure=figure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run in a series; `firm` is False where the run decides less: partial, or for screening only."""

    at: str
    value: float | None
    low: float | None
    high: float | None
    label: str
    firm: bool


def trend(points: Sequence[Point], key: str, title: str, unit: str) -> Picture:
    """`points` in the order of time; runs without the figure are left out and counted."""
    known = [point for point in points if point.value is not None]
    if len(known) < 2:
        said = f"{title}: fewer than two runs have this figure, so there is no trend."
        return Picture(key=key, title=title, alt=said, caption="", figure=None, absent=said)
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [point.at for point in known],
        "y": [point.value for point in known],
        "error_y": _bars([(point.value or 0.0, point.low, point.high) for point in known], "var(--s0)"),
        "line": {"color": "var(--s0)", "width": 1.5},
        "marker": {"size": 8, "color": "var(--s0)", "symbol": ["circle" if point.firm else "circle-open" for point in known]},
        "text": [ink.safe(point.label) for point in known],
        "hovertemplate": "%{text}<extra></extra>",
    }
    figure = _figure(
        [trace],
        ink.layout(height_px=230, xaxis=ink.axis("", type="date", nticks=4, tickangle=0), yaxis=ink.axis(unit, nticks=5)),
    )
    first, last = known[0], known[-1]
    alt = f"{title} of {len(known)} runs, from {text.number(first.value)} to {text.number(last.value)} {unit}"
    left_out = len(points) - len(known)
    hollow = " Hollow: partial, or for screening only." if not all(point.firm for point in known) else ""
    caption = f"Bars are 95 % intervals.{hollow}" + (f" {left_out} of {len(points)} runs lack it." if left_out else "")
    return Picture(key=key, title=title, alt=alt, caption=caption, figure=figure)


def _bars(figures: Sequence[tuple[float, float | None, float | None]], colour: str) -> dict[str, Any]:
    """Error bars of (value, low, high); none where an end is open."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [None if high is None else max(0.0, high - value) for value, _, high in figures],
        "arrayminus": [None if low is None else max(0.0, value - low) for value, low, _ in figures],
        "thickness": 1.5,
        "width": 4,
        "color": colour,
    }


def _figure(traces: list[Any], layout: dict[str, Any]) -> dict[str, Any]:
    import plotly.graph_objects as go

    figure: dict[str, Any] = json.loads(go.Figure(data=traces, layout=layout).to_json())
    figure["layout"].pop("template", None)
    return figure
