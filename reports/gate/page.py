"""The night as one small HTML page without scripts: verdict, evidence, the gate's own tests, and the history as drawings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports import shell, text
from reports.gate import words
from reports.gate.words import Row

_WIDTH, _HEIGHT, _EDGE = 320.0, 72.0, 6.0
_LEAST_SPAN = 0.06
"""A chart shows at least ±6 %, so that noise does not look like a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Ratios tonight / baseline over the nights of one series, as SVG coordinates."""

    metric: str
    points: str
    dots: tuple[tuple[float, float], ...]
    even: float
    """Where the ratio is 1."""
    said: str


def render(document: Row) -> str:
    """The page, UTF-8 text. Whatever comes from the document is escaped."""
    charts = {candidate["id"]: _charts(document["series"], candidate["id"]) for candidate in document["candidates"]}
    return shell.render(
        "gate.html",
        drawn={},
        scripts=(),
        styles=("gate.css",),
        view={"title": words.headline(document)},
        night=document,
        words=words,
        charts=charts,
        chart=(_WIDTH, _HEIGHT),
    )


def _charts(series: Sequence[Row], candidate: str) -> list[Chart]:
    return [_chart(each) for each in series if each["candidate"] == candidate and len(each["ratios"]) > 1]


def _chart(series: Row) -> Chart:
    logs = [math.log(ratio) for _, ratio in series["ratios"]]
    span = max(_LEAST_SPAN, *(abs(value) for value in logs))
    step = (_WIDTH - 2 * _EDGE) / (len(logs) - 1)

    def height(value: float) -> float:
        return round(_HEIGHT / 2 - value / span * (_HEIGHT / 2 - _EDGE), 1)

    dots = tuple((round(_EDGE + at * step, 1), height(value)) for at, value in enumerate(logs))
    first, last = (text.clean(series["ratios"][at][0], 40)[:10] for at in (0, -1))
    name, now = words.label(series["metric"]), words.change(series["ratios"][-1][1])
    said = f"{name}: {len(logs)} nights from {first} to {last}, last {now}"
    return Chart(metric=series["metric"], points=" ".join(f"{x},{y}" for x, y in dots), dots=dots, even=height(0.0), said=said)
