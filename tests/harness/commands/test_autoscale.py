"""`loadstone autoscale` from the outside: its table, its JSON, its files, its exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from harness import cli
from harness.fleet.sweep import KINDS
from loadprofiles import samples
from loadprofiles.samples import RECORD, SUCCEEDED

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """(exit code, standard output, standard error) of the command, through the one door that all errors take."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["loadstone", "autoscale", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with one candidate of 100 ms."""
    path = tmp_path / "run"
    path.mkdir()
    made = np.zeros(60, RECORD)
    made["due_ns"] = made["sent_ns"] = np.arange(60) * 10**9
    made["compute_us"] = np.linspace(80_000, 120_000, 60)
    made["done_ns"] = made["sent_ns"] + made["compute_us"].astype(np.int64) * 1000 + 10**6
    made["outcome"] = SUCCEEDED
    samples.write(path / "closed.bin", made)
    write(path, result())
    return path


def result(**changed: Any) -> dict[str, Any]:
    row = {
        "id": "ort@local-1",
        "instance": "local-1",
        "workers": 1,
        "capacity_per_s": {"value": 7.0, "low": 6.5, "high": 7.5, "reason": None},
        "usd_per_hour": 0.04,
        "start_s": 2.0,
        "steps": [{"kind": "closed", "valid": True, "samples": "closed.bin"}],
    }
    whole: dict[str, Any] = {
        "schema": 1,
        "run": {},
        "model": {"name": "resnet50"},
        "environment": {},
        "slo": {"text": "p95<2s,errors<1%"},
        "recommendation": {"id": "ort@local-1"},
        "recommendation_reason": None,
    }
    return whole | {"candidates": [row | changed]}


def write(folder: Path, whole: dict[str, Any]) -> None:
    (folder / "result.json").write_text(json.dumps(whole))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    counts = [120, 120, 480, 960, 960, 960, 480, 240, 120, 120] * 2
    path.write_text("timestamp,count\n" + "".join(f"2026-01-01T08:{i:02d}:00Z,{n}\n" for i, n in enumerate(counts)))
    return path


def test_json_alone_on_standard_output_and_the_files_beside_it(
    invoke: Invoke, folder: Path, trace: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, said, progress = invoke(
        folder, "--trace", trace, "--targets", "0.3,0.6", "--seeds", 2, "--policies", "tracking,scheduled", "--min", 2,
        "--instance-type", "ml.c7i.large", "--out", out, "--json",
    )  # fmt: skip
    found = json.loads(said)
    assert code == 0
    assert "tracking at 30%" in progress
    assert len(found["trials"]) == 4
    assert found["chosen"]["keeps_slo"]
    assert found["chosen"]["usd_per_day"] == pytest.approx(found["chosen"]["instance_hours_per_day"] * 0.04)
    assert len(found["over_time"]["quantile_ms"]) == len(found["over_time"]["load_per_s"]) == 20
    assert json.loads((out / "autoscale.json").read_text()) == found
    assert {path.name for path in out.iterdir()} == {
        "autoscale.json",
        "autoscale.html",
        "application-auto-scaling.json",
        "endpoint-config.json",
        "horizontal-pod-autoscaler.json",
        "keda-scaled-object.json",
    }
    again = invoke(
        folder / "result.json", "--trace", trace, "--targets", "0.3,0.6", "--seeds", 2, "--policies", "tracking,scheduled",
        "--min", 2, "--instance-type", "ml.c7i.large", "--json",
    )  # fmt: skip
    assert json.loads(again[1]) == found, "the same seeds, the same answer"


def test_a_table_for_people(invoke: Invoke, folder: Path, trace: Path) -> None:
    code, said, _ = invoke(folder, "--trace", trace, "--targets", "0.5", "--seeds", 1, "--min", 2)
    assert code == 0
    assert "210/min" in said
    assert "chosen" in said
    assert "highest target tried" in said


def test_when_nothing_keeps_the_slo_it_says_so(invoke: Invoke, folder: Path, trace: Path) -> None:
    code, said, _ = invoke(folder, "--trace", trace, "--targets", "2", "--seeds", 1, "--slo", "p99<125ms", "--json")
    found = json.loads(said)
    assert code == 4
    assert (found["chosen"], found["apply"], found["over_time"]) == (None, None, None)
    assert "no policy tried keeps p99<125ms in 95% of the seeds" in found["chosen_reason"]


def test_a_price_that_is_not_known_is_null(invoke: Invoke, folder: Path, trace: Path) -> None:
    write(folder, result(usd_per_hour=None))
    _, said, _ = invoke(folder, "--trace", trace, "--targets", "0.3", "--seeds", 1, "--json")
    assert json.loads(said)["trials"][0]["usd_per_day"] is None


def test_help_names_every_policy() -> None:
    said = CliRunner().invoke(cli.cli, ["autoscale", "--help"]).output
    assert all(kind in " ".join(said.split()) for kind in KINDS)


@pytest.mark.parametrize(
    ("arguments", "changed", "why"),
    [
        ([], {}, "exactly one of --trace"),
        (["--generate", "day", "--policies", "magic"], {}, "unknown policy 'magic'"),
        (["--generate", "day", "--targets", "0.5,-1"], {}, "'-1' is no share"),
        (["--generate", "day", "--min", "5", "--max", "2"], {}, "--min 5 is above --max 2"),
        (["--generate", "day", "--slo", "p99<1ms"], {}, "impossible for any fleet"),
        (["--generate", "day", "--rate", "1e6"], {}, "at most 2000"),
        (["--generate", "day", "--candidate", "x"], {}, "known are ort@local-1"),
        (["--generate", "day"], {"capacity_per_s": {"value": None, "reason": "too slow"}}, "(too slow)"),
        (["--generate", "day"], {"start_s": None}, "start-up"),
        (["--generate", "day"], {"steps": []}, "fewer than 30"),
        (["--generate", "day"], {"steps": [{"kind": "closed", "valid": True, "samples": "gone.bin"}]}, "gone.bin is missing"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    invoke: Invoke, folder: Path, arguments: list[str], changed: dict[str, Any], why: str
) -> None:
    write(folder, result(**changed))
    code, said, error = invoke(folder, *arguments)
    assert (code, said) == (2, "")
    assert why in error
    assert len(error.strip().splitlines()) == 1


def test_a_bad_trace_or_run_names_file_and_line(invoke: Invoke, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("timestamp,count\n0,1\n60,1\n180,1\n")
    code, _, error = invoke(folder, "--trace", tmp_path / "bad.csv")
    assert (code, "bad.csv, line 4:" in error) == (2, True)
    (tmp_path / "bare.csv").write_text("minute,count\n0,1\n1,1\n2,1\n")
    code, _, error = invoke(folder, "--trace", tmp_path / "bare.csv", "--policies", "scheduled")
    assert (code, "no clock times" in error) == (2, True)
    for content in (None, "{", "[]", "{}"):
        path = tmp_path / "other.json"
        if content is not None:
            path.write_text(content)
        code, _, error = invoke(path, "--generate", "day")
        assert (code, str(path) in error) == (2, True)
