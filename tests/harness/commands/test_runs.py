"""`loadstone report` over several runs, from the outside: the pages, their JSON, and what is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.commands import runs as several
from harness.store import Store
from tests.harness.commands.test_report import Invoke, invoke, stored
from tests.reports.pairs import at, elsewhere, slower
from tests.reports.pairs import stored as result

__all__ = ["invoke"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three published runs, the last of another environment, one that was killed, and one of another schema."""
    runs = tmp_path / "my runs"
    first = at(result(), "one", 1)
    for name, found in (
        ("one", first),
        ("two", at(slower(first, (1.2, 0.8)), "two", 2)),
        ("three", at(elsewhere(first), "three", 3)),
        ("old", first | {"schema": 0}),
    ):
        write(runs / name, found)
    Store(runs / "killed").close()
    (runs / "notes").mkdir()
    (runs / "one" / "report.html").write_text("")
    return runs


def write(folder: Path, found: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(found))


def test_two_runs_make_a_page_beside_them(invoke: Invoke, folder: Path) -> None:
    code, out, _ = invoke(folder / "one", folder / "two" / "result.json")
    assert code == 0
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    assert "run B is better than run A for 1, worse for 1 and tied for 2 candidates" in page
    assert 'href="./one/report.html"' in page
    assert "two/report.html" not in page, "there is none to link to"
    assert "In cost, run B is better than run A for 1" in out
    assert f"Report: {folder / 'comparison.html'}" in out


def test_links_lead_from_where_the_page_is(invoke: Invoke, folder: Path, tmp_path: Path) -> None:
    assert invoke(folder / "one", folder / "two", "--out", tmp_path / "pages" / "x.html")[0] == 0
    assert 'href="./../my%20runs/one/report.html"' in (tmp_path / "pages" / "x.html").read_text(encoding="utf-8")


def test_other_environments_are_shown_and_exit_4(invoke: Invoke, folder: Path) -> None:
    code, out, _ = invoke(folder / "one", folder / "three")
    assert code == 4
    assert "cannot be held against each other" in out
    assert "Not comparable" in (folder / "comparison.html").read_text(encoding="utf-8")
    assert invoke(folder / "one", folder / "three", folder / "two")[0] == 0, "one of the two can be"


def test_a_comparison_as_json_stands_alone(invoke: Invoke, folder: Path) -> None:
    code, out, err = invoke(folder / "one", folder / "two", folder / "three", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["schema"] == 1
    assert [run["run"] for run in found["runs"]] == ["one", "two", "three"]
    first, second = found["comparisons"]
    assert first["candidates"][0]["figures"]["usd_per_million"]["verdict"] == "worse"
    assert first["candidates"][0]["figures"]["usd_per_million"]["ratio"]["value"] == pytest.approx(1.2)
    assert second["refused"] == ["the environments differ: kernel"]
    assert "Report:" in err


def test_the_index_has_every_folder(invoke: Invoke, folder: Path) -> None:
    code, out, _ = invoke("--index", folder)
    assert code == 0
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "3 runs of 1 model, and 3 folders that cannot be read" in page
    assert "has schema 0 and this version reads 1 alone; use loadstone 0.1.0, or bench again" in page
    assert "no result yet; `loadstone bench --resume" in page
    assert "no run: it holds no result.json" in page
    assert 'href="./one/report.html"' in page
    assert f"Report: {folder / 'index.html'}" in out


def test_the_index_as_json_stands_alone(invoke: Invoke, folder: Path) -> None:
    code, out, _ = invoke("--index", folder, "--json")
    found = json.loads(out)
    assert code == 0
    assert [run["folder"] for run in found["runs"]] == ["three", "two", "one"]
    assert found["runs"][2]["report"] == "./one/report.html"
    assert found["runs"][2]["recommendation"] == "openvino@local-1"
    assert {each["folder"] for each in found["unreadable"]} == {"old", "killed", "notes"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "report on what?"),
        (["one", "--index", "."], "report on what?"),
        (["one", "two", "--format", "md"], "--format is of a single RUN"),
        (["--index", ".", "--format", "md"], "--format is of a single RUN"),
        (["one", "old"], "has schema 0 and this version reads 1 alone"),
        (["one", "killed"], "has no result yet"),
        (["one", "notes"], "is not a run folder"),
        (["one", "one"], "given twice"),
        (["one", "one/result.json"], "given twice"),
        (["one"] * (several.MOST_RUNS + 1), "at most 12"),
        (["--index", "nowhere"], "is not a folder"),
        (["--index", "one"], "is a run itself"),
        (["--index", "notes"], "holds no run folders"),
        (["one", "two", "--out", "one/result.json/x.html"], "cannot be a folder"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(
    invoke: Invoke, folder: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    code, out, err = invoke(*given)
    assert (code, out) == (2, "")
    assert said in err
    assert len([line for line in err.splitlines() if line.startswith("loadstone:")]) == 1
    assert not (folder / "comparison.html").exists()
    assert not (folder / "index.html").exists()


def test_a_run_that_published_nothing_is_read_from_its_state(invoke: Invoke, folder: Path) -> None:
    stored(folder / "stored", at(result(), "stored", 5))
    assert invoke(folder / "one", folder / "stored")[0] == 0
