"""A result is read whole or refused in one line that names the file and says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import resultfile
from harness.errors import UsageError
from tests.reports.conftest import FIXTURE


def test_load_reads_the_stored_result() -> None:
    assert resultfile.load(FIXTURE)["model"]["name"] == "resnet50"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        (b'{"schema": 2}', "schema 2 and this version reads 1 alone; upgrade"),
        (b'{"schema": 2, "run": {"loadstone_version": "9.1"}}', "use loadstone 9.1"),
        (b'{"schema": 0}', "schema 0 and this version reads 1 alone; use the loadstone that wrote it, or bench again"),
        (b'{"schema": true}', "no schema"),
        (b'{"schema": "1"}', "no schema"),
        (b'{"schema": 1}', "lacks run, model, environment, candidates"),
        (b'{"schema": 1, "run": {}, "model": {}, "environment": {}, "candidates": null}', "lacks candidates"),
        (b'{"schema": 1, "run": {}, "model": {}, "environment": {}, "candidates": [NaN]}', "NaN is no number of JSON"),
        (b"[]", "no schema"),
        (b"[" * 99_999, "JSON"),
    ],
)
def test_load_refuses_what_is_no_result(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said) as caught:
        resultfile.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load_takes_the_folder_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(FIXTURE.read_bytes())
    assert resultfile.load(tmp_path)["schema"] == 1


def test_load_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        resultfile.load(tmp_path / "absent.json")
