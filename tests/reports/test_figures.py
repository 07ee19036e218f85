"""The pictures hold the figures of the result, and say whom they leave out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reports import figures, ink, plots_artifact, plots_cost, plots_latency, plots_load
from reports.figures import Picture
from tests.reports.conftest import nothing_measured, projected


@pytest.fixture
def drawn(full: dict[str, Any]) -> dict[str, Picture]:
    return {picture.key: picture for picture in figures.pictures(full)}


def traces(picture: Picture, group: str) -> list[dict[str, Any]]:
    assert picture.figure is not None
    return [trace for trace in picture.figure["data"] if trace.get("legendgroup") == group]


def test_distribution_and_tail_are_complements(full: dict[str, Any], drawn: dict[str, Picture]) -> None:
    (within,), (slower,) = traces(drawn["distribution"], "candidate-0"), traces(drawn["tail"], "candidate-0")
    shares = full["candidates"][0]["cdf"]["share"]
    assert within["x"] == pytest.approx(full["candidates"][0]["cdf"]["ms"], rel=1e-4)
    assert within["y"] == pytest.approx(shares, rel=1e-4)
    assert slower["y"] == pytest.approx([1 - share for share in shares if share < 1], rel=1e-4)
    assert min(slower["y"]) > 0, "a log axis cannot show zero"


def test_load_shows_open_steps_only_with_the_capacity_on_the_limit(full: dict[str, Any], drawn: dict[str, Picture]) -> None:
    p50, p99, capacity = traces(drawn["load"], "candidate-0")
    steps = [step for step in full["candidates"][0]["steps"] if step["kind"] != "closed"]
    assert p50["x"] == sorted(step["offered_per_s"] for step in steps)
    wanted = [step["p99_ms"] for step in sorted(steps, key=lambda step: step["offered_per_s"]) if step["p99_ms"]]
    assert p99["y"] == pytest.approx(wanted, rel=1e-4)
    assert (capacity["x"], capacity["y"]) == ([15.42], [190.0])
    assert capacity["error_x"]["array"] == [pytest.approx(15.744 - 15.42)]
    assert capacity["error_x"]["arrayminus"] == [pytest.approx(15.42 - 15.096)]


def test_invalid_steps_are_not_drawn(drawn: dict[str, Picture]) -> None:
    assert traces(drawn["violations"], "candidate-4") == []
    assert "ort-int8@local-1" in drawn["violations"].caption


def test_violations_are_shares_of_requests(full: dict[str, Any], drawn: dict[str, Picture]) -> None:
    curve = traces(drawn["violations"], "candidate-0")[0]
    steps = sorted(
        (s for s in full["candidates"][0]["steps"] if s["kind"] != "closed"), key=lambda s: float(s["offered_per_s"])
    )
    assert curve["y"] == pytest.approx([step["violations"] / step["n"] for step in steps], rel=1e-4)


def test_cost_uses_the_percentile_that_most_have_and_says_so(drawn: dict[str, Picture]) -> None:
    picture = drawn["cost"]
    assert picture.figure is not None
    assert picture.figure["layout"]["xaxis"]["title"]["text"] == "p95 at 8 requests/s, ms"
    assert "p95 is drawn" in picture.caption
    assert sorted(trace["legendgroup"] for trace in picture.figure["data"]) == [f"candidate-{place}" for place in range(4)]


def test_start_up_stacks_its_stages_in_seconds(drawn: dict[str, Picture]) -> None:
    figure = drawn["start"].figure
    assert figure is not None
    assert figure["layout"]["barmode"] == "stack"
    assert {trace["name"]: trace["x"][0] for trace in figure["data"]} == {
        "process start": pytest.approx(0.71),
        "load": 0.83,
        "first inference": pytest.approx(0.088),
    }


def test_time_shows_queue_compute_and_transport(drawn: dict[str, Picture]) -> None:
    figure = drawn["time"].figure
    assert figure is not None
    assert [trace["name"] for trace in figure["data"]] == ["queue", "compute", "transport"]
    assert figure["data"][2]["x"] == [1.34] * 5


def test_words_say_what_is_drawn(drawn: dict[str, Picture]) -> None:
    assert "openvino@local-1 p99 138 ms" in drawn["distribution"].alt
    assert "openvino@local-1 15.4 [15.1–15.7] requests/s" in drawn["load"].alt


def test_without_measurements_a_reason_takes_the_place_of_each_picture(full: dict[str, Any]) -> None:
    for picture in figures.pictures(nothing_measured(full)):
        assert picture.figure is None
        assert picture.absent


def test_every_edge_gives_strict_json(edge: dict[str, Any]) -> None:
    for picture in figures.pictures(edge):
        json.dumps(picture.figure, allow_nan=False)


def test_long_distributions_are_thinned_but_keep_their_ends(full: dict[str, Any]) -> None:
    count = 50_000
    full["candidates"][0]["cdf"] = {"share": [(i + 1) / count for i in range(count)], "ms": [1 + i / 100 for i in range(count)]}
    curve = plots_latency.distribution(full).traces[0]
    assert len(curve.x) <= plots_latency.POINTS
    assert curve.x[0] == 1
    assert curve.y[-1] == 1


def test_colours_set_the_recommended_apart_and_never_repeat_a_pen(full: dict[str, Any]) -> None:
    full["candidates"] = [full["candidates"][0]] + [{"id": f"other-{place}", "status": "ranked"} for place in range(20)]
    pens = list(ink.pens(full).values())
    assert pens[0].slot == 0
    assert all(pen.slot != 0 for pen in pens[1:])
    assert len({(pen.slot, pen.dash) for pen in pens}) == len(pens)


def test_labels_cannot_be_read_as_markup(full: dict[str, Any]) -> None:
    full["candidates"][0]["id"] = full["recommendation"]["id"] = "<a href='https://example.org'>x</a>"
    for picture in figures.pictures(full):
        assert "<a" not in json.dumps(picture.figure)


def test_every_limit_of_the_slo_is_drawn_and_named(full: dict[str, Any]) -> None:
    assert [shape["label"]["text"] for shape in ink.slo_line(full, "x")] == ["limit 190 ms"]
    full["slo"]["limits"] = [{"quantile": 0.99, "limit_ms": 190.0}, {"quantile": 0.5, "limit_ms": 40.0}]
    lines = ink.slo_line(full, "x")
    assert [(shape["x0"], shape["label"]["text"]) for shape in lines] == [
        (190.0, "p99 limit 190 ms"),
        (40.0, "p50 limit 40 ms"),
    ]


def test_the_pareto_front_joins_who_is_beaten_by_nobody(full: dict[str, Any]) -> None:
    for row, (ms, usd) in zip(full["candidates"], [(100.0, 1.0), (50.0, 2.0), (120.0, 3.0), (40.0, 9.0)], strict=False):
        row["status"] = "ranked"
        row["latency_ms"]["p95"] = {"value": ms, "low": None, "high": None}
        row["usd_per_million"] = {"value": usd, "low": None, "high": None}
    front = plots_cost.cost(full).traces[0]
    assert front.name == "Pareto front"
    assert (list(front.x), list(front.y)) == ([40.0, 50.0, 100.0], [9.0, 2.0, 1.0])


def test_a_projected_candidate_has_a_mark_and_a_word_of_its_own(full: dict[str, Any]) -> None:
    traces = {trace.name: trace for trace in plots_cost.cost(projected(full)).traces}
    assert traces["ort@c7i.large (projected)"].marker.symbol == "diamond-open"
    assert traces["openvino@local-1"].marker.symbol == "circle"
    assert "ort@t3.large (projected, skipped)" in {pen.label for pen in ink.pens(full).values()}


def test_lost_requests_have_a_line_of_their_own(full: dict[str, Any]) -> None:
    steps = [{"rate_per_s": 8.0, "n": 100, "lost": 0}, {"rate_per_s": 12.0, "n": 100, "lost": 3}]
    before = len(plots_load.violations(full).traces)
    full["candidates"][0]["capacity_search"] = {"steps": steps}
    traces = plots_load.violations(full).traces
    assert len(traces) == before + 1
    assert [list(trace.y) for trace in traces if "not answered" in trace.hovertemplate] == [[0.0, 0.03]]


def test_compile_time_size_and_parity_share_their_lanes(full: dict[str, Any]) -> None:
    compile_s, size, error = plots_artifact.artifact(full).traces
    assert list(compile_s.y) == list(size.y) == list(error.y)
    assert size.x[0] == pytest.approx(full["candidates"][0]["artifact_bytes"] / (1 << 20))
    full["candidates"][0]["parity"]["max_rel"] = 0.0
    assert plots_artifact.artifact(full).traces[2].x[0] is None, "a log axis cannot show an exact output"
