"""The terminal summary, at any width and for any text."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reports.table import print_summary


def printed(result: dict[str, Any], width: int, *written: Path) -> str:
    out = io.StringIO()
    print_summary(result, Console(file=out, width=width, force_terminal=False, color_system=None), written)
    return out.getvalue()


def test_ranked_come_first_then_the_others_then_the_recommendation(full: dict[str, Any]) -> None:
    said = printed(full, 120, Path("runs/x/report.html"))
    order = [
        "openvino@local-1",
        "inductor@local-1",
        "rejected",
        "invalid",
        "failed",
        "skipped",
        "Serve resnet50",
        "Report: runs/x/",
    ]
    places = [said.index(word) for word in order]
    assert places == sorted(places)


def test_ties_probability_and_withheld_figures_are_shown(full: dict[str, Any]) -> None:
    said = printed(full, 120)
    assert "1 =" in said
    assert "2 =" in said
    assert "3 =" not in said
    assert "61 %" in said
    assert "– (1)" in said
    assert "1  n = 960 is too small for p99" in said


@pytest.mark.parametrize("width", [20, 40, 60, 76, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(full: dict[str, Any], width: int) -> None:
    assert max(len(line) for line in printed(full, width).splitlines()) <= width


@pytest.mark.parametrize("width", [40, 80, 140])
def test_every_edge_prints_every_candidate(edge: dict[str, Any], width: int) -> None:
    said = printed(edge, width)
    assert "\x1b" not in said
    assert "\u202e" not in said
    said.encode()
    for row in edge.get("candidates") or ():
        if row["id"] and "@" in row["id"] and len(row["id"]) < 30:
            assert row["id"] in said


def test_markup_in_names_is_not_obeyed(full: dict[str, Any]) -> None:
    full["candidates"][0]["id"] = full["recommendation"]["id"] = "[bold]x[/bold] :boom:"
    assert "[bold]x[/bold] :boom:" in printed(full, 140)


def test_the_path_of_the_report_is_not_broken(full: dict[str, Any]) -> None:
    path = Path("/a" * 60) / "report.html"
    assert f"Report: {path}" in printed(full, 40, path)
