"""A plan's files, and what does not fit together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import InfrastructureError, UsageError
from loadprofiles.plan import Plan
from loadprofiles.script import read
from tests.loadprofiles.test_plan import OPEN


def plan(folder: Path, **arrays: Any) -> Plan:
    """Two bodies, three arrivals; `arrays` take the place of what is in the files."""
    for name in ("a", "b"):
        (folder / name).write_bytes(name.encode())
    files = {"order": [0, 1, 0], "arrivals": [0, 5, 9], **arrays}
    for name, values in files.items():
        np.save(folder / f"{name}.npy", np.array(values))
    named: dict[str, Any] = {name: str(folder / f"{name}.npy") for name in files if name != "changes"}
    also = (81,) if "targets" in files else ()
    return replace(OPEN, bodies=tuple(str(folder / name) for name in ("a", "b")), also=also, **named)


def closed(folder: Path, users: int, changes: list[tuple[int, int]] | None) -> Plan:
    made = plan(folder, **({} if changes is None else {"changes": changes}))
    path = None if changes is None else str(folder / "changes.npy")
    return replace(made, arrivals=None, in_flight_cap=None, users=users, changes=path)


def test_requests_are_whole_and_in_order(tmp_path: Path) -> None:
    script = read(plan(tmp_path))
    assert [request.rpartition(b"\r\n\r\n")[2] for request in script.requests] == [b"a", b"b"]
    assert script.order.tolist() == [0, 1, 0]
    assert script.offsets.tolist() == [0, 5, 9]
    assert script.targets is None
    assert not script.changes


def test_users_come_at_once_or_as_the_file_says(tmp_path: Path) -> None:
    assert list(read(closed(tmp_path, 4, None)).changes) == [(0, 4)]
    assert list(read(closed(tmp_path, 4, [(0, 2), (7, 2), (9, -4)])).changes) == [(0, 2), (7, 2), (9, -4)]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"order": [0, 1]}, "does not cover"),
        ({"order": [0, 1, 2]}, "does not cover"),
        ({"arrivals": [0, 9, 5]}, "not in order"),
    ],
    ids=["too few", "no such body", "back in time"],
)
def test_files_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read(plan(tmp_path, **arrays))


@pytest.mark.parametrize("targets", [[0, 1], [0, 1, 2]], ids=["too few", "no such port"])
def test_targets_that_do_not_fit(tmp_path: Path, targets: list[int]) -> None:
    with pytest.raises(UsageError, match="targets"):
        read(plan(tmp_path, targets=targets))


@pytest.mark.parametrize("changes", [[(5, 2), (0, 2)], [(0, 5)], [(0, 2), (1, -3)]], ids=["order", "too many", "below none"])
def test_users_that_do_not_fit(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    with pytest.raises(UsageError, match="users are not in order, or not 0 to 4"):
        read(closed(tmp_path, 4, changes))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    made = plan(tmp_path)
    Path(made.order).unlink()
    with pytest.raises(InfrastructureError, match="cannot open the load plan's files"):
        read(made)
