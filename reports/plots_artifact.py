"""The picture of what compiling gave: the time it took, the artifact's size, how far its outputs are from the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reports import ink, text
from reports import result as read
from reports.ink import Drawn
from reports.result import Result

_PANELS: tuple[tuple[str, Callable[[Mapping[str, Any]], float | None], str], ...] = (
    ("compile time, s", lambda row: read.number(row, "compile_s"), "var(--part1)"),
    ("size, MiB", lambda row: _mib(row), "var(--part3)"),
    ("largest relative error", lambda row: read.number(row, "parity", "max_rel"), "var(--part0)"),
)


def _mib(row: Mapping[str, Any]) -> float | None:
    size = read.number(row, "artifact_bytes")
    return None if size is None else size / (1 << 20)


def artifact(result: Result) -> Drawn:
    """Three panels beside each other over the same candidates; the errors on a logarithmic axis, exact ones left out there."""
    import plotly.graph_objects as go

    rows, pens = read.rows(result, "candidates"), ink.pens(result)
    places = [place for place, row in enumerate(rows) if any(of(row) is not None for _, of, _ in _PANELS)]
    traces, axes = list[Any](), dict[str, Any]()
    for number, (title, of, colour) in enumerate(_PANELS, start=1):
        suffix, last = "" if number == 1 else str(number), number == len(_PANELS)
        values = [of(rows[place]) for place in places]
        look: dict[str, Any] = {
            "x": values,
            "y": list(range(len(places))),
            "name": title,
            "xaxis": f"x{suffix}",
            "hovertemplate": f"{title} %{{x:.4~g}}<extra></extra>",
        }
        if last:
            marker = {"color": colour, "size": 11, "symbol": "diamond", "line": {"color": ink.INK, "width": 1}}
            traces.append(go.Scatter(**look | {"x": [value or None for value in values]}, mode="markers", marker=marker))
        else:
            traces.append(go.Bar(**look, orientation="h", marker={"color": colour, "line": {"width": 0}}))
        domain = [(number - 1) / 3 + 0.02 * (number > 1), number / 3 - 0.02]
        more = (
            {"type": "log", "exponentformat": "power", "dtick": 1, "tickfont": {"size": 10}}
            if last
            else {"rangemode": "tozero", "nticks": 4}
        )
        axes[f"xaxis{suffix}"] = ink.axis(title, domain=domain, **more)
    labels = [ink.safe(text.name(pens[place].label, 30)) for place in places]
    lanes = ink.axis("", tickmode="array", tickvals=list(range(len(places))), ticktext=labels, range=[len(places) - 0.5, -0.5])
    frame = ink.layout(height_px=100 + 32 * len(places), bargap=0.42, yaxis=lanes, **axes)
    words = [
        f"{pens[place].label}: "
        + ", ".join(f"{title} {text.number(value)}" for title, of, _ in _PANELS if (value := of(rows[place])) is not None)
        for place in places[:12]
    ]
    return Drawn(traces=traces, layout=frame, seen="; ".join(words) + ".", places=frozenset(places))
