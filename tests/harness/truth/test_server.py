"""The running truth server: its times follow the law, its faults look as named, and it leaves nothing behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.http as triton

from harness import cli
from harness.truth import answers
from harness.truth.__main__ import main
from harness.truth.discipline import sojourns_ns
from harness.truth.draws import draws, services_ns
from harness.truth.launch import truth_server
from harness.truth.log import read
from harness.truth.spec import FAULTS, KINDS, Kind, parse

BODY = b"x" * 50


def post(
    port: int, path: str = "/x", body: bytes = BODY, timeout: float = 5, **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        reply = connection.getresponse()
        return reply.status, reply.read(), reply.headers
    finally:
        connection.close()


def burst(port: int, clients: int, each: int, gap_s: float) -> None:
    """Requests from several connections at once."""

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for _ in range(each):
            connection.request("POST", "/invocations", BODY)
            assert connection.getresponse().read()
            time.sleep(gap_s)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    "law", ["exponential:3ms;seed=5", "lognormal:4ms,sigma=0.5;servers=2", "constant:4ms;servers=1;stall=100ms/300ms"]
)
def test_what_is_served_is_what_the_discipline_says(law: str, tmp_path: Path) -> None:
    log = tmp_path / "log.npy"
    with truth_server(law, output=tmp_path / "out", log=log) as port:
        burst(port, clients=6, each=25, gap_s=0.002)
    truth, served = parse(law), read(log)
    assert len(served) == 150
    assert (served["kind"] == KINDS.index(Kind.GOOD)).all()
    np.testing.assert_array_equal(served["service_ns"], services_ns(truth, 150))
    arrivals = served["arrival_ns"]
    assert (np.diff(arrivals) >= 0).all()
    planned_ns = served["due_ns"] - arrivals
    if truth.stall is None:
        assert planned_ns.tolist() == sojourns_ns(arrivals.tolist(), served["service_ns"].tolist(), truth.servers, None)
    else:
        base = np.array(sojourns_ns(arrivals.tolist(), served["service_ns"].tolist(), truth.servers, None))
        held = planned_ns > base
        assert held.any()
        assert (~held).any()
        # What was held came out at the ends of the stalls, 300 ms apart.
        ends = np.unique(served["due_ns"][held])
        assert set((np.diff(ends) % 300_000_000).tolist()) <= {0}
        assert (planned_ns - base < 100_000_000).all()
    late_ns = served["answered_ns"] - served["due_ns"]
    assert (late_ns >= 0).all()
    assert np.median(late_ns) < 10_000_000, "a few thousandths of that on a core of its own; tests share theirs"


def test_times_seen_by_a_client_are_those_of_the_law(tmp_path: Path) -> None:
    with truth_server("bimodal:5ms,30ms,p=0.3;seed=1", output=tmp_path / "out") as port:
        seen = []
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            for _ in range(60):
                begun = time.monotonic_ns()
                connection.request("POST", "/any/thing", BODY)
                reply = connection.getresponse()
                assert reply.read()
                seen.append((time.monotonic_ns() - begun, reply.headers["Server-Timing"]))
    drawn = services_ns(parse("bimodal:5ms,30ms,p=0.3;seed=1"), 60)
    for (took_ns, timing), service_ns in zip(seen, drawn.tolist(), strict=True):
        assert timing == f"queue;dur=0.000, compute;dur={service_ns / 1e6:.3f}"
        assert took_ns >= service_ns
    excess_ms = np.array([took_ns for took_ns, _ in seen]) / 1e6 - drawn / 1e6
    assert np.median(excess_ms) < 5


def test_tritons_own_client_is_served(tmp_path: Path) -> None:
    with truth_server("constant:1ms", output=tmp_path / "out") as port:
        client = triton.InferenceServerClient(f"127.0.0.1:{port}")
        assert client.is_server_live()
        assert client.is_model_ready("truth")
        assert client.get_model_metadata("truth")["inputs"][0]["shape"] == [1, 8]
        assert client.get_model_config("truth")["name"] == "truth"
        assert client.get_model_repository_index()[0]["state"] == "READY"
        for binary in (True, False):
            given = triton.InferInput("x", [1, 8], "FP32")
            given.set_data_from_numpy(np.zeros((1, 8), np.float32), binary_data=binary)
            wanted = [triton.InferRequestedOutput("y", binary_data=binary)]
            np.testing.assert_array_equal(client.infer("truth", [given], outputs=wanted).as_numpy("y"), answers.RIGHT)
        client.close()


def test_every_form_of_request_is_answered_in_its_own(tmp_path: Path) -> None:
    with truth_server("constant:1ms;wrong=0.5", output=tmp_path / "out") as port:
        for _ in range(8):  # some right, some wrong
            status, body, _ = post(port, "/invocations", Content_Type="application/octet-stream")
            assert status == 200
            got = np.frombuffer(body, np.float32)
            assert got.tolist() in (answers.RIGHT[0].tolist(), answers.WRONG[0].tolist())
            assert b"predictions" in post(port, "/invocations")[1]
            assert post(port, "/invocations", Content_Type="application/x-npy")[1].startswith(b"\x93NUMPY")
            triton_type = "application/vnd.sagemaker-triton.binary+json;json-header-size=10"
            assert "json-header-size=" in str(post(port, "/invocations", Content_Type=triton_type)[2]["Content-Type"])
        assert post(port, "/v2/models/truth/infer", b"")[0] == 200
        assert post(port, body=b"x" * 3_000_000, Expect="100-continue")[0] == 200
        lengths = {len(post(port, "/v2/models/truth/infer")[1]) for _ in range(8)}
        assert len(lengths) == 1, "a wrong answer is as long as a right one"


def seen(port: int) -> str:
    """The kind of answer to one request, as a client can tell it."""
    try:
        status, body, _ = post(port, "/invocations", Content_Type="application/octet-stream", timeout=0.25)
    except http.client.IncompleteRead:
        return "truncated"
    except ConnectionResetError:
        return "reset"
    except http.client.BadStatusLine:
        return "garbage"
    except TimeoutError:
        return "never"
    if status != 200 or not body:
        return "503" if status == 503 else "empty"
    got = np.frombuffer(body, np.float32)
    return "good" if np.array_equal(got, answers.RIGHT[0]) else "wrong" if np.array_equal(got, answers.WRONG[0]) else "?"


def test_faults_look_as_named_and_come_at_once(tmp_path: Path) -> None:
    law = "constant:60ms;servers=1;wrong=0.15;seed=2;" + ";".join(f"errors=0.11:{fault}" for fault in FAULTS)
    log = tmp_path / "log.npy"
    with truth_server(law, output=tmp_path / "out", log=log) as port:
        begun, kinds, took_s = time.monotonic(), [], []
        for _ in range(60):
            begun = time.monotonic()
            kinds.append(seen(port))
            took_s.append(time.monotonic() - begun)
    drawn = draws(parse(law))
    assert kinds == [next(drawn)[1] for _ in range(60)]
    assert set(kinds) == set(KINDS)
    served = read(log)
    assert [KINDS[kind] for kind in served["kind"]] == kinds
    assert ((served["answered_ns"] < 0) == (served["kind"] == KINDS.index(Kind.NEVER))).all()
    for kind, took in zip(kinds, took_s, strict=True):
        assert took >= 0.06 or kind not in ("good", "wrong", "never")
    assert np.median([took for kind, took in zip(kinds, took_s, strict=True) if kind in FAULTS and kind != "never"]) < 0.05


def test_churned_and_broken_connections_leave_no_descriptor(tmp_path: Path) -> None:
    with truth_server("constant:1ms;churn;errors=0.2:reset;errors=0.2:never", output=tmp_path / "out") as port:
        (server,) = [child for child in psutil.Process().children() if "harness.truth" in child.cmdline()]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as first:
            first.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while first.recv(4096):
                pass  # until it has answered it may still be opening what it works with
        before = server.num_fds()
        for index in range(500):
            client = socket.create_connection(("127.0.0.1", port), timeout=5)
            client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"[: None if index % 3 else 30])
            if index % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        deadline = time.monotonic() + 5
        while server.num_fds() > before and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.num_fds() == before
        assert server.cpu_percent(0.3) < 50, "it sleeps when there is nothing to do"


def exchange(port: int, *pieces: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.01)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while block := client.recv(65536):
            received += block
        return received


def test_odd_clients_are_answered_or_refused(tmp_path: Path) -> None:
    one = b"POST /a HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"
    with truth_server("constant:20ms", output=tmp_path / "out") as port:
        assert exchange(port, *(one[i : i + 1] for i in range(len(one)))).count(b"200 OK") == 1
        assert exchange(port, one + one).count(b"200 OK") == 1, "pipelined: the second is not read"
        assert exchange(port, one, one).count(b"200 OK") == 1
        assert exchange(port, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n").count(b"200 OK") == 1
        assert b"Connection: close" in exchange(port, b"POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
        assert b"400 Bad Request" in exchange(port, b"no such thing\r\n\r\n")
        assert b"400 Bad Request" in exchange(port, b"POST / HTTP/1.1\r\nA: " + b"a" * 70_000)
        assert b"404 Not Found" in exchange(port, b"GET /nothing HTTP/1.1\r\n\r\n")
        assert b"405 Method" in exchange(port, b"DELETE / HTTP/1.1\r\n\r\n")
        assert exchange(port, b"") == b""
        assert post(port)[0] == 200


def test_it_stops_when_told_and_answers_what_is_in_line(tmp_path: Path) -> None:
    with truth_server("constant:500ms", output=tmp_path / "out") as port:
        (server,) = [child for child in psutil.Process().children() if "harness.truth" in child.cmdline()]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            time.sleep(0.1)
            os.kill(server.pid, signal.SIGTERM)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert psutil.wait_procs([server], timeout=5)[1] == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


WRONG_OPTIONS = [
    (["--law", "gamma:1ms"], "no law"),
    (["--law", "constant:1ms", "--cpus", "9999"], "--cpus 9999"),
    (["--law", "constant:1ms", "--log", "/no/such/folder/log"], "choose another file"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG_OPTIONS)
def test_wrong_options_are_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1
    assert not out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "serve what?"),
        (["resnet50", "--truth", "constant:1ms"], "not both"),
        (["--truth", "gamma:1ms"], "constant:10ms"),
    ],
)
def test_the_command_says_what_to_serve(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["loadstone", "serve", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_line_and_exit_code_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        argv = [sys.executable, "-m", "harness.cli", "serve", "--truth", "constant:1ms", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "choose another --port" in done.stderr
    assert "Traceback" not in done.stderr
