"""Receiving a request body into aligned memory, within a limit.

A body whose length is announced goes from the parser straight into its final place (`Sink`, which the HTTP protocol feeds); any
other is collected through ASGI's `receive`. Large memory is used again, since a page touched for the first time costs more
than the copy into it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import numpy as np

from harness.nouns import ModelSpec
from harness.serving.engine import ClientGone
from harness.serving.tensors import ALIGNMENT_BYTES, ProtocolError, Tensor, port

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

SINK = "loadstone.body_sink"
"""Key of the Sink among the `extensions` of an ASGI scope."""

LENGTH_DIGITS = 18
"""A Content-Length of more says nothing sensible, and need not be made a number of."""

_JSON_BYTES_PER_VALUE = 26
"""The longest JSON text of a double (24 characters), a comma and a space."""
_SLACK = 4
_AT_LEAST_BYTES = 1024 * 1024
_WORTH_KEEPING_BYTES = 64 * 1024
_KEPT = 4
_ALLOCATOR_ALIGNMENT_BYTES = 16  # what CPython's allocators give; a dtype needs at most 8


class BodyTooLarge(Exception):
    """The body is, or says it is, larger than the limit."""


def body_limit_bytes(spec: ModelSpec) -> int:
    """What the largest sensible request needs: four times all inputs as JSON numbers, at least 1 MiB."""
    values = sum(port(tensor).elements for tensor in spec.inputs)
    return max(_AT_LEAST_BYTES, _SLACK * values * _JSON_BYTES_PER_VALUE)


class Sink:
    """Where the parts of one body go: kept until `land` names the memory for them, then copied there as they arrive."""

    __slots__ = ("_at", "_early", "_target")

    def __init__(self) -> None:
        self._early: list[bytes] = []
        self._target: memoryview | None = None
        self._at = 0

    def feed(self, part: bytes) -> None:
        """Called by the protocol, which never feeds more than Content-Length in all."""
        if self._target is None:
            self._early.append(part)
            return
        end = self._at + len(part)
        self._target[self._at : end] = part
        self._at = end

    def land(self, target: memoryview) -> None:
        """`target` has room for Content-Length bytes."""
        self._target = target
        for part in self._early:
            self.feed(part)
        self._early.clear()


class Memory:
    """Body memory, reused once its request is answered. `give` back only what nobody reads any more."""

    def __init__(self) -> None:
        self._kept: list[tuple[Tensor, int]] = []  # with its address

    def take(self, size_bytes: int, align_at: int = 0) -> memoryview:
        """Writable memory, contents undefined; byte `align_at` is aligned for any dtype, in large memory on a cache line."""
        if size_bytes < _WORTH_KEEPING_BYTES:
            skip = -align_at % _ALLOCATOR_ALIGNMENT_BYTES
            return memoryview(bytearray(skip + size_bytes))[skip:]
        needed = size_bytes + ALIGNMENT_BYTES
        memory, address = self._kept.pop() if self._kept else _NOTHING
        if memory.nbytes < needed:
            memory, address = _addressed(np.empty(needed, np.uint8))
        skip = -(address + align_at) % ALIGNMENT_BYTES
        return memory.data[skip : skip + size_bytes]

    def give(self, view: memoryview) -> None:
        if view.nbytes >= _WORTH_KEEPING_BYTES and len(self._kept) < _KEPT and isinstance(view.obj, np.ndarray):
            self._kept.append(_addressed(view.obj))


def _addressed(memory: Tensor) -> tuple[Tensor, int]:
    return memory, int(memory.__array_interface__["data"][0])


_NOTHING = _addressed(np.empty(0, np.uint8))


async def read_body(
    receive: Receive, sink: Sink | None, memory: Memory, content_length: bytes | None, align_at: int, limit_bytes: int
) -> memoryview:
    """The whole body, its byte `align_at` on a cache line.

    Raises BodyTooLarge, ClientGone, and ProtocolError for a Content-Length that is no number.
    """
    announced = None
    if content_length is not None:
        if not content_length.isdigit():
            raise ProtocolError("Content-Length must be a number of bytes")
        if len(content_length) > LENGTH_DIGITS or int(content_length) > limit_bytes:
            raise BodyTooLarge
        announced = int(content_length)
    if sink is None or announced is None:
        return await _collect(receive, memory, align_at, limit_bytes)
    target = memory.take(announced, align_at)
    sink.land(target)
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        more = message["more_body"]
    return target


async def _collect(receive: Receive, memory: Memory, align_at: int, limit_bytes: int) -> memoryview:
    parts: list[bytes] = []
    size_bytes, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size_bytes += len(part)
        if size_bytes > limit_bytes:
            raise BodyTooLarge
        parts.append(part)
        more = message.get("more_body", False)
    sink, target = Sink(), memory.take(size_bytes, align_at)
    sink.land(target)
    for part in parts:
        sink.feed(part)
    return target
