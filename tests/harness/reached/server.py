"""A model that others serve: y = 2 x over HTTP, in one dialect or another, rightly or wrongly."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from compilers import spec_io
from compilers.spec_io import PreparedModel
from tests.harness.fakes import fake_model

BINARY, TENSORS, TRITON, INSTANCES = "binary", "tensors", "triton", "instances"


def doubling(folder: Any) -> PreparedModel:
    """The prepared model whose reference is 2 x."""
    prepared = fake_model(folder)
    spec_io.write_reference(prepared.folder, [[2 * payload["x"]] for payload in spec_io.read_payloads(prepared.folder)])
    return prepared


@contextmanager
def serving(speaks: str, *, factor: float = 2.0, status: int = 200, name: str = "x") -> Iterator[int]:
    """A server that understands one dialect only and answers others with 415; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, json.dumps({"inputs": [{"name": name, "datatype": "FP32", "shape": [1, 4]}]}).encode(), {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                given, binary = _given(speaks, name, self.headers, body)
            except (KeyError, ValueError, TypeError):
                return self._send(415, b"not my dialect", {})
            return self._send(status, *_answer(speaks, (factor * given).astype(np.float32), binary))

        def _send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(code)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _given(speaks: str, name: str, headers: Message, body: bytes) -> tuple[np.ndarray, bool]:
    """The input, and whether it came as bytes. Raises KeyError, ValueError or TypeError for another dialect."""
    if speaks == INSTANCES:
        return np.array(json.loads(body)["instances"], np.float32), False
    if speaks == TENSORS:
        (entry,) = json.loads(body)["inputs"]
        flat = np.array(entry["data"], np.float32)
    else:
        said = headers["Inference-Header-Content-Length"] if speaks == BINARY else headers["Content-Type"].partition("=")[2]
        (entry,) = json.loads(body[: int(said)])["inputs"]
        flat = np.frombuffer(body[int(said) :], np.float32)
    if entry["name"] != name:
        raise KeyError(name)
    return flat.reshape(entry["shape"]), speaks != TENSORS


def _answer(speaks: str, y: np.ndarray, binary: bool) -> tuple[bytes, dict[str, str]]:
    if speaks == INSTANCES:
        return json.dumps({"predictions": y.tolist()}).encode(), {}
    entry: dict[str, Any] = {"name": "y", "datatype": "FP32", "shape": list(y.shape)}
    if not binary:
        return json.dumps({"outputs": [{**entry, "data": y.ravel().tolist()}]}).encode(), {}
    head = json.dumps({"outputs": [{**entry, "parameters": {"binary_data_size": y.nbytes}}]}).encode()
    said = (
        {"Content-Type": f"application/vnd.sagemaker-triton.binary+json;json-header-size={len(head)}"}
        if speaks == TRITON
        else {"Inference-Header-Content-Length": str(len(head))}
    )
    return head + y.tobytes(), said
