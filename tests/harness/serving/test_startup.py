"""Socket, CPU set, thread counts and ready file."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from harness.errors import InfrastructureError, UsageError
from harness.serving import startup


def test_cpus() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    assert startup.parse_cpus(",".join(map(str, allowed))) == allowed
    if allowed == list(range(allowed[0], allowed[-1] + 1)):
        assert startup.parse_cpus(f"{allowed[0]}-{allowed[-1]}") == allowed


@pytest.mark.parametrize("text", ["", "a", "0-", "-1", "0,,1", "100000", "1-0"])
def test_wrong_cpus(text: str) -> None:
    with pytest.raises(UsageError, match="--cpus"):
        startup.parse_cpus(text)


def test_thread_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in startup.THREAD_VARIABLES:
        monkeypatch.setenv(variable, "99")
    startup.set_thread_counts(3)
    assert {os.environ[variable] for variable in startup.THREAD_VARIABLES} == {"3"}


def test_an_inherited_socket_is_used() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as original,
        startup.listening_socket(os.dup(original.fileno()), "unused", 1) as listener,
    ):
        assert listener.getsockname() == original.getsockname()


def test_what_is_no_tcp_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--fd 987654"):
        startup.listening_socket(987654, "", 0)
    with socket.socket(socket.AF_UNIX) as local, pytest.raises(UsageError, match="not a TCP socket"):
        startup.listening_socket(os.dup(local.fileno()), "", 0)


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            startup.listening_socket(None, "127.0.0.1", port)


def test_ready_file_is_whole_and_alone(tmp_path: Path) -> None:
    startup.write_ready_file(tmp_path / "ready.json", {"port": 7})
    document = json.loads((tmp_path / "ready.json").read_text())
    assert document["pid"] == os.getpid()
    assert document["port"] == 7
    assert document["rss_bytes"] > 1_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["ready.json"]
    with pytest.raises(InfrastructureError, match="--ready-file"):
        startup.write_ready_file(tmp_path / "absent" / "ready.json", {})


def test_versions_leave_out_what_is_absent() -> None:
    found = startup.versions(["no-such-distribution", "pytest"])
    assert {"python", "uvicorn", "numpy", "pytest"} <= found.keys()
    assert "no-such-distribution" not in found
