"""What the gate's document becomes: complete, within limits, and deaf to what foreign text would like to be."""

from __future__ import annotations

import copy
import html
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from reports.gate import junit, markdown, page, terminal

NASTY = "</script><img src=x onerror=alert(1)> | **bold** [x](javascript:1) =cmd()\x00\x1b[31m\u202e"


def row(metric: str, verdict: str | None = "pass", **more: Any) -> dict[str, Any]:
    return {
        "metric": metric, "verdict": verdict, "reason": "a worsening of 3% is excluded (seen +0.1%)", "baseline": 5.0,
        "tonight": 5.01, "ratio": 1.002, "low": 0.99, "high": 1.01, "pairs": 12, "p": 0.8, "threshold": 0.03, "visible": 0.01,
        "improved": False, "higher_is_better": metric.startswith("through"), **more,
    }  # fmt: skip


METRICS = ("p50_ms", "p95_ms", "throughput_per_s", "start_s", "p99_ms")


def candidate(name: str = "ort@local-1", verdict: str = "pass", **more: Any) -> dict[str, Any]:
    rows = [row(metric) for metric in METRICS]
    return {
        "id": name, "verdict": verdict, "reason": None, "baseline_digest": "a", "tonight_digest": "b", "runs": 1,
        "extended": False, "rate_per_s": 110.0, "rate_is_the_baselines": True, "slice_s": 1.5, "blocks": 24, "repeated": 0,
        "repeated_why": [], "warnings": [], "duration_s": 250.0, "metrics": rows,
        "self_test": {
            "twin": {"silent": True, "metrics": copy.deepcopy(rows)},
            "canary": {"fired": True, "extra_work": 0.05, "metrics": [row("p50_ms", "regression", ratio=1.05), *rows[1:]]},
        },
        **more,
    }  # fmt: skip


def night(*candidates: dict[str, Any], verdict: str = "pass", **more: Any) -> dict[str, Any]:
    return {
        "schema": 1, "verdict": verdict, "exit_code": 0, "created_utc": "2026-01-01T02:00:00+00:00", "duration_s": 260.0,
        "seed": 1, "pairs": 12, "warnings": [], "model": {"name": "resnet50", "digest": "d"},
        "baseline": {"id": "x", "promoted_utc": "2025-12-01", "by": "A <a@b>", "message": "first", "source": "compiled"},
        "environment": {"fingerprint": "f", "hardware": "h", "cpu_model": "CPU", "changed_since_baseline": {}},
        "candidates": list(candidates or [candidate()]), "new_series": [], "creep": [],
        "tally": {
            "twin": {"nights": 0, "good": 0, "low": None, "high": None},
            "canary": {"nights": 3, "good": 3, "low": 0.4, "high": 1.0},
        },
        "series": [{"candidate": "ort@local-1", "metric": "p50_ms", "ratios": [["2026-01-01", 1.0], ["2026-01-02", 1.02]]}],
        **more,
    }  # fmt: skip


def test_junit_has_failures_errors_and_skips_where_they_belong() -> None:
    rows = [row("p50_ms", "regression"), row("p95_ms", "inconclusive"), row("start_s", "invalid"), row("p99_ms", None)]
    broken = candidate("tvm@local-1", "invalid", reason="it has vanished", metrics=rows)
    root = ElementTree.fromstring(junit.render(night(candidate(), broken)))
    good, bad = root
    assert (good.get("tests"), good.get("failures"), good.get("errors"), good.get("skipped")) == ("7", "0", "0", "0")
    assert (bad.get("tests"), bad.get("failures"), bad.get("errors"), bad.get("skipped")) == ("6", "1", "2", "1")
    assert [case.get("name") for case in bad][:2] == ["measured", "p50_ms"]


def test_junit_calls_a_gate_that_failed_its_own_tests_an_error() -> None:
    made = candidate()
    made["self_test"]["canary"]["fired"] = False
    root = ElementTree.fromstring(junit.render(night(made)))
    assert root.find(".//testcase[@name='canary is caught']/error") is not None


@pytest.mark.parametrize("render", [junit.render, markdown.render, page.render])
def test_foreign_text_stays_text_everywhere(render: Any) -> None:
    made = candidate(NASTY, reason=NASTY, verdict="invalid", repeated_why=[NASTY], repeated=1, warnings=[NASTY])
    made["metrics"][0]["reason"] = NASTY
    document = night(made, verdict="invalid", warnings=[NASTY], creep=[NASTY], new_series=[NASTY], series=[])
    document["model"]["name"] = document["baseline"]["message"] = document["baseline"]["by"] = NASTY
    out = render(document)
    assert "<img" not in out.replace("\\<img", "")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202e]", out)
    if render is markdown.render:
        assert all(line.count("|") - line.count("\\|") in (0, 11) for line in out.splitlines())


def test_the_summary_stays_under_githubs_limit_and_says_what_it_left_out() -> None:
    many = [candidate(f"c{number}@local-1") for number in range(3000)]
    out = markdown.render(night(*many))
    assert len(out.encode()) < 1 << 20
    left = re.search(r"(\d+) candidates more are in gate\.json", out)
    assert left is not None
    assert int(left[1]) + out.count("### ") == 3000
    assert markdown.render(night()).count("### ") == 1


def test_the_page_is_small_needs_nothing_and_runs_nothing() -> None:
    out = page.render(night()).replace("\u00a0", " ")
    assert len(out.encode()) < 60_000
    assert "default-src 'none'" in html.unescape(out)
    assert "<script" not in out
    assert not re.search(r"""(src|href)=(?!"data:)""", out)
    assert "the canary of +5 % was caught in 3 of 3" in out
    assert "<polyline" in out
    assert "not judged" in page.render(night(candidate(metrics=[row("p99_ms", None, ratio=None)])))


@pytest.mark.parametrize("verdict", ["pass", "regression", "inconclusive", "invalid"])
def test_every_verdict_is_said_in_every_output(verdict: str, tmp_path: Path) -> None:
    document = night(candidate(verdict=verdict), verdict=verdict)
    console = Console(file=(tmp_path / "out").open("w"), width=200)
    terminal.show(document, console, tmp_path)
    console.file.close()
    for out in (markdown.render(document), page.render(document), (tmp_path / "out").read_text()):
        assert verdict.upper() in out
    json.dumps(document, allow_nan=False)
