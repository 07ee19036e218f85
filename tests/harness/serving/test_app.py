"""The server as a process: real clients, hostile bytes, limits, signals."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from harness.serving.app import App, Limits
from harness.serving.engine import Engine
from tests.harness.serving.fake_models import AFFINE, DTYPES, NULL, Null
from tests.harness.serving.support import Running, exchange, post, receive, server, start

X = np.arange(1024, dtype=np.float32).reshape(2, 512)
Y = 2 * X + 1
INFER = "/v2/models/affine/infer"
BINARY = json.dumps(
    {
        "inputs": [{"name": "x", "shape": [2, 512], "datatype": "FP32", "parameters": {"binary_data_size": 4096}}],
        "parameters": {"binary_data_output": True},
    }
).encode()
GOOD = post(INFER, BINARY + X.tobytes(), f"Inference-Header-Content-Length: {len(BINARY)}")


@pytest.fixture(scope="module")
def affine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with server(tmp_path_factory.mktemp("affine"), "affine", "--receive-timeout-s", "1.5") as running:
        yield running
        assert "Traceback" not in running.child.log.read_text()


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with server(tmp_path_factory.mktemp("every"), "every") as running:
        yield running


@pytest.fixture(scope="module")
def sleepy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with server(tmp_path_factory.mktemp("slow"), "slow", "--max-queue", "4") as running:
        yield running


@pytest.fixture(scope="module")
def triton() -> Any:
    import tritonclient.http

    return tritonclient.http


def slow(seconds: float, *headers: str) -> bytes:
    body = np.array([seconds], np.float32).tobytes()
    return post("/v2/models/slow/infer", body, "Inference-Header-Content-Length: 0", *headers)


def statistics(running: Running) -> Any:
    return requests.get(f"{running.url}/v2/models/stats", timeout=10).json()["model_stats"][0]


def timing(headers: Any) -> dict[str, float]:
    parts = [part.strip().partition(";dur=") for part in headers["server-timing"].split(",")]
    return {name: float(duration) for name, _, duration in parts}


class TestTritonClient:
    """The Open Inference Protocol as NVIDIA's own client speaks it."""

    def infer(self, triton: Any, running: Running, *, binary: bool = True, outputs: Any = None, **options: Any) -> Any:
        tensor = triton.InferInput("x", [2, 512], "FP32")
        tensor.set_data_from_numpy(X, binary_data=binary)
        with triton.InferenceServerClient(f"127.0.0.1:{running.port}") as client:
            return client.infer("affine", [tensor], outputs=outputs, **options)

    @pytest.mark.parametrize("binary", [True, False])
    @pytest.mark.parametrize("version", ["", "1"])
    def test_infer(self, triton: Any, affine: Running, binary: bool, version: str) -> None:
        result = self.infer(triton, affine, binary=binary, request_id="r-1", model_version=version)
        np.testing.assert_array_equal(result.as_numpy("y"), Y, strict=True)
        np.testing.assert_allclose(result.as_numpy("total"), Y.sum(axis=1, dtype=np.float64))
        assert result.get_response()["id"] == "r-1"
        assert result.get_response()["model_version"] == "1"

    def test_requested_outputs(self, triton: Any, affine: Running) -> None:
        outputs = [triton.InferRequestedOutput("total", binary_data=False)]
        result = self.infer(triton, affine, outputs=outputs)
        assert result.as_numpy("y") is None
        np.testing.assert_allclose(result.as_numpy("total"), Y.sum(axis=1, dtype=np.float64))

    @pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
    def test_compression(self, triton: Any, affine: Running, algorithm: str) -> None:
        result = self.infer(triton, affine, request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)
        np.testing.assert_array_equal(result.as_numpy("y"), Y, strict=True)

    def test_every_datatype(self, triton: Any, every: Running) -> None:
        from tritonclient.utils import np_to_triton_dtype

        random = np.random.default_rng(0)
        tensors = {dtype: random.integers(0, 2, (2, 3)).astype(dtype) for dtype in DTYPES}
        inputs = []
        for index, (dtype, tensor) in enumerate(tensors.items()):
            inputs.append(triton.InferInput(dtype, [2, 3], np_to_triton_dtype(tensor.dtype)))
            inputs[-1].set_data_from_numpy(tensor, binary_data=bool(index % 2) or dtype == "float16")
        with triton.InferenceServerClient(f"127.0.0.1:{every.port}") as client:
            result = client.infer("every", inputs)
        for dtype, tensor in tensors.items():
            np.testing.assert_array_equal(result.as_numpy(f"{dtype}_out"), tensor, strict=True)

    def test_descriptions(self, triton: Any, affine: Running) -> None:
        with triton.InferenceServerClient(f"127.0.0.1:{affine.port}") as client:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready("affine")
            assert client.is_model_ready("affine", "1")
            assert not client.is_model_ready("other")
            assert not client.is_model_ready("affine", "2")
            assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
            metadata = client.get_model_metadata("affine")
            assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [2, 512]}]
            config = client.get_model_config("affine")
            assert config["input"][0]["data_type"] == "TYPE_FP32"
            assert config["output"][1]["dims"] == [2]
            assert config["max_batch_size"] == 0
            assert client.get_model_repository_index() == [{"name": "affine", "version": "1", "state": "READY", "reason": ""}]

    def test_statistics_count_what_was_done(self, triton: Any, affine: Running) -> None:
        with triton.InferenceServerClient(f"127.0.0.1:{affine.port}") as client:
            before = client.get_inference_statistics("affine")["model_stats"][0]
            for _ in range(3):
                self.infer(triton, affine)
            after = client.get_inference_statistics("affine", "1")["model_stats"][0]
        for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
            assert after["inference_stats"][name]["count"] == before["inference_stats"][name]["count"] + 3
            assert after["inference_stats"][name]["ns"] > before["inference_stats"][name]["ns"]
        assert after["inference_count"] == before["inference_count"] + 3
        assert abs(after["last_inference"] - time.time() * 1000) < 10_000

    def test_errors_are_readable(self, triton: Any, affine: Running) -> None:
        tensor = triton.InferInput("x", [1, 512], "FP32")
        tensor.set_data_from_numpy(X[:1])
        from tritonclient.utils import InferenceServerException

        with (
            triton.InferenceServerClient(f"127.0.0.1:{affine.port}") as client,
            pytest.raises(InferenceServerException, match=r"the model takes \[2, 512\]"),
        ):
            client.infer("affine", [tensor])


