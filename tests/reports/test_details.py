"""A candidate's section."""

from __future__ import annotations

from typing import Any

from reports.details import _artifact, details


def test_steps_show_violations_as_a_share(full: dict[str, Any]) -> None:
    row = full["candidates"][0]
    row["steps"] = [{"kind": "search", "offered_per_s": 10.0, "n": 400, "violations": 6, "p50_ms": 50.0, "valid": False}]
    (step,) = details(row, "candidate-0").steps
    assert step.cells == ("search", "10.0", "–", "400", "6", "1.5 %", "50.0", "–", "no")
    assert not step.valid


def test_an_invalid_step_says_why(full: dict[str, Any]) -> None:
    row = full["candidates"][0] | {"steps": [{"n": 10, "valid": False, "reasons": ["too late", "too noisy"]}]}
    assert details(row, "candidate-0").steps[0].cells[-1] == "no: too late; too noisy"


def test_a_step_without_requests_has_no_share(full: dict[str, Any]) -> None:
    row = full["candidates"][0] | {"steps": [{"n": 0, "violations": 0}]}
    assert details(row, "candidate-0").steps[0].cells[5] == "–"


def test_sections_state_reasons_for_what_is_absent(full: dict[str, Any]) -> None:
    shown = details(full["candidates"][5], "candidate-5")
    load = {pair.name: pair.value for facts in shown.facts for pair in facts.pairs}
    assert load["Capacity under the SLO"] == "– (no load was run)"
    assert load["Latency p99"].startswith("– (no load was run")


def test_validity_is_told_apart_from_warnings(full: dict[str, Any]) -> None:
    assert len(details(full["candidates"][4], "candidate-4").invalid) == 2
    assert details(full["candidates"][0], "candidate-0").warnings == ("CPU frequency moved by 4 % during the reference run",)


def test_what_the_compile_pass_did_is_told_by_rule(full: dict[str, Any]) -> None:
    row = full["candidates"][0]
    row["artifact_details"] = {
        "tvm": "0.27",
        "rules": {"conv": {"kernels": 3, "calls": 9, "time_share": 0.75}},
        "fallen_back_share": 0.02,
        "fallen_back": [{"name": "odd"}],
        "kernels": [{"name": "conv_1"}],
    }
    shown = dict(_artifact(row))
    assert shown["Tvm"] == "0.27"
    assert shown["Rule conv"] == "3 kernels, 75 % of the run time"
    assert shown["Run time in kernels without a rule"] == "2 %"
    assert not any("conv_1" in str(value) for value in shown.values())
