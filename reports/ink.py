"""The look that all pictures share: one colour per candidate, axes, lines that mark a limit, and safe labels.

Colours are CSS variables of the page's style sheet, so that one picture serves the light and the dark page; page.js puts
their values in.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports import cells, text
from reports import result as read
from reports.result import Result

SLOTS = 8
"""Colours of the palette; slot 0 is the accent, kept for the recommended candidate."""
_DASHES = ("solid", "dash", "dot", "dashdot")

INK, MUTED, LINE, LIMIT = "var(--ink)", "var(--muted)", "var(--line)", "var(--bad)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """How one candidate is drawn in every picture, and its entry in the shared key."""

    group: str
    label: str
    slot: int
    dash: str
    width: float
    opacity: float
    projected: bool = False

    @property
    def colour(self) -> str:
        return f"var(--s{self.slot})"

    def symbol(self, measured: str = "circle") -> str:
        """The mark of a point: an open diamond is projected, whatever its colour."""
        return "diamond-open" if self.projected else measured

    @property
    def safe_label(self) -> str:
        return safe(self.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a drawing function gives: traces and layout, what they show in words, and who is drawn."""

    traces: list[Any]
    layout: dict[str, Any]
    seen: str
    places: frozenset[int]
    remark: str | None = None


def pens(result: Result) -> dict[int, Pen]:
    """The pen of each candidate by its place in the file: the accent for the recommended one, the others in order."""
    chosen, winner, slot = {}, read.recommended(result), 0
    for place, row in enumerate(read.rows(result, "candidates")):
        best = row is winner
        slot += not best
        chosen[place] = Pen(
            group=f"candidate-{place}",
            label=_labelled(row),
            slot=0 if best else (slot - 1) % (SLOTS - 1) + 1,
            dash="solid" if best else _DASHES[(slot - 1) // (SLOTS - 1) % len(_DASHES)],
            width=3.0 if best else 1.8,
            # An invalid run may be looked at but must not look like a contender.
            opacity=0.4 if read.leaf(row, "status") == "invalid" else 1.0,
            projected=read.text(row, "basis") == "projected",
        )
    return chosen


def _labelled(row: Mapping[str, Any]) -> str:
    status = read.text(row, "status")
    if read.text(row, "basis") == "projected":
        status = "projected" if status == "ranked" else f"projected, {status}"
    return cells.label(row) if status == "ranked" else f"{cells.label(row)} ({text.name(status or 'no status', 24)})"


def safe(label: str) -> str:
    """`label` for plotly, which reads a few HTML tags and entities in every text."""
    return html.escape(label)


def axis(title: str, **more: Any) -> dict[str, Any]:
    """A plain axis with a title and a light grid."""
    look = {"gridcolor": LINE, "linecolor": LINE, "zeroline": False, "tickcolor": LINE, "automargin": True}
    return {"title": {"text": title, "font": {"size": 12}, "standoff": 8}, **look, **more}


def log_axis(title: str, **more: Any) -> dict[str, Any]:
    """A logarithmic axis labelled at 1, 2 and 5 of each decade."""
    values = [digit * 10.0**power for power in range(-4, 8) for digit in (1, 2, 5)]
    labels = [f"{value:,.10g}" for value in values]
    return axis(title, type="log", tickmode="array", tickvals=values, ticktext=labels, **more)


def layout(*, height_px: int = 340, **more: Any) -> dict[str, Any]:
    """The frame of a picture; its width is the page's."""
    return {
        "template": {},
        "height": height_px,
        "margin": {"l": 8, "r": 12, "t": 22, "b": 8},
        "font": {"color": MUTED, "size": 12, "family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "hoverlabel": {"bgcolor": "var(--card)", "bordercolor": LINE, "font": {"color": INK, "size": 12}, "namelength": -1},
        **more,
    }


def limit(said: str, *, x: float | None = None, y: float | None = None, colour: str = LIMIT) -> dict[str, Any]:
    """A line across the picture at `x` or at `y`, labelled."""
    across = {"x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper"}
    along = {"y0": y, "y1": y, "x0": 0, "x1": 1, "xref": "paper"}
    label = {"text": safe(said), "font": {"size": 11, "color": colour}}
    place = {"textposition": "end", "textangle": 0, "xanchor": "center"} if x is not None else {"textposition": "start"}
    return {
        "type": "line",
        "line": {"color": colour, "width": 1.2, "dash": "dash"},
        "label": label | place | {"yanchor": "bottom"},
        **(across if x is not None else along),
    }


def bars(data: Mapping[str, Any], value: float | None) -> tuple[float | None, float | None]:
    """Lengths of the error bar below and above `value`; None where the interval has no such end."""
    low, high = read.number(data, "low"), read.number(data, "high")
    if value is None:
        return None, None
    return (None if low is None else max(value - low, 0.0), None if high is None else max(high - value, 0.0))


def slo_line(result: Result, along: str) -> list[dict[str, Any]]:
    """The SLO's limits in ms across the axis `along` (`x` or `y`), named by quantile if several; nothing without an SLO."""
    found = read.rows(result, "slo", "limits") or (read.mapping(result, "slo"),)
    drawn = []
    for each in found:
        value, quantile = read.number(each, "limit_ms"), read.number(each, "quantile")
        if value is not None and value > 0:
            which = f"{read.percentile_name(quantile)} " if len(found) > 1 and quantile is not None else ""
            said = f"{which}limit {value:g} ms"
            drawn.append(limit(said, x=value) if along == "x" else limit(said, y=value))
    return drawn
