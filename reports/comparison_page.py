"""The comparison of two or more runs as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from reports import plots_runs, shell
from reports.comparison import Run, Versus
from reports.comparison_view import view


def render(runs: Sequence[Run], found: Sequence[Versus]) -> str:
    """The page that holds each of `runs` after the first against it, as `found` does."""
    seen = view(runs, found)
    drawn_by = {section.key: plots_runs.ratios(each, section.key) for section, each in zip(seen.sections, found, strict=True)}
    figures = {one.key: one.figure for each in drawn_by.values() for one in each if one.figure is not None}
    return shell.render(
        "comparison.html",
        drawn=figures,
        scripts=("draw.js",),
        styles=("page.css", "runs.css"),
        view=seen,
        drawn_by=drawn_by,
    )
