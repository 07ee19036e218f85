"""The tables: every figure of the JSON in its place, none made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from tests.perf.peers import capacity, page

SAID = {"latency_ms": {"p50": 11.25, "p95": 230.0, "p99": None}, "requests": 1234, "failures": 2, "note": "p99: too few"}
TRUTH = {"p50": 1.0, "p95": 501.0, "p99": 901.0}


def accuracy_row(**changes: Any) -> dict[str, Any]:
    row = {
        "scenario": "stall",
        "law": "constant:1ms;stall=1s/10s",
        "tool": "One",
        "said": SAID,
        "problem": None,
        "wall_s": 12.3,
    }
    return {**row, "truth_ms": TRUTH, "served_ms": {"p50": 1.01, "p95": 64.3, "p99": None}, **changes}


def result(**parts: Any) -> dict[str, Any]:
    head = {"created_utc": "2026-01-02T03:04:05+00:00", "short": False, "wall_s": 600.0, "environment": {"cpu_model": "Chip"}}
    return {**head, "peers": {"locust": "locust==2.47.0"}, **parts}


def test_an_accuracy_row_shows_what_was_said_beside_the_truth() -> None:
    rows = [accuracy_row(), accuracy_row(tool="Two", said=None, problem="not done after 70 s", served_ms=None, wall_s=None)]
    cpu = {"One": {"per_request_ms": 0.21, "runs_s": 3.25}, "Two": {"per_request_ms": None, "runs_s": None}}
    lines = page.tables(result(accuracy={"rate_per_s": 100.0, "rows": rows, "cpu": cpu})).splitlines()
    one, two = (next(line for line in lines if f" {name} |" in line) for name in ("One", "Two"))
    assert "| 11.2 / 230 / – | 1 / 501 / 901 | +10.25 / -271.00 / – | 1.01 / 64.3 / – | 1,234 | 12.3 |" in one
    assert "2 failed; p99: too few" in one
    assert "| – | 1 / 501 / 901 | – | – | – | – | not done after 70 s |" in two
    assert "p95 under the stall as a share of the true one: One 46 %." in lines
    assert "| One | 0.21 | 3.25 |" in lines
    assert "| Two | – | – |" in lines
    assert "Measured 2026-01-02 on Chip, server and client on a core each, in 10 minutes; locust 2.47.0." in lines


def test_a_search_that_found_nothing_counts_as_a_search() -> None:
    rows = [
        {"tool": "A", "seed": 0, "value": 6.6, "error": -0.04, "low": 6.0, "high": 7.5, "wall_s": 60.0, "requests": 300},
        {"tool": "A", "seed": 1, "value": 7.2, "error": 0.05, "low": None, "high": None, "wall_s": 61.0, "requests": 310},
        {"tool": "A", "seed": 2, "value": None, "error": None, "low": None, "high": None, "wall_s": 9.0, "requests": 100},
    ]
    rows = [{**row, "problem": None, "note": "why" if row["value"] is None else None} for row in rows]
    summary = capacity.summary(rows)
    assert summary["A"]["searches"] == 3
    assert summary["A"]["found"] == 2
    assert summary["A"]["median_error"] == pytest.approx(0.045)
    assert summary["A"]["spread"] == pytest.approx(7.2 / 6.6 - 1)
    shown = page.tables(
        result(capacity={"law": "L", "slo": "S", "analytic_per_s": 6.876, "rows": rows, "summary": summary})
    ).splitlines()
    assert "| A | 0 | 6.6 | 6 to 7.5 | -4.0 % | 60 | 300 |  |" in shown
    assert "| A | 2 | – | – | – | 9 | 100 | why |" in shown
    assert "| A | 2 of 3 | 4.5 % | 5.0 % | 9.1 % |" in shown


def test_the_figures_replace_only_what_is_between_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    for _ in range(2):
        page.fill(path, result())
    text = path.read_text()
    assert text.startswith(f"before\n{page.BEGIN}\n")
    assert text.endswith(f"{page.END}\nafter\n")
    assert "old" not in text
    assert text.count("Measured 2026-01-02") == 1


@pytest.mark.parametrize("text", ["", page.BEGIN, page.END + page.BEGIN, page.BEGIN + page.BEGIN + page.END])
def test_a_page_without_its_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"page\.md"):
        page.fill(path, result())
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0, "0"), (0.00345678, "0.00346"), (9.996, "10"), (37.04, "37"), (12345.0, "12,300")]
)
def test_numbers_are_short(value: float | None, shown: str) -> None:
    assert page.number(value) == shown


def test_the_page_in_the_docs_has_its_marks() -> None:
    text = (Path(__file__).parents[3] / "docs" / "peers.md").read_text()
    assert text.count(page.BEGIN) == 1
    assert text.count(page.END) == 1
