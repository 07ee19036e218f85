"""The page's rows: ties visible, every candidate listed, every withheld figure with its reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reports import cells, text, view
from tests.reports.conftest import EDGES


def test_ties_share_a_group(full: dict[str, Any]) -> None:
    groups = view.view(full).groups
    assert [[row.label for row in group.rows] for group in groups] == [
        ["openvino@local-1", "ort@local-1"],
        ["inductor@local-1"],
    ]
    assert [group.tied for group in groups] == [True, False]


def test_rows_without_a_tie_group_are_not_tied(full: dict[str, Any]) -> None:
    for row in full["candidates"]:
        row["tie_group"] = None
    assert [group.tied for group in view.view(full).groups] == [False, False, False]


def test_a_withheld_percentile_refers_to_its_reason(full: dict[str, Any]) -> None:
    shown = view.view(full)
    cell = dict(shown.groups[1].rows[0].cells)["p99,\u00a0ms"]
    assert cell.text == "–"
    assert cell.note is not None
    assert shown.ranking_notes[cell.note - 1] == "n = 960 is too small for p99: it needs 1000"


def test_every_candidate_is_listed_once(edge: dict[str, Any]) -> None:
    shown = view.view(edge)
    listed = [row.anchor for group in shown.groups for row in group.rows] + [row.anchor for row in shown.others]
    assert sorted(listed) == sorted(f"candidate-{place}" for place in range(len(edge.get("candidates") or ())))
    assert sorted(one.anchor for one in shown.details) == sorted(listed)


def test_every_unranked_row_has_a_reason(edge: dict[str, Any]) -> None:
    assert all(row.reason for row in view.view(edge).others)


def test_no_cell_shows_an_absent_value_as_a_number(full: dict[str, Any]) -> None:
    found = EDGES["everything null"](full)
    found["candidates"][0]["status"] = "ranked"
    (group,) = view.view(found).groups
    assert {cell.text for _, cell in group.rows[0].cells} == {text.DASH}
    assert all(cell.reason for _, cell in group.rows[0].cells)


def test_an_invalid_run_gives_all_its_reasons_once(full: dict[str, Any]) -> None:
    (row,) = (row for row in view.view(full).others if row.status == "invalid")
    assert row.reason.count("p99 lateness 9.8 ms") == 1
    assert "steal time 6.1 %" in row.reason


def test_scaling_shows_every_number_behind_it(full: dict[str, Any]) -> None:
    scaling = view.view(full).scaling
    assert scaling is not None
    assert scaling.sentence == "Keep SageMakerVariantInvocationsPerInstance at 565, between 2 and 4 instances."
    assert [basis.name for basis in scaling.basis] == [name.replace("_", " ") for name in full["scaling"]["basis"]]
    assert all(basis.source for basis in scaling.basis)


def test_start_up_is_the_time_until_ready_and_its_stages_add_up(full: dict[str, Any]) -> None:
    row, notes = full["candidates"][0], cells.Notes()
    assert cells.start_up(notes, row) == cells.Cell(text="1.63 s", detail="0.71 + 0.83 + 0.088")
    stages = [stage for stage in cells.cold_stages(row).values() if stage is not None]
    assert sum(stages) == pytest.approx(row["start_s"])


def test_stages_that_exceed_the_whole_are_not_stretched(full: dict[str, Any]) -> None:
    row = full["candidates"][0] | {"start_s": 0.5}
    assert cells.cold_stages(row)["process start"] is None
    assert cells.start_up(cells.Notes(), row) == cells.Cell(text="500 ms")


def test_start_up_is_withheld_when_the_server_never_was_ready(full: dict[str, Any]) -> None:
    row, notes = full["candidates"][0] | {"start_s": None}, cells.Notes()
    assert cells.start_up(notes, row).text == text.DASH
    assert notes.reasons == ["the server was not started"]


def test_ranked_rows_say_why_they_are_not_first(full: dict[str, Any]) -> None:
    reasons = [row.reason for group in view.view(full).groups for row in group.rows]
    assert reasons[0] is None
    assert reasons[2] == "costs 1.55 (1.48 to 1.62) times as much as openvino@local-1"


def test_a_scaling_without_a_target_gives_its_reason(full: dict[str, Any]) -> None:
    full["scaling"] |= {"target_value": None, "reason": "the capacity has no lower bound"}
    scaling = view.view(full).scaling
    assert scaling is not None
    assert scaling.sentence == "No target can be set: the capacity has no lower bound."


def test_the_method_sections_named_are_there() -> None:
    page = Path(view.__file__).parent.parent / view.METHOD_PAGE
    headings = [line.lstrip("# ") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    titles = [re.sub(r"^\d+\. | \(`.*\)$", "", heading) for heading in headings]
    assert set(view.METHOD_SECTIONS) <= set(titles)


def test_environment_holds_packages_and_model(full: dict[str, Any]) -> None:
    shown = view.view(full)
    assert ("onnxruntime", "1.31.0") in [(pair.name, pair.value) for pair in shown.packages]
    facts = {pair.name: pair.value for pair in shown.environment}
    assert facts["memory"] == "23.5 GiB"
    assert facts["governor"] == text.DASH
    assert facts["lanes 1 server cpus"] == "0"
    assert facts["model parameters"] == "25.6 M"
    assert facts["model input"] == "input: float32 1×3×224×224"
