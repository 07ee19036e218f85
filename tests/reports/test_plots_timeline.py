"""The pictures over time hold what the result says, and mark invalid runs by more than colour."""

from __future__ import annotations

from typing import Any

import pytest

from reports import plots_timeline


def visit(name: str, begin_s: float, valid: bool = True) -> dict[str, Any]:
    return {
        "candidate": name,
        "start_s": 2.0,
        "warm_up": {"begin_s": begin_s, "length_s": 6.0, "verdict": "warm-up", "begins": 2, "window_ms": [60.0, 52.0, None]},
        "runs": [{"kind": "search", "begin_s": begin_s + 7, "length_s": 12.0, "valid": valid}],
    }


@pytest.fixture
def result() -> dict[str, Any]:
    return {
        "candidates": [{"id": "a", "status": "ranked"}, {"id": "b", "status": "invalid"}],
        "timeline": {
            "visits": [visit("a", 2.0), visit("b", 30.0, valid=False), visit("a~twin", 60.0), visit("gone", 90.0)],
            "seconds": {"at_s": [0.0, 1.0, 60.0], "steal": [0.03, 0.3, None], "cpu_pressure": [0.0, 0.0, 0.0]},
            "limits": {"steal": 0.15, "cpu_pressure": 0.1},
        },
    }


def test_every_stretch_is_a_bar_in_its_candidates_lane(result: dict[str, Any]) -> None:
    drawn = plots_timeline.timeline(result)
    bars = {trace.name: trace for trace in drawn.traces if trace.type == "bar"}
    assert list(bars["server start"].base) == [0.0, 28 / 60, 58 / 60]
    assert list(bars["search"].y) == [0, 0], "the twin lies with its original"
    assert list(bars["invalid run"].x) == [12 / 60]
    assert bars["invalid run"].marker.pattern.shape == "x"
    assert drawn.places == {0, 1}
    assert "b (invalid)" in drawn.layout["yaxis"]["ticktext"]
    assert drawn.seen == "a 2 runs, 0 of them invalid; b 1 runs, 1 of them invalid."


def test_signals_are_shares_of_their_limits_with_gaps(result: dict[str, Any]) -> None:
    (line,) = [trace for trace in plots_timeline.timeline(result).traces if trace.type == "scatter"]
    assert line.name == "steal"
    assert list(line.y) == [pytest.approx(0.2), pytest.approx(2.0), None, None]
    assert list(line.x)[2] is None


def test_warm_ups_are_lines_from_their_first_request(result: dict[str, Any]) -> None:
    drawn = plots_timeline.warm_up(result)
    assert len(drawn.traces) == 3
    assert list(drawn.traces[0].x) == [1.0, 3.0, 5.0]
    assert drawn.seen == "a steady after 4.00 s; b (invalid) steady after 4.00 s."


def test_a_result_without_a_timeline_draws_nothing() -> None:
    assert plots_timeline.timeline({"candidates": [{"id": "a"}]}).places == frozenset()
    assert plots_timeline.warm_up({}).places == frozenset()
