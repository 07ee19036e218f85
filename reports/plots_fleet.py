"""The pictures of a simulated fleet that `loadstone autoscale` left beside the result: all policies, and the chosen one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports import ink, text
from reports import result as read
from reports.ink import Drawn
from reports.result import Result

Simulation = Mapping[str, Any]

NAMES = ("autoscale.json", "autoscale/autoscale.json")
ABSENT = "No fleet was simulated: loadstone autoscale RUN --generate day --out RUN leaves one here."


def load(folder: Path | None, result: Result) -> Simulation | None:
    """The simulation of this result's model in its run folder; None without one, or when it is of something else."""
    for name in NAMES if folder is not None else ():
        try:
            found = json.loads((Path(str(folder)) / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(found, dict) and read.text(found, "candidate", "model") == read.text(result, "model", "name"):
            return found
    return None


def frontier(found: Simulation) -> Drawn:
    """One point a trial: cost to the right, violations upwards; a cross did not keep the SLO, a ring was chosen."""
    import plotly.graph_objects as go

    trials = read.rows(found, "trials")
    priced = any(read.number(each, "usd_per_day") is not None for each in trials)
    key, unit = ("usd_per_day", "USD a day") if priced else ("instance_hours_per_day", "instance hours a day")
    traces, kinds = list[Any](), list(dict.fromkeys(read.text(each, "policy") or "policy" for each in trials))
    for slot, kind in enumerate(kinds):
        own = [each for each in trials if read.text(each, "policy") == kind and read.number(each, key) is not None]
        colour = f"var(--s{slot % ink.SLOTS})"
        traces.append(
            go.Scatter(
                x=[read.number(each, key) for each in own],
                y=[read.number(each, "violation_ratio") for each in own],
                text=[ink.safe(text.percent(read.number(each, "target_share"))) for each in own],
                textposition="top center",
                textfont={"size": 11, "color": ink.INK},
                name=ink.safe(text.name(kind, 30)),
                mode="lines+markers+text",
                line={"color": colour, "width": 1.2},
                marker={"size": 9, "color": colour, "symbol": ["circle" if each.get("keeps_slo") else "x" for each in own]},
                hovertemplate="target %{text}: %{x:.4~g} " + unit + ", %{y:.2~%} slower or failed",
            )
        )
    best = read.mapping(found, "chosen")
    if read.number(best, key) is not None:
        ring = {"size": 19, "symbol": "circle-open", "color": ink.INK, "line": {"width": 2}}
        x, y = [read.number(best, key)], [read.number(best, "violation_ratio")]
        traces.append(go.Scatter(x=x, y=y, name="chosen", mode="markers", marker=ring, hoverinfo="skip"))
    frame = ink.layout(
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        xaxis=ink.axis(unit, tickprefix="$" if priced else ""),
        yaxis=ink.axis("slower or failed", rangemode="tozero", tickformat=".2~%"),
    )
    return Drawn(traces=traces, layout=frame, seen=_sentence(read.text(found, "chosen_reason")), places=_place(traces))


def over_time(found: Simulation) -> Drawn:
    """The chosen policy hour by hour in three panels: load, instances, and the SLO's quantile."""
    import plotly.graph_objects as go

    rows = read.mapping(found, "over_time")
    hours = [None if minute is None else minute / 60 for minute in read.numbers(rows, "minute")]
    panels = (
        (3, "load_per_s", "load, requests/s", "var(--s0)", "solid", "linear"),
        (2, "capacity", "instances asked for", ink.MUTED, "dot", "hv"),
        (2, "serving", "instances in service", "var(--s2)", "solid", "hv"),
        (1, "quantile_ms", "latency, ms", "var(--s1)", "solid", "linear"),
    )
    traces = [
        go.Scatter(
            x=hours,
            y=read.numbers(rows, key),
            yaxis=f"y{panel}" if panel > 1 else "y",
            name=said,
            mode="lines",
            line={"color": colour, "width": 1.4, "dash": dash, "shape": shape},
            hovertemplate=f"{said} %{{y:.4~g}}<extra></extra>",
        )
        for panel, key, said, colour, dash, shape in panels
        if any(value is not None for value in read.numbers(rows, key))
    ]
    quantile = read.text(found, "slo", "text")
    frame = ink.layout(
        height_px=520,
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "xanchor": "left"},
        xaxis=ink.axis("hours", anchor="y"),
        yaxis3=ink.axis("requests/s", domain=[0.7, 1], rangemode="tozero"),
        yaxis2=ink.axis("instances", domain=[0.36, 0.64], rangemode="tozero"),
        yaxis=ink.log_axis(f"ms ({ink.safe(text.name(quantile, 30))})" if quantile else "ms", domain=[0, 0.3]),
    )
    most = max((value for value in read.numbers(rows, "serving") if value is not None), default=None)
    name, share = text.name(read.text(found, "chosen", "policy") or "policy"), read.number(found, "chosen", "target_share")
    said = f"{name} at {text.percent(share)} of the capacity: up to {text.compact(most)} instances in service."
    return Drawn(traces=traces, layout=frame, seen=said, places=_place(traces))


def _place(traces: list[Any]) -> frozenset[int]:
    """Something to draw, though not a candidate's."""
    return frozenset({-1}) if traces else frozenset()


def _sentence(said: str | None) -> str:
    return f"{text.clean(said)}." if said else "The simulation gives no reason."
