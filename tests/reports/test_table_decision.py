"""The decision in a terminal: bills, changes, and that a result without one prints nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from harness.decision.decide import decide
from reports.table import print_summary
from reports.table_decision import print_decision
from tests.harness.decision.made import row


def decided(full: dict[str, Any], demand: float | None = 2000.0) -> dict[str, Any]:
    rows = [
        row("ort@small", capacity=10.0, latency=40.0), row("ort@large", price=0.3, capacity=20.0, basis="projected"),
        row("tvm@free", price=None),
    ]  # fmt: skip
    found = decide(rows, objective="cost", slo="p99<100ms", reference_rate_per_s=5.0, demand_per_s=demand)
    return full | {"decision": found}


def printed(result: dict[str, Any], width: int) -> str:
    out = io.StringIO()
    print_decision(result, Console(file=out, width=width, force_terminal=False, color_system=None), 76)
    return out.getvalue()


def test_bills_changes_and_the_beaten_are_shown(full: dict[str, Any]) -> None:
    said = printed(decided(full), 120)
    assert "For 2,000 requests/s" in said
    assert "$14,892" in said, "204 instances at 0.1 USD/h for 730 h"
    assert "$14,965" in said
    assert "ort@large (projected)" in said
    assert "1  no price is known for the instance" in said
    assert "price small may rise to 0.15 USD/h" in " ".join(said.split())
    assert "Beaten in cost and latency: ort@large (by ort@small)" in said


def test_without_a_demand_there_are_no_bills(full: dict[str, Any]) -> None:
    assert "requests/s" not in printed(decided(full, None), 120).splitlines()[0]
    assert printed(full | {"decision": None}, 120) == ""


@pytest.mark.parametrize("width", [20, 40, 60, 76, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(full: dict[str, Any], width: int) -> None:
    out = io.StringIO()
    print_summary(decided(full), Console(file=out, width=width, force_terminal=False, color_system=None))
    assert max(len(line) for line in out.getvalue().splitlines()) <= width


@pytest.mark.parametrize(
    "found",
    [
        None, [], {"fleets": [{}], "demand_per_s": 5, "changes": [{}, None], "dominated_by": {"a": None, "b": [3], "c": [{}]}},
        {"dominated_by": {"\x1b[31m[bold]x": [{"id": "\u202ey"}]}, "changes": [{"what": "price", "said": "\x1b[2J[bold]"}]},
    ],
)  # fmt: skip
def test_whatever_a_file_holds_is_printed_harmlessly(full: dict[str, Any], found: Any) -> None:
    said = printed(full | {"decision": found}, 80)
    assert "\x1b" not in said
    assert "\u202e" not in said
