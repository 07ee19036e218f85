"""One connection: replies in any pieces, bodies larger than the socket takes, and the server's own timings."""

from __future__ import annotations

import gc
import itertools
import socket
import struct
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadprofiles.transport import KEPT_BYTES, Connection, arrival_ns, resolve, server_timing_us
from tests.loadprofiles.loop import HandLoop
from tests.loadprofiles.server import BODY, CLOSING, REPLIES


class Pair:
    """A connection of ours and the server's end of it."""

    def __init__(self, *, keep: bool = False) -> None:
        self.loop, self.ended = HandLoop(), list[Connection]()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = resolve("127.0.0.1", listener.getsockname()[1])
            self.connection = Connection(self.loop, address, Connection.buffer(), self.ended.append, keep=keep)
            self.connection.connect_now(1)
            self.server, _ = listener.accept()
        self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, pieces: list[bytes], *, close: bool = False) -> Connection:
        self.connection.send(b"POST / HTTP/1.1\r\n\r\n")
        for piece in pieces:
            self.server.sendall(piece)
            self.loop.turn()
        if close:
            self.server.shutdown(socket.SHUT_WR)
        self.loop.turn_until(lambda: bool(self.ended))
        return self.ended.pop()

    def close(self) -> None:
        self.connection.close()
        self.server.close()


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(["good", "timed", "chunked", "interim"]), cuts=st.lists(st.integers(min_value=0), max_size=6))
def test_a_reply_in_any_pieces_is_the_same_reply(name: str, cuts: list[int]) -> None:
    pair = Pair()
    for _ in range(2):  # the second on the same connection
        ended = pair.exchange(split(REPLIES[name], cuts))
        assert (ended.error, ended.status, ended.body_bytes, ended.open) == (None, 200, len(BODY), True)
        assert (ended.queue_us, ended.compute_us) == ((250, 1500) if name == "timed" else (-1, -1))
    pair.close()
    assert pair.loop.watchers == []


@settings(max_examples=60, deadline=None)
@given(
    reply=st.binary(max_size=200),
    prefix=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"]),
)
def test_any_bytes_at_all_end_the_request_once(reply: bytes, prefix: bytes) -> None:
    pair = Pair()
    pair.connection.send(b"POST / HTTP/1.1\r\n\r\n")
    pair.server.sendall(prefix + reply)
    pair.server.shutdown(socket.SHUT_WR)
    pair.loop.turn_until(lambda: bool(pair.ended))
    first = pair.ended[0]
    if first.error is None and first.body_bytes:
        assert prefix.endswith(b"\r\n\r\n") or b"\r\n\r\n" in reply or b"\n\n" in reply
    first.busy = False
    if first.open:
        pair.loop.turn_until(lambda: not first.open)
    assert len(pair.ended) <= 2
    assert pair.loop.watchers == []
    pair.close()


@pytest.mark.parametrize(
    ("name", "error"), [("truncated", "middle of a reply"), ("until-eof", None), ("no-reply", "without a reply")]
)
def test_the_end_of_the_stream_is_told_apart(name: str, error: str | None) -> None:
    pair = Pair()
    ended = pair.exchange([CLOSING[name]] if CLOSING[name] else [], close=True)
    pair.close()
    assert not ended.open
    assert (error is None) == (ended.error is None)
    assert error is None or error in str(ended.error)


def test_a_body_larger_than_the_socket_takes_is_sent_whole_without_waiting() -> None:
    pair = Pair()
    request = b"POST / HTTP/1.1\r\n\r\n" + bytes(range(256)) * 40_000
    pair.connection.send(request)  # returns though nobody reads
    received = bytearray()

    def read() -> None:
        while len(received) < len(request):
            received.extend(pair.server.recv(1 << 20))
        pair.server.sendall(REPLIES["good"])

    reader = threading.Thread(target=read)
    reader.start()
    pair.loop.turn_until(lambda: bool(pair.ended))
    reader.join()
    assert bytes(received) == request
    assert pair.ended[0].error is None
    assert pair.ended[0].open
    pair.close()


def test_a_reply_before_the_whole_request_was_sent_ends_the_connection() -> None:
    pair = Pair()
    pair.connection.send(bytes(30_000_000))
    pair.server.sendall(REPLIES["busy"])
    pair.loop.turn_until(lambda: bool(pair.ended))
    assert (pair.ended[0].status, pair.ended[0].open) == (503, False)
    pair.server.close()


