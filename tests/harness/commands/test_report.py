"""`loadstone report` from the outside: which files it writes where, and what it refuses in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.store import Store
from reports import tidy
from tests.reports.conftest import FIXTURE, HOSTILE

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """(exit code, standard output, standard error) of the command, through the one door that all errors take."""

    def run(*arguments: object, command: str = "report") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["loadstone", command, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def result(**changed: Any) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(FIXTURE.read_bytes())
    return whole | changed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder as a bench leaves it."""
    path = tmp_path / "runs" / "20261122T093012Z-resnet50"
    stored(path, result())
    return path


def stored(path: Path, found: Any, **meta: Any) -> None:
    store = Store(path)
    store.put("request", {})
    for key, value in ({"result": found} | meta).items():
        store.put(key, value)
    store.close()


EVERY = {"report.html", "summary.md", "table.csv", "table.parquet", "junit.xml", "result.json"}


def files(path: Path) -> set[str]:
    return {each.name for each in path.iterdir() if each.is_file()} - {"state.sqlite", ".lock"}


def test_every_form_is_written_beside_the_result(invoke: Invoke, folder: Path) -> None:
    code, out, _ = invoke(folder)
    assert code == 0
    assert files(folder) == EVERY
    assert json.loads((folder / "result.json").read_text()) == result()
    assert f"Report: {folder / 'report.html'}" in out
    assert "summary.md, table.csv, table.parquet, junit.xml" in out


def test_forms_and_folder_can_be_chosen(invoke: Invoke, folder: Path, tmp_path: Path) -> None:
    assert invoke(folder, "--format", "junit,md", "--out", tmp_path / "ci" / "out")[0] == 0
    assert files(tmp_path / "ci" / "out") == {"result.json", "junit.xml", "summary.md"}
    assert files(folder) == set()


def test_json_stands_alone(invoke: Invoke, folder: Path) -> None:
    code, out, err = invoke(folder, "--json", "--format", "csv")
    assert code == 0
    assert json.loads(out) == result()
    assert "Serve resnet50" in err


def test_a_result_alone_is_enough(invoke: Invoke, tmp_path: Path) -> None:
    copy = tmp_path / "mailed" / "result.json"
    copy.parent.mkdir()
    copy.write_bytes(FIXTURE.read_bytes())
    for given in (copy, copy.parent):
        assert invoke(given, "--format", "md")[0] == 0
    assert files(copy.parent) == {"result.json", "summary.md"}


def test_without_pyarrow_the_rest_is_written_and_asking_for_parquet_says_what_to_install(
    invoke: Invoke, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidy, "parquet_possible", lambda: False)
    assert invoke(folder)[0] == 0
    assert files(folder) == EVERY - {"table.parquet"}
    code, _, err = invoke(folder, "--format", "all")
    assert code == 2
    assert "pip install 'loadstone[parquet]'" in err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--format", "jnit"], "did you mean junit?"),
        (["--format", "xlsx"], "known: html, md, csv, parquet, junit, all"),
        (["--format", ","], "names none"),
        (["--out", FIXTURE], "cannot be a folder"),
        (["--out", FIXTURE / "deeper"], "cannot be a folder"),
    ],
)
def test_bad_options_are_one_line_and_exit_2(invoke: Invoke, folder: Path, given: list[object], said: str) -> None:
    code, out, err = invoke(folder, *given)
    assert (code, out) == (2, "")
    assert said in err
    assert len([line for line in err.splitlines() if line.startswith("loadstone:")]) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "has no result yet; finish it with `loadstone bench --resume"),
        (result(schema=2), "has schema 2 and this version reads 1 alone; upgrade, or use loadstone 0.1.0"),
        (result(schema=0), "has schema 0 and this version reads 1 alone; use loadstone 0.1.0, or bench again"),
        (result(candidates=None), "lacks candidates"),
    ],
    ids=["none", "newer", "older", "half"],
)
def test_a_stored_result_is_read_whole_or_refused(invoke: Invoke, tmp_path: Path, found: Any, said: str) -> None:
    stored(tmp_path / "run", found)
    code, out, err = invoke(tmp_path / "run")
    assert (code, out) == (2, "")
    assert said in err
    assert files(tmp_path / "run") == set()


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"schema": 2}, "has schema 2, this version reads 1"),
        ({"schema": None}, "has no schema, this version reads 1"),
    ],
)
def test_a_state_of_another_schema_is_refused(invoke: Invoke, folder: Path, meta: dict[str, Any], said: str) -> None:
    stored(folder, result(), **meta)
    for command, given in (("report", [folder]), ("bench", ["--resume", folder])):
        code, _, err = invoke(*given, command=command)
        assert code == 2
        assert said in err


@pytest.mark.parametrize("change", [{"from_the_future": 1}, {"seed": "many"}])
def test_a_bench_begun_by_another_version_is_not_half_resumed(invoke: Invoke, tmp_path: Path, change: dict[str, Any]) -> None:
    asked = {"model": "x", "backends": [], "instances": [], "profile": "smoke", "objective": "cost", "seed": 0} | change
    stored(tmp_path / "run", None, request=asked)
    code, _, err = invoke("--resume", tmp_path / "run", command="bench")
    assert code == 2
    assert f"another version of loadstone ({next(iter(change))} cannot be read here)" in err


def test_hostile_names_reach_no_form_unescaped(invoke: Invoke, tmp_path: Path) -> None:
    rows = [row | {"id": HOSTILE + row["id"], "reason": "=" + HOSTILE} for row in result()["candidates"]]
    stored(tmp_path / "run", result(candidates=rows))
    assert invoke(tmp_path / "run")[0] == 0
    for name in EVERY - {"result.json", "table.parquet", "table.csv"}:
        assert "<img src=x" not in (tmp_path / "run" / name).read_text(encoding="utf-8"), name
    assert ",=" not in (tmp_path / "run" / "table.csv").read_text(encoding="utf-8")


def test_the_fleets_can_be_asked_for_again_for_another_demand(invoke: Invoke, tmp_path: Path) -> None:
    stored(tmp_path / "run", result())
    code, said, _ = invoke(tmp_path / "run", "--demand", "120000/min", "--format", "csv", "--json")
    found = json.loads(said)["decision"]
    assert code == 0
    assert found["demand_per_s"] == 2000.0
    assert found["fleets"][0]["instances"] == 133, "2000/s at 15.096/s each"
    assert json.loads((tmp_path / "run" / "result.json").read_text())["decision"] == found
    assert invoke(tmp_path / "run", "--demand", "2000/day")[0] == 2
