"""The page of `loadstone autoscale`: what it draws, and that it needs nothing from elsewhere."""

from __future__ import annotations

import copy
from typing import Any

from reports import plots_autoscale


def result() -> dict[str, Any]:
    trial = {
        "policy": "tracking",
        "target_share": 0.5,
        "violation_ratio": 0.002,
        "usd_per_day": 3.0,
        "instance_hours_per_day": 75.0,
        "kept_share": 1.0,
        "keeps_slo": True,
        "seeds": 20,
    }
    return {
        "candidate": {"id": "<b>ort@local-1</b>", "usd_per_hour": 0.04},
        "slo": {"text": "p99<100ms"},
        "demand": {"name": "trace.csv"},
        "trials": [trial, trial | {"target_share": 0.9, "keeps_slo": False, "usd_per_day": 2.0}],
        "chosen": trial,
        "chosen_reason": "cheapest of 2",
        "over_time": {
            "seed": 0,
            "minute": [0, 1],
            "load_per_s": [1.5, 2.5],
            "serving": [1, 2],
            "capacity": [2, 2],
            "outstanding": [0.1, 0.2],
            "quantile_ms": [50.0, None],
            "p99_ms": [60.0, None],
            "violations": [0, 1],
        },
    }


def test_the_page_stands_alone_and_escapes_names() -> None:
    page = plots_autoscale.page(result())
    assert "&lt;b&gt;ort@local-1" in page
    assert "<b>ort@local-1" not in page
    assert page.count("Plotly.newPlot") >= 2
    assert 'src="http' not in page


def test_every_panel_shows_its_column() -> None:
    figure = plots_autoscale._over_time(result())
    assert [list(trace.y) for trace in figure.data] == [[1.5, 2.5], [2, 2], [1, 2], [0.1, 0.2], [60.0, None], [50.0, None]]
    given = result()
    given["over_time"]["p99_ms"] = given["over_time"]["quantile_ms"]
    assert len(plots_autoscale._over_time(given).data) == 5, "one line where p99 is what the SLO limits"
    front = plots_autoscale._frontier(result())
    assert [list(trace.x) for trace in front.data] == [[3.0, 2.0], [3.0]]
    assert front.data[0].marker.symbol == ("circle", "x")


def test_without_a_price_hours_are_drawn_and_without_a_choice_no_days() -> None:
    given = copy.deepcopy(result())
    given["candidate"]["usd_per_hour"] = None
    given |= {"chosen": None, "over_time": None}
    figure = plots_autoscale._frontier(given)
    assert list(figure.data[0].x) == [75.0, 75.0]
    assert len(figure.data) == 1
    assert "Plotly.newPlot" in plots_autoscale.page(given)
