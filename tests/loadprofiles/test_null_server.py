"""The null server answers each request once, however the requests arrive."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import urllib.request
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from loadprofiles.null_server import NullServer, content_length, response


class Sink:
    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


@settings(max_examples=200, deadline=None)
@given(
    bodies=st.lists(st.integers(min_value=0, max_value=30), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_requests_whole_in_pieces_or_together_get_one_answer_each(bodies: list[int], cuts: list[int]) -> None:
    stream = b"".join(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-length: %d\r\n\r\n" % n + b"\r" * n for n in bodies)
    sink, server = Sink(), NullServer(b"!")
    server.connection_made(cast(asyncio.BaseTransport, sink))
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for a, b in itertools.pairwise(edges):
        server.data_received(stream[a:b])
    assert sink.written == b"!" * len(bodies)


def test_content_length_and_response() -> None:
    assert content_length(b"GET / HTTP/1.1\r\nHost: a") == 0
    assert response(3).endswith(b"Content-Length: 3\r\n\r\n\0\0\0")


def test_the_program_prints_its_port_and_answers() -> None:
    argv = [sys.executable, "-m", "loadprofiles.null_server", "--port", "0", "--body-bytes", "7", "--die-with-parent"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            request = urllib.request.Request(f"http://127.0.0.1:{port}/any", data=b"x" * 100_000)
            with urllib.request.urlopen(request, timeout=10) as reply:
                assert reply.read() == bytes(7)
        finally:
            process.terminate()
