"""A request without a task: what reaches the client, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from harness.serving.bodies import Memory
from harness.serving.direct import Direct
from harness.serving.engine import Engine
from harness.serving.inference import Answer, Form
from harness.serving.protocol import Codec
from tests.harness.serving.fake_models import NULL

BODY = np.float32(3).tobytes()


class Negative:
    """Returns x, and raises where it is negative."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        if inputs["x"][0] < 0:
            raise ValueError("negative")
        return [inputs["x"].copy()]


class Line:
    """A wire that takes `takes` bytes early, or cannot be tried (None)."""

    def __init__(self, takes: int | None = 10**6) -> None:
        self.takes = takes
        self.tried: list[Answer] = []
        self.finished: list[tuple[Answer, bytes | None]] = []
        self.over = asyncio.Event()

    def early(self, answer: Answer) -> bytes | None:
        self.tried.append(answer)
        return None if self.takes is None else answer.body[self.takes :]

    def finish(self, answer: Answer, left: bytes | None) -> None:
        self.finished.append((answer, left))
        self.over.set()


def answered(line: Callable[[], Line], body: bytes = BODY, form: Form | None = None) -> tuple[Line, Engine]:
    """The wire after one request, and the engine that ran it."""
    codec = Codec(NULL)
    form = form or Form(lambda given, _: codec.decode(given, 0), codec.encode)
    engine = Engine(NULL, Negative)
    engine.start()

    async def one() -> Line:
        wire, memory = line(), Memory()
        direct = Direct(form, {}, engine, memory, memory.take(len(body)), wire)
        direct.feed(body[:1])
        direct.feed(body[1:])
        direct.complete()
        await asyncio.wait_for(wire.over.wait(), 5)
        return wire

    wire = asyncio.run(one())
    assert engine.stop(5)
    return wire, engine


@pytest.mark.parametrize(("takes", "left"), [(10**6, b""), (0, BODY), (2, BODY[2:]), (None, None)])
def test_the_loop_sends_what_was_not_sent_early(takes: int | None, left: bytes | None) -> None:
    wire, engine = answered(lambda: Line(takes))
    [(answer, rest)] = wire.finished
    assert wire.tried == [answer]
    assert answer.status == 200
    assert answer.body.endswith(BODY)
    assert rest is left is None or (rest is not None and left is not None and rest.endswith(left))
    assert engine.statistics.success.count == engine.statistics.decode.count == 1


def test_a_failed_model_is_answered_by_the_loop() -> None:
    wire, engine = answered(Line, np.float32(-1).tobytes())
    [(answer, left)] = wire.finished
    assert (answer.status, left, wire.tried) == (500, None, [])
    assert answer.body == b'{"error":"inference failed: ValueError: negative"}'
    assert engine.statistics.fail.count == 1


def test_a_body_that_does_not_fit_is_refused() -> None:
    wire, engine = answered(Line, b"12345")
    assert [(answer.status, left) for answer, left in wire.finished] == [(400, None)]
    assert engine.statistics.success.count == 0


@pytest.mark.parametrize("broken", ["decode", "encode"])
def test_a_bug_is_answered_too(broken: str) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("a bug")

    codec = Codec(NULL)
    form = Form(fail, codec.encode) if broken == "decode" else Form(lambda body, _: codec.decode(body, 0), fail)
    wire, _ = answered(Line, form=form)
    [(answer, left)] = wire.finished
    assert (answer.status, left) == (500, None)
    assert answer.body == b'{"error":"internal error: RuntimeError: a bug"}'
