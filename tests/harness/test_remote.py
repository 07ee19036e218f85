"""Endpoints that others serve: what a URL says, and what their first answers promise."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.remote import (
    BYTES,
    JSON,
    OIP,
    SAGEMAKER,
    Answer,
    Expectation,
    address,
    checked_headers,
    declared_inputs,
    expectation,
    first_answers,
    model_path,
    protocol_of,
)
from harness.requestset import RequestSet
from tests.loadprofiles.server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


def test_a_url_is_taken_apart() -> None:
    at = address("http://host.example:81/a/b?c=d#e")
    assert (at.host, at.port, at.path) == ("host.example", 81, "/a/b?c=d")
    assert (address("http://[::1]").host, address("http://[::1]").port, address("http://[::1]").path) == ("::1", 80, "/")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://x/invocations", "https is not spoken"),
        ("ftp://x/y", "is not http://HOST:PORT/"),
        ("x:80/y", "is not http://HOST:PORT/"),
        ("http://", "is not http://HOST:PORT/"),
        ("http://x:99999/", "is not a URL"),
        ("http://x:0/", "port 0"),
        ("http://[::1/", "is not a URL"),
        ("http://me:secret@x/", "holds a name or password"),
    ],
)
def test_what_cannot_be_loaded_is_refused(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        address(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "suffixes", "protocol"),
    [
        ("/v2/models/m", [], OIP),
        ("/v2/models/m/versions/1/infer", [".json"], OIP),
        ("/invocations", [".json"], SAGEMAKER),
        ("/endpoints/x/invocations?y", [], SAGEMAKER),
        ("/predict", [".json", ".json"], JSON),
        ("/predict", [".json", ".npy"], BYTES),
        ("/", [], BYTES),
    ],
)
def test_the_protocol_follows_from_the_path_then_from_the_payloads(path: str, suffixes: list[str], protocol: str) -> None:
    assert protocol_of(path, suffixes) == protocol


def test_the_models_path_is_that_of_its_metadata() -> None:
    for url in ("http://x/v2/models/m", "http://x/v2/models/m/", "http://x/v2/models/m/infer?a=b"):
        assert model_path(address(url)) == "/v2/models/m"
    assert model_path(address("http://x/v2/models/m/versions/2/infer")) == "/v2/models/m/versions/2"
    for url in ("http://x/", "http://x/v2/models", "http://x/v2/models/", "http://x/v2/models/infer"):
        with pytest.raises(UsageError, match="names no model"):
            model_path(address(url))


def test_headers_are_checked() -> None:
    assert checked_headers(["X-A: b:c", "y:"]) == {"X-A": "b:c", "y": ""}
    for line in ("none", ": x", "a b: c", "ä: c"):
        with pytest.raises(UsageError, match="NAME: VALUE"):
            checked_headers([line])
    with pytest.raises(UsageError, match="sets it itself"):
        checked_headers(["Content-length: 5"])


def test_inputs_are_what_the_endpoint_declares(server: Server) -> None:
    at = address(f"http://127.0.0.1:{server.port}/v2/models/m/infer")
    server.routes["v2/models/m"] = "metadata"
    assert [(each.name, each.dtype, each.shape) for each in declared_inputs(at, 5)] == [("x", "float32", (1, 3))]
    for behaviour, said in (
        ("no-metadata", "inputs"),
        ("busy", "status 503"),
        ("free-axis", "only a batch axis may be free"),
        ("good", "does not describe a model"),
        ("truncated", "does not describe a model"),
        ("never", "timed out"),
    ):
        server.routes["v2/models/m"] = behaviour
        with pytest.raises(UsageError, match=said):
            declared_inputs(at, 0.3)


def test_an_answer_that_trickles_ends_with_the_time_out(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"x")
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not stop.wait(0.05):
                    try:
                        client.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        requests = RequestSet(path="/", headers={}, bodies=(tmp_path / "body",))
        at = address(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        assert first_answers(at, requests, 0.4) == []
        stop.set()
        thread.join()


def oip(size: int, *, binary: bool, shape: str = "[1, 2]") -> Answer:
    header = b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": %s}]}' % shape.encode()
    return Answer(
        status=200,
        content_type="application/octet-stream" if binary else "application/json",
        header_length=len(header) if binary else None,
        body=header + bytes(size) if binary else header,
    )


@pytest.mark.parametrize(
    ("protocol", "answers", "expected"),
    [
        (OIP, [oip(8, binary=True)] * 2, Expectation(status=200, body_bytes=len(oip(8, binary=True).body))),
        (OIP, [oip(8, binary=True), oip(9, binary=True)], Expectation(status=200, body="some")),
        (OIP, [oip(0, binary=False)] * 2, Expectation(status=200, body="json", outputs="y FP32 1x2")),
        (
            OIP,
            [oip(0, binary=False), oip(0, binary=False, shape="[1, 7]")],
            Expectation(status=200, body="json", outputs=""),
        ),
        (
            OIP,
            [Answer(status=200, content_type="", header_length=None, body=b"{}")],
            Expectation(status=200, body="json", outputs=""),
        ),
        (OIP, [Answer(status=503, content_type="", header_length=None, body=b"")], Expectation(status=200, body="some")),
        (OIP, [], Expectation(status=200, body="some")),
        (JSON, [Answer(status=201, content_type="", header_length=None, body=b"{}")], Expectation(status=201, body="json")),
        (JSON, [], Expectation(status=200, body="json")),
        (
            SAGEMAKER,
            [Answer(status=200, content_type="application/json", header_length=None, body=b"{}")],
            Expectation(status=200, body="json"),
        ),
        (
            SAGEMAKER,
            [Answer(status=200, content_type="text/csv", header_length=None, body=b"1")],
            Expectation(status=200, body="some"),
        ),
        (
            BYTES,
            [Answer(status=302, content_type="text/html", header_length=None, body=b"1")],
            Expectation(status=200, body="some"),
        ),
    ],
)
def test_the_first_answers_say_what_the_others_must_be(protocol: str, answers: list[Answer], expected: Expectation) -> None:
    assert expectation(protocol, answers) == expected
    assert str(expected).startswith(f"status {expected.status} and ")


def test_first_answers_come_from_the_first_payloads(server: Server, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text(json.dumps(name))
    requests = RequestSet(path="/json", headers={}, bodies=tuple(tmp_path / name for name in "abc"))
    at = address(f"http://127.0.0.1:{server.port}/json")
    assert [each.body for each in first_answers(at, requests, 5)] == [b'{"predictions": [[0.5]]}'] * 2
    assert server.received == [3, 3]
    server.routes["json"] = "reset"
    assert first_answers(at, requests, 5) == []
