"""A candidate's section."""

from __future__ import annotations

from typing import Any

import pytest

from reports import artifact, evidence
from reports.details import details


def test_steps_show_violations_as_a_share(full: dict[str, Any]) -> None:
    row = full["candidates"][0]
    row["steps"] = [{"kind": "search", "offered_per_s": 10.0, "n": 400, "violations": 6, "p50_ms": 50.0, "valid": False}]
    (step,) = details(row, "candidate-0", full).steps
    assert step.cells == ("search", "10.0", "–", "400", "6", "1.5 %", "50.0", "–", "no")
    assert not step.valid


def test_an_invalid_step_says_why(full: dict[str, Any]) -> None:
    row = full["candidates"][0] | {"steps": [{"n": 10, "valid": False, "reasons": ["too late", "too noisy"]}]}
    assert details(row, "candidate-0", full).steps[0].cells[-1] == "no: too late; too noisy"


def test_a_step_without_requests_has_no_share(full: dict[str, Any]) -> None:
    row = full["candidates"][0] | {"steps": [{"n": 0, "violations": 0}]}
    assert details(row, "candidate-0", full).steps[0].cells[5] == "–"


def test_sections_state_reasons_for_what_is_absent(full: dict[str, Any]) -> None:
    shown = details(full["candidates"][5], "candidate-5", full)
    load = {pair.name: pair.value for facts in shown.facts for pair in facts.pairs}
    assert load["Capacity under the SLO"] == "– (no load was run)"
    assert load["Latency p99"].startswith("– (no load was run")


def test_validity_is_told_apart_from_warnings(full: dict[str, Any]) -> None:
    assert len(details(full["candidates"][4], "candidate-4", full).invalid) == 2
    assert details(full["candidates"][0], "candidate-0", full).warnings == (
        "CPU frequency moved by 4 % during the reference run",
    )


def test_what_the_compile_pass_did_is_told_by_rule(full: dict[str, Any]) -> None:
    row = full["candidates"][0]
    row["artifact_details"] = {
        "tvm": "0.27",
        "rules": {"conv": {"kernels": 3, "calls": 9, "time_share": 0.75}},
        "fallen_back_share": 0.02,
        "fallen_back": [{"name": "odd"}],
        "kernels": [{"name": "conv_1"}],
    }
    found = details(row, "candidate-0", full).compile_report
    shown = dict(found.pairs)
    assert shown["Tvm"] == "0.27"
    assert shown["Run time in kernels without a rule"] == "2 %"
    assert [table.title for table in found.tables] == ["Rules", "Kernels without a rule", "Kernels"]
    assert found.tables[0].columns == ("Name", "Kernels", "Calls", "Share of the run time")
    assert found.tables[0].rows == (("conv", "3", "9", "75 %"),)


def test_any_nested_report_is_shown_whole() -> None:
    found = artifact.report(
        {
            "operators": {"total": 53, "covered_share": 0.98, "fallen": ["Erf", "Gelu"]},
            "memory": {"peak_bytes": 1 << 20, "planned": True},
            "deep": {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}},
            "nothing": None,
            "many": [{"n": number} for number in range(100)],
        }
    )
    assert dict(found.pairs) == {
        "Operators total": "53",
        "Operators operators covered": "98 %",
        "Operators fallen": "Erf, Gelu",
        "Memory peak bytes": "1.00 MiB",
        "Memory planned": "yes",
        "Nothing": "–",
    } | {name: value for name, value in found.pairs if name.startswith("Deep")}
    (table, *_) = [one for one in found.tables if one.title == "Many"]
    assert (len(table.rows), table.left_out) == (40, 60)


def test_the_command_is_narrowed_to_the_candidate(full: dict[str, Any]) -> None:
    row = full["candidates"][0]
    assert evidence.command(full, row) == (
        "loadstone bench resnet50 --profile quick --seed 1 --backends openvino --instances local-1 --slo 'p99<190ms' --rate 8"
    )
    full["run"]["command"] = "loadstone bench resnet50 --backends=ort,tvm --instances local-1,local-2 --rate=3"
    assert str(evidence.command(full, row)).startswith("loadstone bench resnet50 --backends openvino --instances local-1")
    assert evidence.command(full, row | {"basis": "projected"}) is None
    full["run"]["command"] = "loadstone bench 'unclosed"
    assert evidence.command(full, row) is None


@pytest.mark.parametrize(
    "path",
    [
        "javascript:alert(1)",
        "//evil.example/x",
        "samples/../../etc/passwd",
        "/etc/passwd",
        "samples/a/b",
        "samples/%2e%2e",
        "samples/.x",
    ],
)
def test_only_files_of_the_run_folder_are_linked(path: str) -> None:
    assert evidence.link(path) is None
    assert evidence.samples({"steps": [{"samples": path}]})[0].href is None


def test_samples_are_linked_beside_the_page() -> None:
    (found,) = evidence.samples({"steps": [{"samples": "samples/b0-ort@local-1.1.bin", "kind": "search", "n": 400}]})
    assert found.href == "samples/b0-ort@local-1.1.bin"


def test_a_projected_candidate_says_so_and_what_it_hangs_on(full: dict[str, Any]) -> None:
    row = full["candidates"][1] | {
        "basis": "projected",
        "projection": {
            "from": "ort@local-1",
            "level": 0.9,
            "anchor": {"kind": "local", "text": "measured here"},
            "notes": ["n"],
        },
    }
    shown = details(row, "candidate-1", full)
    facts = {one.title: {pair.name: pair.value for pair in one.pairs} for one in shown.facts}
    assert shown.projected
    assert facts["Projection"]["Anchor"] == "measured here"
    assert facts["Projection"]["Level of the intervals"] == "90 %"
    assert facts["Environment"] == {"Machine": "none: projected, not measured"}
