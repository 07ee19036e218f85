"""`autoscale.json` as one self-contained page: cost against violations, and the chosen policy minute by minute."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from reports.ink import safe

_COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2")
_MUTED = "#64748b"


def page(result: Mapping[str, Any]) -> str:
    """HTML that needs nothing but itself; `result` is what `loadstone autoscale --json` prints."""
    import plotly.io as pio

    title = f"{result['candidate']['id']} under {result['slo']['text']}: {result['demand']['name']}"
    drawn = [_frontier(result)] + ([] if result["over_time"] is None else [_over_time(result)])
    parts = [
        pio.to_html(figure, include_plotlyjs=index == 0, full_html=False, config={"displaylogo": False, "responsive": True})
        for index, figure in enumerate(drawn)
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title></head>"
        '<body style="font-family: system-ui, sans-serif; max-width: 70rem; margin: 1.5rem auto; padding: 0 1rem">'
        f"<h1 style='font-size: 1.2rem'>{html.escape(title)}</h1><p>{html.escape(result['chosen_reason'])}.</p>"
        f"{''.join(parts)}</body></html>\n"
    )


def _frontier(result: Mapping[str, Any]) -> Any:
    """One point a trial: cost to the right, violations upwards, a colour a policy, a ring around the chosen one."""
    import plotly.graph_objects as go

    trials = result["trials"]
    priced = result["candidate"]["usd_per_hour"] is not None
    key, unit = ("usd_per_day", "USD a day") if priced else ("instance_hours_per_day", "instance hours a day")
    figure = go.Figure()
    for place, kind in enumerate(dict.fromkeys(trial["policy"] for trial in trials)):
        mine = [trial for trial in trials if trial["policy"] == kind]
        figure.add_scatter(
            x=[trial[key] for trial in mine],
            y=[100 * trial["violation_ratio"] for trial in mine],
            text=[f"{trial['target_share']:.0%}" for trial in mine],
            customdata=[f"{trial['kept_share']:.0%} of {trial['seeds']} seeds" for trial in mine],
            name=kind,
            mode="lines+markers+text",
            textposition="top center",
            line={"color": _COLOURS[place % len(_COLOURS)], "width": 1},
            marker={"size": 9, "symbol": ["circle" if trial["keeps_slo"] else "x" for trial in mine]},
            hovertemplate="target %{text}: %{x:.4g}, %{y:.3g} % slower or failed, SLO kept in %{customdata}",
        )
    best = result["chosen"]
    if best is not None:
        ring = {"size": 18, "symbol": "circle-open", "color": "#111", "line": {"width": 2}}
        figure.add_scatter(x=[best[key]], y=[100 * best["violation_ratio"]], name="chosen", mode="markers", marker=ring)
    figure.update_layout(
        title="Cost against violations (cross: keeps the SLO in too few seeds)",
        xaxis_title=unit,
        yaxis_title="requests over the limit or failed, %",
        yaxis_rangemode="tozero",
        template="plotly_white",
        height=420,
    )
    return figure


def _latency_title(result: Mapping[str, Any]) -> str:
    rows, slo = result["over_time"], safe(result["slo"]["text"])
    if rows["quantile_ms"] == rows["p99_ms"]:
        return f"p99, ms ({slo})"
    return f"p99 and, dotted, the highest quantile of {slo}, ms"


def _over_time(result: Mapping[str, Any]) -> Any:
    """Four panels over one axis: load, instances, requests outstanding, and the SLO's quantile."""
    from plotly.subplots import make_subplots

    rows, best = result["over_time"], result["chosen"]
    titles = ("load, requests/s", "instances", "requests in flight and queued", _latency_title(result))
    figure = make_subplots(rows=4, cols=1, shared_xaxes=True, vertical_spacing=0.05, subplot_titles=titles)
    same = rows["quantile_ms"] == rows["p99_ms"]
    hours = [minute / 60 for minute in rows["minute"]]
    lines = (
        (1, "load_per_s", "load", _COLOURS[0], "solid"),
        (2, "capacity", "asked for", _MUTED, "dot"),
        (2, "serving", "in service", _COLOURS[2], "solid"),
        (3, "outstanding", "outstanding", _COLOURS[1], "solid"),
        (4, "p99_ms", "p99", _COLOURS[4], "solid"),
        (4, "quantile_ms", "the SLO's highest quantile", _COLOURS[3], "dot"),
    )
    for row, key, name, colour, dash in lines[: -1 if same else None]:
        stairs = {"shape": "hv"} if row == 2 else {}
        figure.add_scatter(
            x=hours,
            y=rows[key],
            name=name,
            mode="lines",
            row=row,
            col=1,
            line={"color": colour, "width": 1.4, "dash": dash} | stairs,
        )
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(type="log", row=4, col=1)
    figure.update_xaxes(title_text="hours", row=4, col=1)
    figure.update_layout(
        title=f"{safe(best['policy'])} at {best['target_share']:.0%} of the capacity, seed {rows['seed']}",
        template="plotly_white",
        height=900,
        showlegend=False,
    )
    return figure