def test_a_refused_connection_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = resolve("127.0.0.1", listener.getsockname()[1])
    loop, ended = HandLoop(), list[Connection]()
    Connection(loop, address, Connection.buffer(), ended.append).connect_and_send(b"x")
    loop.turn_until(lambda: bool(ended))
    assert ended[0].error == "cannot connect: Connection refused"
    assert loop.watchers == []


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"queue;dur=0.25, compute;dur=1.5", (250, 1500)),
        (b"compute;dur=2", (-1, 2000)),
        (b'cache;desc="hit", queue;desc="a";dur="3.5"', (3500, -1)),
        (b"queue, compute;dur=", (-1, -1)),
        (b"queue;dur=-1, compute;dur=1e99", (-1, -1)),
        (b"queue;dur=nan, compute;dur=inf", (-1, -1)),
        (b"", (-1, -1)),
    ],
)
def test_server_timing(header: bytes, expected: tuple[int, int]) -> None:
    assert server_timing_us(header) == expected


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_server_timing_takes_anything(header: bytes) -> None:
    assert all(-1 <= value < 2**31 for value in server_timing_us(header))


def test_a_closed_connection_is_gone_without_the_collector() -> None:
    """Which does not run while a load does: hours of reconnects must not pile up."""

    def alive() -> int:
        return sum(type(each) is Connection for each in gc.get_objects())

    pair = Pair()
    pair.close()
    del pair
    gc.collect()
    before = alive()
    gc.disable()
    try:
        for _ in range(20):
            pair = Pair()
            assert pair.exchange([CLOSING["closes"]]).status == 200
            pair.close()
        assert alive() <= before + 1
    finally:
        gc.enable()


def test_bodies_are_kept_only_when_wanted_and_only_their_beginning() -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
    pair = Pair(keep=True)
    for reply, size in ((long, 300_000), (REPLIES["good"], len(BODY))):
        pair.connection.send(b"POST / HTTP/1.1\r\n\r\n")
        sending = threading.Thread(target=pair.server.sendall, args=(reply,))
        sending.start()
        pair.loop.turn_until(lambda: bool(pair.ended))
        sending.join()
        ended = pair.ended.pop()
        assert ended.body_bytes == size
        assert ended.body is not None
        assert len(ended.body) == size if size <= KEPT_BYTES else KEPT_BYTES <= len(ended.body) < 2 * 256 * 1024
    pair.close()
    plain = Pair()
    assert plain.connection.body is None
    plain.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's time stamps are Linux's")
def test_a_reply_has_come_when_it_arrived_not_when_it_is_read() -> None:
    pair = Pair()
    try:
        pair.connection.send(b"POST / HTTP/1.1\r\n\r\n")
        before_ns = time.monotonic_ns()
        pair.server.sendall(REPLIES["good"])
        after_ns = time.monotonic_ns()
        time.sleep(0.05)  # whoever reads it is somewhere else
        pair.loop.turn_until(lambda: bool(pair.ended))
        assert pair.connection.error is None
        assert before_ns - 1_000_000 <= pair.connection.arrived_ns <= after_ns + 1_000_000
    finally:
        pair.close()


def test_what_did_not_end_well_has_no_arrival() -> None:
    pair = Pair()
    try:
        assert pair.exchange([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"], close=True).arrived_ns == 0
    finally:
        pair.close()


def stamp(ago_ns: int) -> list[tuple[int, int, bytes]]:
    return [(socket.SOL_SOCKET, 35, struct.pack("=qq", *divmod(time.time_ns() - ago_ns, 10**9)))]


def test_a_stamp_is_taken_by_how_long_ago_it_was() -> None:
    now = time.monotonic_ns()
    assert arrival_ns(stamp(3_000_000)) == pytest.approx(now - 3_000_000, abs=1_000_000)


@pytest.mark.parametrize(
    "control",
    [[], stamp(-(10**13)), stamp(3600 * 10**9), [(socket.SOL_SOCKET, 35, b"short")], [(socket.SOL_SOCKET, 2, b"\0" * 16)]],
    ids=["none", "of the future", "an hour ago", "cut short", "another kind"],
)
def test_without_a_stamp_that_can_be_a_reply_comes_when_it_is_read(control: list[tuple[int, int, bytes]]) -> None:
    before = time.monotonic_ns()
    assert before <= arrival_ns(control) <= time.monotonic_ns()
