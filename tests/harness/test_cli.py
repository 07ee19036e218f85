"""The command line as a user meets it: one clear line and the documented exit code for whatever is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def loadstone(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments], capture_output=True, text=True, timeout=120, cwd=cwd, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bench", "resnet5"], "resnet50"),
        (["bench", "resnet50", "--backends", "ort,opnvino"], "openvino"),
        (["bench", "resnet50", "--profile", "quik"], "quick"),
        (["bench", "resnet50", "--endpoint", "prod=http://x/predict,instance=c5.large"], "neither"),
        (["bench", "resnet50", "--endpoint", "prod=http://x/invocations,instance=c5.larg"], "c5.large"),
        (["bench", "resnet50", "--backends", "none"], "--endpoint"),
        (["bench", "resnet50", "--project", "ml.c7g.larg"], "ml.c7g.large"),
        (["project", "no/such/run", "--instances", "c5.large"], "not a run folder"),
        (["project", "no/such/run"], "--instances"),
        (["instances", "--arch", "arm"], "arm64"),
        (["instances", "--catalogue", "no/such.csv"], "no/such.csv: No such file"),
        (["bench", "resnet50", "--instances", "local-99"], "local-1"),
        (["bench", "resnet50", "--slo", "p99 is 100"], "p99<100ms"),
        (["bench", "resnet50", "--shape", "x=1,2"], "NAME=1x3x224x224"),
        (["bench", "resnet50", "--rate", "-1"], "--rate"),
        (["bench", "resnet50", "--seed", "-1"], "--seed"),
        (["bench", "resnet50", "--demand", "2000/fortnight"], "--demand 2000/s"),
        (["bench", "resnet50", "--demand", "0/s"], "impossible"),
        (["bench", "resnet50", "--demand", "20/s", "--peak", "600/min"], "--peak 600/min is below --demand 20/s"),
        (["bench", "resnet50", "--lanes", "0"], "--lanes"),
        (["bench", "resnet50", "--objective", "beauty"], "cost"),
        (["bench", "no/such/file.onnx"], "no/such/file.onnx"),
        (["bench"], "which model"),
        (["bench", "--resume", "no-such-run"], "not a run folder"),
        (["report", "no-such-run"], "not a run folder"),
        (["load", "ftp://x/v2/models/m", "--rate", "1"], "http://HOST:PORT/v2/models/NAME"),
        (["load", "http://127.0.0.1:9/v2/models/m", "--rate", "1"], "is the server up"),
        (["load", "http://127.0.0.1:9/v2/models/m", "--profile", "stedy", "--rate", "1"], "steady"),
        (["load", "http://127.0.0.1:9/v2/models/m", "--profile", "closed", "--rate", "1"], "users"),
        (["compile", "resnet50", "--target", "rasp4"], "nearest: rasp4b"),
        (["compile", "resnet50", "--target", "coreml"], "coremltools"),
        (["compile", "resnet50", "--target", "rasp4b", "--options", '{"mcpuu": "x"}'], "did you mean mcpu?"),
        (["compile", "resnet50", "--target", '{"Os": "LINUX"}'], "needs Arch"),
        (["targets", "--arch", "arm65"], "did you mean arm64?"),
        (["gate", "--baseline", "no-such-folder"], "holds no baseline"),
        (["gate", "resnet50", "--baseline", "no-such-folder"], "gate promote"),
        (["gate", "resnet50"], "--baseline"),
        (["gate", "--baseline", "x", "--pairs", "3"], "--pairs"),
        (["gate", "--baseline", "x", "--artifact", "ort"], "ID=DIR"),
        (["gate", "history", "--baseline", "no-such-folder"], "holds no baseline"),
        (["gate", "promote", "resnet5", "--baseline", "x", "-m", "y"], "resnet50"),
        (["gate", "promote", "resnet50", "--baseline", "x", "-m", " "], "--message"),
        (["gate", "promote", "resnet50", "--baseline", "x", "-m", "y", "--candidates", "ortt@local-1"], "ort"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = loadstone(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert not list(tmp_path.glob("runs/*")), "nothing may be left of a bench that never began"


@pytest.mark.parametrize("command", ["models", "instances", "targets", "profiles", "doctor"])
def test_lists_print_a_table_or_json_alone(command: str) -> None:
    table = loadstone(command)
    assert table.returncode == 0
    assert len(table.stdout.splitlines()) > 3
    rows = json.loads(loadstone(command, "--json").stdout)
    assert isinstance(rows, list)
    assert rows


def test_models_lists_the_built_in_ones_with_their_size() -> None:
    rows = {row["name"]: row for row in json.loads(loadstone("models", "--json").stdout)}
    assert set(rows) == {"resnet50", "mobilenet_v2", "vit_b16", "bert_base", "distilbert"}
    assert rows["resnet50"]["parameters"] == 25_557_032
    assert rows["resnet50"]["flops"] == pytest.approx(8.18e9, rel=0.01)
    assert rows["resnet50"]["inputs"][0]["shape"] == [1, 3, 224, 224]


def test_targets_lists_this_machine_and_every_row_with_what_it_takes() -> None:
    rows = {row["name"]: row for row in json.loads(loadstone("targets", "--json").stdout)}
    assert next(iter(rows)) == "host"
    assert sum(row["neo"] for row in rows.values()) == 37
    assert rows["rasp4b"]["tvm_target"]["mcpu"] == "cortex-a72"
    for row in rows.values():
        assert row["builds"].split()[0] in ("yes", "needs", "no:"), row["name"]
        assert (row["why_not"] is not None) == row["builds"].startswith("no:")
        assert row["source"]
    arm = json.loads(loadstone("targets", "--arch", "armv7", "--json").stdout)
    assert {row["arch"] for row in arm} == {"armv7"}
    assert {row["builder"] for row in json.loads(loadstone("targets", "--arch", "neuron", "--json").stdout)} == {"neuron"}


def test_every_command_has_help() -> None:
    listed = loadstone("--help").stdout
    for command in (
        "bench",
        "compile",
        "serve",
        "load",
        "report",
        "doctor",
        "models",
        "instances",
        "targets",
        "profiles",
        "project",
    ):
        assert command in listed
        assert "Usage" in loadstone(command, "--help").stdout
