"""Real compilers, servers and load on a model file the project has never seen; stopped, killed and resumed."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import all_gone, command, family, started

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

BACKENDS = "ort,openvino,torch,tvm"
TWO = "ort,openvino"


def only_run(folder: Path) -> Path:
    (run,) = [path for path in folder.iterdir() if path.is_dir()]
    return run


def result_of(run: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((run / "result.json").read_text())
    return value


def bench(unseen: Path, out: Path, backends: str, *more: str) -> list[str]:
    return command("bench", str(unseen), "--profile", "smoke", "--backends", backends, "--out", str(out), *more)


def test_an_unseen_onnx_file_is_ranked_and_json_stands_alone(
    unseen_onnx: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        bench(unseen_onnx, tmp_path / "runs", BACKENDS, "--json"),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=500,
    )
    printed = json.loads(done.stdout)
    run = only_run(tmp_path / "runs")
    assert printed == result_of(run)
    rows = {row["backend"]: row for row in printed["candidates"]}
    assert set(rows) == set(BACKENDS.split(","))
    assert rows["torch"]["status"] == "skipped"
    assert "program" in rows["torch"]["reason"]
    for name in ("ort", "openvino", "tvm"):
        # A noisy machine may make a run invalid, and must then say so; nothing may fail.
        assert rows[name]["status"] in ("ranked", "rejected", "invalid"), rows[name]["reason"]
        assert rows[name]["parity"]["payloads"] >= 32
        assert rows[name]["parity"]["max_rel"] < 1e-3
        assert rows[name]["start_s"] > 0
    judged = any(row["status"] in ("ranked", "rejected") for row in rows.values())
    assert done.returncode == (0 if judged else 3), done.stderr
    assert (run / "report.html").stat().st_size > 1_000_000
    for step in (step for row in rows.values() for step in row["steps"]):
        assert (run / step["samples"]).exists()
    again = subprocess.run(
        command("report", str(run), "--json"), capture_output=True, text=True, env=environment, check=False, timeout=120
    )
    assert json.loads(again.stdout) == printed


def test_ctrl_c_leaves_a_partial_report_and_nothing_running(
    unseen_onnx: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with started(bench(unseen_onnx, tmp_path / "runs", TWO), env=environment, stderr=subprocess.PIPE) as process:
        wait_for_state(tmp_path / "runs", visits=1)
        children = family(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "--resume" in err
    assert all_gone(children)
    run = only_run(tmp_path / "runs")
    assert result_of(run)["run"]["state"] == "partial"
    assert "partial" in (run / "report.html").read_text().lower()
    finished = subprocess.run(
        command("bench", "--resume", str(run)), capture_output=True, text=True, env=environment, check=False, timeout=500
    )
    assert finished.returncode in (0, 3), finished.stderr
    assert result_of(run)["run"]["state"] == "complete"


def listening(process: psutil.Process) -> list[int]:
    """The ports it listens on; none when it has just ended."""
    try:
        return [c.laddr[1] for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []


def all_closed(ports: list[int], patience_s: float = 10.0) -> bool:
    """Whether nobody listens on `ports` any more, at the latest after a moment: a child that was being started when its parent
    was killed has yet to notice."""
    deadline = time.monotonic() + patience_s
    while {c.laddr[1] for c in psutil.net_connections() if c.laddr and c.status == psutil.CONN_LISTEN} & set(ports):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("visits", [0, 1])
def test_kill_9_leaves_nothing_running_and_the_bench_resumes(
    unseen_onnx: Path, environment: dict[str, str], tmp_path: Path, visits: int
) -> None:
    with started(bench(unseen_onnx, tmp_path / "runs", TWO), env=environment, stderr=subprocess.DEVNULL) as process:
        wait_for_state(tmp_path / "runs", visits=visits)
        children = family(process.pid)
        ports = [port for child in children for port in listening(child)]
        process.kill()
        process.wait()
    assert all_gone(children)
    assert all_closed(ports)
    run = only_run(tmp_path / "runs")
    before = {path.name: path.read_bytes() for path in (run / "samples").iterdir()}
    final = final_visits(run)
    resumed = subprocess.run(
        command("bench", "--resume", str(run)), capture_output=True, text=True, env=environment, check=False, timeout=500
    )
    assert resumed.returncode in (0, 3), resumed.stderr
    assert result_of(run)["run"]["state"] == "complete"
    for name, content in before.items():
        if any(name.startswith(f"{visit}-") for visit in final):
            assert (run / "samples" / name).read_bytes() == content, "what was final must not be measured again"


def test_an_slo_nobody_meets_is_a_result(unseen_onnx: Path, environment: dict[str, str], tmp_path: Path) -> None:
    arguments = bench(unseen_onnx, tmp_path / "runs", "ort", "--slo", "p99<0.05ms", "--json")
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False, timeout=300)
    result = json.loads(done.stdout)
    (row,) = result["candidates"]
    assert row["status"] in ("rejected", "invalid"), row["reason"]
    if row["status"] == "rejected":
        assert done.returncode == 0, done.stderr
        assert "times the limit" in result["recommendation_reason"]
    assert result["recommendation"] is None


def test_a_full_disk_is_one_line_and_exit_code_3(unseen_onnx: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """The limit on file sizes is the kernel's own stand-in for a disk that takes no more."""
    arguments = ["prlimit", "--fsize=300000", *bench(unseen_onnx, tmp_path / "runs", "ort")]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("loadstone: ")


def test_a_taken_port_is_one_line_and_exit_code_2(unseen_onnx: Path, environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = command("serve", str(unseen_onnx), "--port", port)
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 2, done.stderr
    assert f"127.0.0.1:{port}" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", [b"", b"\x08\x07random bytes \xff\xfe" * 50])
def test_a_file_that_is_no_model_is_one_line_and_exit_code_2(
    content: bytes, environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    arguments = bench(path, tmp_path / "runs", "ort")
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "broken.onnx" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def final_visits(run: Path) -> set[str]:
    from harness.store import Store

    store = Store(run)
    try:
        return {visit["id"] for visit in store.visits()}
    finally:
        store.close()


def wait_for_state(folder: Path, *, visits: int, within_s: float = 300.0) -> None:
    """Until the bench has stored this many visits and is in the middle of the next one."""
    import sqlite3

    end = time.monotonic() + within_s
    while time.monotonic() < end:
        found = list(folder.glob("*/state.sqlite"))
        if found and list(folder.glob("*/logs/b*.log")):
            with sqlite3.connect(f"file:{found[0]}?mode=ro", uri=True) as database:
                count = database.execute("SELECT COUNT(*) FROM visits").fetchone()[0]
            database.close()
            if count >= visits and len(list(folder.glob("*/logs/b*.log"))) > count:
                time.sleep(0.3)
                return
        time.sleep(0.05)
    raise AssertionError(f"the bench did not get to {visits} visits within {within_s:g} s")
