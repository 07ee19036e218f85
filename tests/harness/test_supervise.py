"""Children that hang, fork, crash, flood their log or outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.errors import InfrastructureError, Interrupted
from harness.supervise import Child, last_line, run_bounded

PYTHON = sys.executable


def gone(pid: int, within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_child_runs_on_its_cpus_and_logs_to_its_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    cpu = min(os.sched_getaffinity(0))
    child = Child([PYTHON, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"], log=log, cpus=[cpu])
    child.process.wait(20)
    assert log.read_text().strip() == f"[{cpu}]"
    assert len(os.sched_getaffinity(0)) >= 1
    child.stop()


def test_a_child_that_ignores_sigterm_and_its_grandchild_are_killed(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "p = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, 1); time.sleep(60)']);"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    child = Child([PYTHON, "-c", code], log=tmp_path / "log")
    while not (tmp_path / "log").read_text().strip():
        time.sleep(0.02)
    grandchild = int((tmp_path / "log").read_text())
    child.stop(grace_s=0.3)
    assert gone(child.pid)
    assert gone(grandchild)
    child.stop()


def test_too_long_and_too_much_memory_are_told_apart(tmp_path: Path) -> None:
    slow = run_bounded([PYTHON, "-c", "import time; time.sleep(60)"], log=tmp_path / "a", timeout_s=0.3, memory_bytes=1 << 33)
    assert (slow.timed_out, slow.over_memory) == (True, False)
    greedy = run_bounded(
        [PYTHON, "-c", "import time; x = b'x' * 300_000_000; time.sleep(60)"],
        log=tmp_path / "b",
        timeout_s=30,
        memory_bytes=200_000_000,
    )
    assert (greedy.timed_out, greedy.over_memory) == (False, True)
    assert greedy.peak_rss_bytes > 200_000_000


def test_how_a_child_ended_names_the_signal_and_the_last_line(tmp_path: Path) -> None:
    code = "import os, sys; print('about to crash', flush=True); os.kill(os.getpid(), 11)"
    child = Child([PYTHON, "-c", code], log=tmp_path / "log")
    child.process.wait(20)
    assert child.how_it_ended() == "killed by SIGSEGV: about to crash"
    child.stop()


def test_a_flood_of_output_neither_blocks_nor_is_read_whole(tmp_path: Path) -> None:
    code = "import sys; sys.stdout.write('x' * 50_000_000 + '\\nlast words\\n')"
    report = run_bounded([PYTHON, "-c", code], log=tmp_path / "log", timeout_s=30, memory_bytes=1 << 33)
    assert report.returncode == 0
    assert last_line(tmp_path / "log") == "last words"


def test_cancelling_ends_the_child(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run_bounded(
            [PYTHON, "-c", "import time; time.sleep(60)"],
            log=tmp_path / "log",
            timeout_s=30,
            memory_bytes=1 << 33,
            cancelled=lambda: True,
        )
    assert not [each for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE]


def test_a_program_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="cannot start /nonexistent/program: No such file"):
        Child(["/nonexistent/program"], log=tmp_path / "log")


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    grandchild = "import sys, time; from harness.supervise import die_with_parent; die_with_parent(); time.sleep(60)"
    parent = (
        "import pathlib, sys, time; from harness.supervise import Child;"
        f"c = Child([sys.executable, '-c', {grandchild!r}], log=pathlib.Path({str(tmp_path / 'log')!r}));"
        "time.sleep(0.7); print(c.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([PYTHON, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert psutil.pid_exists(pid)
        process.send_signal(signal.SIGKILL)
        assert gone(pid)
