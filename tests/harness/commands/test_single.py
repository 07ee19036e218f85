from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.commands.single import CompileRequest, _tuning
from harness.errors import UsageError


def asked(**options: Any) -> CompileRequest:
    fixed: dict[str, Any] = {"model": "m", "backends": (), "precisions": (), "threads": 1, "shapes": (), "out": None}
    return CompileRequest(**fixed, target="host", target_options="", **options)


def test_tuning_is_what_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    got = _tuning(("ort", "tvm"), asked(batches="4,8", search_s=3.0, records=str(path)))
    assert got == {"batches": (4, 8), "search_s": 3.0, "records": str(path)}
    assert not any(_tuning(("ort",), asked()).values())


@pytest.mark.parametrize(
    ("options", "backends", "reason"),
    [
        ({"batches": "4,x"}, ("tvm",), "not a list of batch sizes"),
        ({"batches": "0"}, ("tvm",), "not a list of batch sizes"),
        ({"search_s": 5.0}, ("ort",), "--backends ort,tvm"),
        ({"records": "/nowhere/records.jsonl"}, ("tvm",), "no such file"),
    ],
)
def test_what_cannot_be_tuned_is_refused(options: dict[str, Any], backends: tuple[str, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        _tuning(backends, asked(**options))


def test_a_damaged_record_file_is_refused_before_anything_is_prepared(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("{}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 1"):
        _tuning(("tvm",), asked(records=str(path)))
