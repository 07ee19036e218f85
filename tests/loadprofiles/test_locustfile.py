"""The generator program by itself: what it imports, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import psutil
import pytest

PROGRAM = [sys.executable, "-m", "loadprofiles.locustfile"]


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline()) == {"ready": process.pid}
            yield process
        finally:
            process.kill()


def test_imports_no_runtime_and_patches_nothing() -> None:
    code = """
        import sys, loadprofiles.locustfile, gevent.monkey
        heavy = {"torch", "onnxruntime", "openvino", "tvm", "transformers", "pandas", "plotly", "uvicorn", "uvloop"}
        print(sorted(heavy & set(sys.modules)))
        print(gevent.monkey.is_module_patched("socket"))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["[]", "False"]


def test_the_histogram_keeps_three_digits() -> None:
    code = (
        "from loadprofiles.locustfile import fine_bucket as f; print([f(x) for x in (0.00049, 0.4144, 2.516, 25.24, 1234.0)])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == [0.0, 0.414, 2.52, 25.2, 1230.0]


def test_nonsense_is_answered_and_opens_no_port(program: subprocess.Popen[bytes]) -> None:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(b"what?\n{}\n")
    program.stdin.flush()
    for _ in range(2):
        assert json.loads(program.stdout.readline())["error"].startswith("not a load plan")
    assert [each for each in psutil.Process(program.pid).net_connections() if each.status == "LISTEN"] == []


def test_ends_with_its_input(program: subprocess.Popen[bytes]) -> None:
    assert program.stdin is not None
    program.stdin.close()
    assert program.wait(5) == 0


def test_ends_on_sigterm(program: subprocess.Popen[bytes]) -> None:
    program.send_signal(signal.SIGTERM)
    assert program.wait(5) in (0, -signal.SIGTERM)


def test_dies_with_its_parent(tmp_path: object) -> None:
    code = f"""
        import os, pathlib, signal
        from loadprofiles.generator import Generator
        generator = Generator(None, pathlib.Path({str(tmp_path)!r}) / "log").__enter__()
        print(generator.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    parent = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert parent.returncode == -signal.SIGKILL
    pid = int(parent.stdout)
    end = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.02)
    alive = psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    if alive:
        os.kill(pid, signal.SIGKILL)
    assert not alive
