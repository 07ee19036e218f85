import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadprofiles.priority import STAYS_NS, WAKES_FIRST_NS, go_first

SHOW = """
import pathlib, sys
from loadprofiles.priority import go_first
go_first(int(sys.argv[1]))
print(pathlib.Path("/proc/self/sched").read_text())
"""


def scheduled(slice_ns: int) -> dict[str, str]:
    if not Path("/proc/self/sched").exists():
        pytest.skip("this kernel does not show how it schedules a process")
    shown = subprocess.run([sys.executable, "-c", SHOW, str(slice_ns)], check=True, capture_output=True, text=True).stdout
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in shown.splitlines())}


@pytest.mark.parametrize("slice_ns", [WAKES_FIRST_NS, STAYS_NS])
def test_the_kernel_takes_the_slice(slice_ns: int) -> None:
    found = scheduled(slice_ns)
    if "se.slice" not in found or tuple(map(int, os.uname().release.split(".")[:2])) < (6, 12):
        pytest.skip("slices of one's own came with Linux 6.12")
    assert int(found["se.slice"]) == slice_ns


def test_the_administrator_goes_before_others() -> None:
    if os.geteuid() != 0:
        pytest.skip("only the administrator may")
    assert int(scheduled(WAKES_FIRST_NS)["prio"]) == 110


def test_everybody_else_keeps_his_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    before = os.getpriority(os.PRIO_PROCESS, 0)
    monkeypatch.setattr(os, "setpriority", refuse)
    monkeypatch.setattr("loadprofiles.priority._SCHED_SETATTR", {})
    go_first(WAKES_FIRST_NS)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
