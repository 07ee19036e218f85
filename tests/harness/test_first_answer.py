"""The first answer over HTTP against a server of the test's own that answers rightly, wrongly, or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from compilers import spec_io
from harness import first_answer
from harness.nouns import Tolerance
from harness.requestset import RequestSet, write_requests
from tests.harness.fakes import fake_model

RIGHT = np.array([[1, 2, 3, 4]], np.float32)


def reply(values: np.ndarray) -> tuple[int, bytes, int]:
    header = json.dumps(
        {
            "model_name": "fake",
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": values.nbytes}}],
        }
    ).encode()
    return 200, header + values.tobytes(), len(header)


@contextmanager
def answering(status: int, body: bytes, header_length: int) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Inference-Header-Content-Length", str(header_length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def model(tmp_path: Path) -> tuple[Path, RequestSet]:
    prepared = fake_model(tmp_path / "model")
    spec_io.write_reference(prepared.folder, [[RIGHT], [RIGHT]])
    return prepared.folder, write_requests("fake", spec_io.read_payloads(prepared.folder), tmp_path / "requests")


def test_a_right_answer_gives_its_length(model: tuple[Path, RequestSet]) -> None:
    folder, requests = model
    status, body, header = reply(RIGHT)
    with answering(status, body, header) as port:
        assert first_answer.check("127.0.0.1", port, requests, folder, Tolerance()) == len(body)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(RIGHT + 1), "differs from the reference: relative error"),
        (reply(RIGHT * np.nan), "NaN"),
        ((503, b'{"error": "busy"}', 0), "answered with 503"),
        ((200, b"hello", 3), "no Open Inference Protocol reply"),
        ((200, b"", 0), "no Open Inference Protocol reply"),
        ((200, reply(RIGHT)[1][:-4], reply(RIGHT)[2]), "no Open Inference Protocol reply"),
    ],
)
def test_a_wrong_answer_is_a_reason(model: tuple[Path, RequestSet], answer: tuple[int, bytes, int], said: str) -> None:
    folder, requests = model
    with answering(*answer) as port, pytest.raises(first_answer.WrongAnswer, match=said):
        first_answer.check("127.0.0.1", port, requests, folder, Tolerance())


def test_nobody_there_is_a_reason(model: tuple[Path, RequestSet]) -> None:
    folder, requests = model
    with pytest.raises(first_answer.WrongAnswer, match="was not answered"):
        first_answer.check("127.0.0.1", 9, requests, folder, Tolerance())
