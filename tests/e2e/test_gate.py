"""A gate as a user holds it: a real model is accepted, compiled again, and compared with real servers under real load."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest

from tests.e2e.conftest import command

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SCHEMA = Path(__file__).parents[2] / "harness" / "data" / "gate.schema.json"
SHORT = ("--pairs", "8", "--slice-s", "0.24", "--seed", "7")
CODES = {"pass": 0, "regression": 1, "invalid": 3, "inconclusive": 4}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment, check=False, timeout=400)


def test_an_accepted_model_is_compared_with_itself(unseen_onnx: Path, environment: dict[str, str], tmp_path: Path) -> None:
    baseline = ("--baseline", str(tmp_path / "baseline"))
    accepted = run(environment, "gate", "promote", str(unseen_onnx), *baseline, "-m", "first", "--candidates", "ort@local-1")
    assert accepted.returncode == 0, accepted.stderr
    held = run(environment, "gate", str(unseen_onnx), *baseline, *SHORT, "--out", str(tmp_path / "nights"), "--json")
    document = json.loads(held.stdout)
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    # So short a gate on a busy machine may know too little, and must say so; it may not see what is not there.
    assert document["verdict"] in ("pass", "inconclusive", "invalid"), held.stderr
    assert held.returncode == document["exit_code"] == CODES[document["verdict"]]
    (candidate,) = document["candidates"]
    assert candidate["baseline_digest"] == candidate["tonight_digest"], "the same model compiles to the same artifact"
    (night,) = (tmp_path / "nights").iterdir()
    assert {"gate.json", "gate.html", "summary.md", "junit.xml"} <= {path.name for path in night.iterdir()}
    assert not (night / "compiled").exists()
    past = json.loads(run(environment, "gate", "history", *baseline, "--json").stdout)
    assert len(past["promotions"]) == len(past["nights"]) == 1
