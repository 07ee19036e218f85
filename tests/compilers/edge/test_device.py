"""A bundle checked and timed through TVM's own RPC server, here on the loopback in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compilers.build import build
from compilers.spec_io import PreparedModel
from harness.nouns import Artifact, CompileOptions, Failure
from tests.compilers.edge.conftest import make


@pytest.fixture
def server(native: Artifact, tmp_path: Path) -> Iterator[str]:
    """The address of a device that can run what this machine can."""
    pytest.importorskip("cloudpickle")
    log = tmp_path / "server.log"
    command = [sys.executable, "-m", "tvm.exec.rpc_server", "--host", "127.0.0.1", "--port", "19190", "--port-end", "19990"]
    with log.open("wb") as out:
        environment = {**os.environ, "TVM_NUM_THREADS": "1"}
        child = subprocess.Popen(command, stdout=out, stderr=out, cwd=tmp_path, env=environment, start_new_session=True)
    try:
        deadline_s = time.monotonic() + 60
        while not (found := re.search(r"bind to 127\.0\.0\.1:(\d+)", log.read_text(encoding="utf-8"))):
            assert child.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline_s, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield f"127.0.0.1:{found[1]}"
    finally:
        os.killpg(child.pid, signal.SIGKILL)  # its workers too, which outlive it
        child.wait(20)


def test_a_device_checks_and_times_it(server: str, native: Artifact, prepared: PreparedModel, tmp_path: Path) -> None:
    made = make(prepared, tmp_path, rpc=server)
    assert made.parity == native.parity  # the same code on the same kind of processor
    assert made.details["checked"] == f"the device at {server}"
    times = made.details["latency_ms"]
    assert 0 < times["low"] <= times["p50"] <= times["high"]
    assert times["n"] == 20
    again = make(prepared, tmp_path, rpc=server)
    assert not again.cached, "another device may be behind the address"


def test_a_device_that_does_not_answer_is_a_failure_and_not_remembered(
    native: Artifact, prepared: PreparedModel, tmp_path: Path
) -> None:
    options = CompileOptions(backend="tvm-bundle", rpc="127.0.0.1:9")
    made = build(options, prepared, tmp_path / "cache", log=tmp_path / "log")
    assert isinstance(made, Failure)
    assert (made.stage, made.reason[:45]) == ("load", "no RPC server answers at 127.0.0.1:9 (on the ")
    assert not any((tmp_path / "cache/artifacts").iterdir())
