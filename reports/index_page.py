"""The index of a folder of runs as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from reports import shell
from reports.index import Entry, view


def render(folder: str, entries: Sequence[Entry]) -> str:
    """The page of `entries`, the folders of `folder`: every run, the trends, and what cannot be read."""
    seen = view(folder, entries)
    figures = {one.key: one.figure for series in seen.series for one in series.pictures if one.figure is not None}
    return shell.render("index.html", drawn=figures, scripts=("draw.js",), styles=("page.css", "runs.css"), view=seen)