class TestPlainHttp:
    def test_json_infer(self, affine: Running) -> None:
        entry = {"name": "x", "shape": [2, 512], "datatype": "FP32", "data": X.tolist()}
        answer = requests.post(affine.url + INFER, json={"id": "é", "inputs": [entry]}, timeout=10)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["content-encoding"] == "gzip"  # requests asks for it
        document = answer.json()
        assert document["id"] == "é"
        assert document["outputs"][0]["data"] == Y.ravel().tolist()

    def test_server_timing(self, sleepy: Running) -> None:
        before = statistics(sleepy)["inference_stats"]
        with sleepy.connect() as first, sleepy.connect() as second:
            first.sendall(slow(0.3))
            time.sleep(0.1)
            second.sendall(slow(0.05))
            times = [timing(receive(connection).headers) for connection in (first, second)]
        after = statistics(sleepy)["inference_stats"]
        # Sleeps are never short; how long they overrun is the machine's business.
        assert 299 < times[0]["compute"] < 600
        assert 49 < times[1]["compute"] < 250
        assert times[0]["queue"] < 90 < times[1]["queue"] < 500
        for ours, theirs in (("queue", "queue"), ("compute", "compute_infer")):
            added_ms = (after[theirs]["ns"] - before[theirs]["ns"]) / 1e6
            assert added_ms == pytest.approx(sum(each[ours] for each in times), abs=0.01)

    def test_many_requests_on_one_connection_some_pipelined(self, affine: Running) -> None:
        with affine.connect() as connection:
            for _ in range(50):
                connection.sendall(GOOD)
                assert receive(connection).body.endswith(Y.sum(axis=1, dtype=np.float64).tobytes())
            connection.sendall(GOOD * 3)
            assert [_status(connection) for _ in range(3)] == [200, 200, 200]

    def test_a_reply_larger_than_the_socket_takes_at_once(self, tmp_path: Path) -> None:
        request = post("/v2/models/masks/infer", np.float32(1).tobytes(), "Inference-Header-Content-Length: 0")
        expected = (np.arange(4_000_000, dtype=np.float32) + np.float32(1)).tobytes()
        with server(tmp_path, "masks") as running, running.connect() as connection:
            for _ in range(3):
                connection.sendall(request)
                assert receive(connection).body.endswith(expected)
            connection.sendall(request)
            connection.close()  # with most of the reply still to come
            assert exchange(running, request).body.endswith(expected)

    def test_the_same_answer_with_a_task_and_without(self, affine: Running) -> None:
        requests = (GOOD, GOOD.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip;q=0, x\r\n\r\n", 1))
        tasked = GOOD.replace(b"\r\n\r\n", b"\r\nExpect: none\r\n\r\n", 1)
        first, *others = (exchange(affine, request) for request in (*requests, tasked))
        for other in others:
            assert (other.status, other.body, set(other.headers)) == (first.status, first.body, set(first.headers))

    def test_a_connection_that_is_not_kept_is_closed_behind_the_answer(self, affine: Running) -> None:
        with affine.connect() as connection:
            connection.sendall(GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            response = receive(connection)
            assert (response.status, response.headers["connection"]) == (200, "close")
            assert connection.recv(1) == b""

    def test_chunked_and_continued_bodies(self, affine: Running) -> None:
        body = BINARY + X.tobytes()
        chunks = b"".join(b"%x\r\n" % len(part) + part + b"\r\n" for part in (body[:7], body[7:3000], body[3000:]))
        head = [f"POST {INFER} HTTP/1.1", "Host: test", f"Inference-Header-Content-Length: {len(BINARY)}"]
        chunked = "\r\n".join([*head, "Transfer-Encoding: chunked"]).encode() + b"\r\n\r\n" + chunks + b"0\r\n\r\n"
        assert exchange(affine, chunked).status == 200
        with affine.connect() as connection:
            connection.sendall(
                "\r\n".join([*head, "Expect: 100-continue", f"Content-Length: {len(body)}"]).encode() + b"\r\n\r\n"
            )
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(body)
            assert receive(connection).status == 200

    def test_any_split_of_the_bytes(self, affine: Running) -> None:
        with affine.connect() as connection:
            for size in (1, 7, 64, 1000):
                for at in range(0, len(GOOD), size):
                    connection.sendall(GOOD[at : at + size])
                assert receive(connection).body.endswith(Y.sum(axis=1, dtype=np.float64).tobytes())

    def test_sagemaker_contract(self, affine: Running) -> None:
        ping = requests.get(affine.url + "/ping", timeout=10)
        assert (ping.status_code, ping.content) == (200, b"")
        raw = requests.post(
            affine.url + "/invocations", X.tobytes(), headers={"Content-Type": "application/octet-stream"}, timeout=10
        )
        assert (raw.content, raw.headers["content-type"]) == (Y.tobytes(), "application/octet-stream")
        rows = requests.post(affine.url + "/invocations", json={"instances": X.tolist()}, timeout=10).json()
        assert [row["y"] for row in rows["predictions"]] == Y.tolist()
        assert timing(raw.headers)["compute"] > 0

    def test_nodelay(self, affine: Running) -> None:
        """Neither side's small packets wait for an acknowledgement: 40 ms each would show."""
        with affine.connect() as connection:
            start_s = time.monotonic()
            for _ in range(40):
                connection.sendall(GOOD)
                receive(connection)
            assert time.monotonic() - start_s < 1.4


def _status(connection: socket.socket) -> int:
    return receive(connection).status


def test_not_ready_once_it_is_to_stop() -> None:
    engine = Engine(NULL, Null)
    engine.start()
    app = App(NULL, engine, backend="numpy", release="0")

    def status(path: str) -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("nothing is read for a probe")

        asyncio.run(app({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send))
        return int(sent[0]["status"])

    probes = ["/ping", "/v2/health/ready", "/v2/models/null/ready", "/v2/models/null/versions/1/ready"]
    assert [status(path) for path in probes] == [200] * 4
    app.ready = False
    assert [status(path) for path in probes] == [503] * 4
    assert status("/v2/health/live") == 200
    assert engine.stop(5)


class TestHostile:
    """Whatever comes, the answer is a JSON 4xx of one line, and the next request is served."""

    @pytest.fixture(autouse=True)
    def _serves_afterwards(self, affine: Running) -> Iterator[None]:
        yield
        assert exchange(affine, GOOD).body.endswith(Y.sum(axis=1, dtype=np.float64).tobytes())

    @pytest.mark.parametrize(
        ("request_bytes", "status"),
        [
            (post(INFER, b"{"), 400),
            (post(INFER, b""), 400),
            (post(INFER, b"[" * 200_000), 400),
            (post(INFER, b'{"a":' * 100_000), 400),
            (post(INFER, BINARY, f"Inference-Header-Content-Length: {len(BINARY)}"), 400),
            (post(INFER, BINARY, "Inference-Header-Content-Length: 999999999999"), 400),
            (post(INFER, BINARY, "Inference-Header-Content-Length: -1"), 400),
            (post(INFER, BINARY, "Inference-Header-Content-Length: 0x10"), 400),
            (post(INFER, BINARY, "Content-Encoding: br"), 415),
            (post(INFER, BINARY, "Content-Encoding: gzip"), 400),
            (post(INFER, gzip.compress(bytes(20_000_000)), "Content-Encoding: gzip"), 413),
            (post(INFER, zlib.compress(bytes(20_000_000)), "Content-Encoding: deflate"), 413),
            (post("/v2/models/other/infer", BINARY), 404),
            (post("/v2/models/affine/versions/2/infer", BINARY), 404),
            (post("/v2/models/affine/generate", BINARY), 404),
            (post("/v2/models/" + "a" * 5000, BINARY), 404),
            (post("/", BINARY), 404),
            (post("/v2/models/%ff%00%0d%0a/infer", BINARY), 404),
            (post("/invocations", b"1,2", "Content-Type: text/csv"), 415),
            (post("/invocations", b"\x93NUMPY", "Content-Type: application/x-npy"), 400),
            (b"GET " + INFER.encode() + b" HTTP/1.1\r\nHost: test\r\n\r\n", 405),
            (b"GET /invocations HTTP/1.1\r\nHost: test\r\n\r\n", 405),
            (b"DELETE /v2 HTTP/1.1\r\nHost: test\r\n\r\n", 405),
            (post("/ping", b""), 405),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
            (b"POST\r\n\r\n", 400),
            (b"POST " + INFER.encode() + b" HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
            (b"POST " + INFER.encode() + b" HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
            (b"POST " + INFER.encode() + b" HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
            (b"GET /v2 HTTP/1.1\r\nHost: test\r\nX: " + b"a" * 200_000, 431),
            (b"GET /" + b"a" * 200_000, 431),
        ],
    )
    def test_refused_in_json(self, affine: Running, request_bytes: bytes, status: int) -> None:
        response = exchange(affine, request_bytes)
        assert response.status == status
        assert response.headers["content-type"] == "application/json"
        document = response.json()
        assert list(document) == ["error"]
        assert "\n" not in document["error"]
        assert len(document["error"]) < 600

    def test_a_wrong_method_says_which_is_right(self, affine: Running) -> None:
        response = requests.put(affine.url + "/v2/repository/index", timeout=10)
        assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")

    def test_a_body_over_the_limit(self, affine: Running) -> None:
        limit = Limits.of(AFFINE).body_bytes
        announced = exchange(affine, post(INFER, b"", length=limit + 1))
        assert announced.status == 413
        assert str(limit) in announced.json()["error"]
        sent = requests.post(affine.url + INFER, bytes(limit + 1), timeout=10)
        assert sent.status_code == 413
        chunked = requests.post(affine.url + INFER, iter([bytes(limit // 2)] * 4), timeout=10)
        assert chunked.status_code == 413
        huge = exchange(affine, post(INFER, b"", length=10**17))
        assert huge.status == 413

    @pytest.mark.parametrize(("request_bytes", "status"), [(GOOD, 200), (post(INFER, b"{}"), 400)])
    def test_garbage_behind_a_request_ends_the_connection_after_its_answer(
        self, affine: Running, request_bytes: bytes, status: int
    ) -> None:
        with affine.connect() as connection:
            connection.sendall(request_bytes + b"\x00\x01garbage")
            assert receive(connection).status == status
            with pytest.raises(ConnectionError):
                receive(connection)

    @pytest.mark.parametrize(
        "unfinished",
        [b"POST /v2 HT", post(INFER, b"ab", length=50), b"GET /v2 HTTP/1.1\r\nHost: test\r\n"],
        ids=["request line", "body", "headers"],
    )
    def test_a_request_that_never_ends_is_ended(self, affine: Running, unfinished: bytes) -> None:
        with affine.connect() as connection:
            connection.sendall(unfinished)
            response = receive(connection)
            assert response.status == 408
            with pytest.raises(ConnectionError):
                receive(connection)

    def test_a_client_that_leaves_within_its_body(self, affine: Running) -> None:
        before = statistics(affine)["inference_stats"]["fail"]
        for _ in range(20):
            with affine.connect() as connection:
                connection.sendall(post(INFER, b"abc", length=5000))
        assert statistics(affine)["inference_stats"]["fail"] == before

    def test_a_failing_model_is_one_line(self, affine: Running) -> None:
        body = BINARY + np.full((2, 512), np.nan, np.float32).tobytes()
        response = exchange(affine, post(INFER, body, f"Inference-Header-Content-Length: {len(BINARY)}"))
        assert response.status == 500
        assert response.json() == {"error": "inference failed: RuntimeError: x holds NaN"}
        assert "inference failed: RuntimeError: x holds NaN" in affine.child.log.read_text()

    def test_memory_does_not_grow(self, affine: Running) -> None:
        bad = post(INFER, b"[" * 500_000)

        def burst() -> int:
            for _ in range(30):
                exchange(affine, bad)
            return affine.child.rss_bytes()

        first = burst()
        assert burst() < first + 8_000_000


class TestOverload:
    def test_a_full_queue_answers_503(self, sleepy: Running) -> None:
        before = statistics(sleepy)["rejected_count"]
        connections = [sleepy.connect() for _ in range(6)]
        for connection in connections:
            connection.sendall(slow(0.15))
            time.sleep(0.02)
        refused = receive(connections[5])
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        assert "try again" in refused.json()["error"]
        assert [_status(connection) for connection in connections[:5]] == [200] * 5
        assert statistics(sleepy)["rejected_count"] == before + 1
        for connection in connections:
            connection.close()

    def test_whoever_leaves_the_queue_is_not_computed(self, sleepy: Running) -> None:
        before = statistics(sleepy)
        with sleepy.connect() as running_one:
            running_one.sendall(slow(0.4))
            time.sleep(0.05)
            for _ in range(3):
                with sleepy.connect() as leaver:
                    leaver.sendall(slow(5))
                    time.sleep(0.02)
            assert _status(running_one) == 200
            assert exchange(sleepy, slow(0)).status == 200  # at once: nothing of 5 s is before it
        after = statistics(sleepy)
        assert after["dropped_count"] == before["dropped_count"] + 3
        assert after["inference_count"] == before["inference_count"] + 2

    def test_the_server_answers_others_while_it_computes(self, sleepy: Running) -> None:
        with sleepy.connect() as busy:
            busy.sendall(slow(1.0))
            time.sleep(0.05)
            start_s = time.monotonic()
            assert requests.get(sleepy.url + "/v2/health/ready", timeout=5).status_code == 200
            assert time.monotonic() - start_s < 0.5
            assert _status(busy) == 200

    def test_workers_run_side_by_side(self, tmp_path: Path) -> None:
        with server(tmp_path, "slow", "--workers", "3") as running:
            connections = [running.connect() for _ in range(3)]
            start_s = time.monotonic()
            for connection in connections:
                connection.sendall(slow(0.5))
            assert [_status(connection) for connection in connections] == [200, 200, 200]
            assert time.monotonic() - start_s < 1.2
            for connection in connections:
                connection.close()


class TestProcess:
    def test_ready_file(self, affine: Running) -> None:
        ready = affine.ready
        assert ready["pid"] == affine.child.pid
        assert ready["load_s"] >= 0
        assert 0 < ready["first_inference_ms"] < 10_000
        assert ready["rss_bytes"] > 10_000_000
        assert ready["versions"]["numpy"] == np.__version__
        assert (ready["workers"], ready["threads"]) == (1, len(os.sched_getaffinity(0)))

    def test_cpus_and_threads(self, tmp_path: Path) -> None:
        cpu = max(os.sched_getaffinity(0))
        with server(tmp_path, "affine", "--cpus", str(cpu)) as running:
            assert (running.ready["cpus"], running.ready["threads"]) == ([cpu], 1)
            assert os.sched_getaffinity(running.child.pid) == {cpu}
            tasks = Path(f"/proc/{running.child.pid}/task")
            assert all(os.sched_getaffinity(int(task.name)) == {cpu} for task in tasks.iterdir())

    def test_inherited_socket(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            fd = listener.fileno()
            with server(tmp_path, "affine", "--fd", str(fd), pass_fds=[fd]) as running:
                assert running.port == listener.getsockname()[1]
                assert exchange(running, GOOD).status == 200

    def test_sigterm_finishes_what_is_in_flight(self, tmp_path: Path) -> None:
        with server(tmp_path, "slow") as running, running.connect() as idle, running.connect() as busy:
            idle.sendall(slow(0))
            assert _status(idle) == 200
            busy.sendall(slow(0.8))
            time.sleep(0.1)
            os.kill(running.child.pid, signal.SIGTERM)
            assert _status(busy) == 200
            assert running.child.process.wait(5) == 0
            assert idle.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                running.connect()

    def test_sigterm_is_bounded(self, tmp_path: Path) -> None:
        with server(tmp_path, "slow", "--grace-s", "1") as running, running.connect() as busy:
            busy.sendall(slow(60))
            time.sleep(0.1)
            start_s = time.monotonic()
            os.kill(running.child.pid, signal.SIGTERM)
            assert running.child.process.wait(10) == 0
            assert time.monotonic() - start_s < 5

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["--workers", "0"], "--workers 0 is too small"),
            (["--cpus", "9999"], "--cpus 9999"),
            (["--fd", "77"], "--fd 77"),
        ],
    )
    def test_wrong_options(self, tmp_path: Path, arguments: list[str], says: str) -> None:
        child, ready_file = start(tmp_path, "--model", "affine", *arguments)
        try:
            assert child.process.wait(20) == 2
        finally:
            child.stop()
        assert says in child.how_it_ended()
        assert not ready_file.exists()

    def test_it_ends_with_its_parent(self, tmp_path: Path) -> None:
        """The parent is a thread's child process here: when the starting thread ends, the kernel ends the server."""
        started: list[Any] = []

        def starter() -> None:
            context = server(tmp_path, "affine")
            started.append((context, context.__enter__()))

        thread = threading.Thread(target=starter)
        thread.start()
        thread.join()
        context, running = started[0]
        try:
            assert running.child.process.wait(5) == -signal.SIGKILL
        finally:
            context.__exit__(None, None, None)
