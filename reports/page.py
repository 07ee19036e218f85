"""The report as one HTML file that needs nothing else: no network, no neighbouring file, light or dark, on paper too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports import details, figures, ink, plots_fleet, shell, whatif
from reports.change import changes
from reports.controls import controls
from reports.result import Result
from reports.view import view


def render(result: Result, folder: Path | None = None) -> str:
    """The page of `result`, UTF-8 text of at most a few megabytes, most of which is plotly's own code.

    `folder` is the run folder, for what other commands have left there.
    """
    pictures = figures.pictures(result, plots_fleet.load(folder, result))
    drawn = {picture.key: picture.figure for picture in pictures if picture.figure is not None}
    model = whatif.model(result)
    return shell.render(
        "page.html",
        drawn=drawn,
        scripts=("draw.js", "page.js", "whatif.js"),
        styles=("page.css",),
        view=view(result),
        model=model,
        controls=controls(model),
        changes=changes(result, model),
        hours_per_month=whatif.HOURS_PER_MONTH,
        pictures=pictures,
        pens=_key(result, drawn),
        step_columns=details.STEP_COLUMNS,
    )


def _key(result: Result, drawn: dict[str, Any]) -> list[ink.Pen]:
    """The pens that at least one picture uses."""
    used = {trace.get("legendgroup") for figure in drawn.values() for trace in figure["data"]}
    return [pen for pen in ink.pens(result).values() if pen.group in used]
