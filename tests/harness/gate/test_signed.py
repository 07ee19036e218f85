from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import MeasurementInvalid
from harness.gate import signed


def log(folder: Path, lines: int = 3) -> Path:
    path = folder / "log.jsonl"
    path.unlink(missing_ok=True)
    for number in range(lines):
        signed.append(path, {"number": number, "why": "é"})
    return path


def test_lines_come_back_in_order_and_are_only_added(tmp_path: Path) -> None:
    path = log(tmp_path)
    before = path.read_bytes()
    signed.append(path, {"number": 3})
    assert path.read_bytes().startswith(before)
    assert [line["number"] for line in signed.read(path)] == [0, 1, 2, 3]
    assert signed.read(tmp_path / "none") == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_byte_changes_unseen(tmp_path: Path, data: st.DataObject) -> None:
    """Refused, or, at the very end, taken for a line that was never finished."""
    path = log(tmp_path)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
    try:
        found = signed.read(path)
    except MeasurementInvalid:
        return
    assert [line["number"] for line in found] == [0, 1]


def test_a_line_that_was_removed_is_missed(tmp_path: Path) -> None:
    path = log(tmp_path)
    first, _, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + third)
    with pytest.raises(MeasurementInvalid, match="line 2"):
        signed.read(path)


def test_what_a_crash_left_is_no_line_and_goes_with_the_next(tmp_path: Path) -> None:
    path = log(tmp_path, 2)
    with path.open("ab") as file:
        file.write(b'{"number": 2, "wh')
    assert len(signed.read(path)) == 2
    signed.append(path, {"number": 2})
    assert [line["number"] for line in signed.read(path)] == [0, 1, 2]
