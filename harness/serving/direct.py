"""One inference without an ASGI task: most requests are, and only the loop's extra turns are saved.

Behind a model that has just streamed its weights through the caches, each turn of the event loop, each task switch and each
ASGI message costs some ten microseconds. A request that is nothing special (a whole POST of announced length, not compressed
nor pipelined, whose reply is not to be compressed) is submitted when its body has come and answered where its model has run.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from harness.serving.bodies import Memory, Sink
from harness.serving.engine import ClientGone, Engine, Job, Outcome, QueueFull, Ran, SessionFailed, one_line
from harness.serving.inference import Answer, Form, Headers, Inference, failure, refusal
from harness.serving.tensors import ProtocolError

log = logging.getLogger("loadstone.serving")


class Wire(Protocol):
    """The way back to one client."""

    def early(self, answer: Answer) -> bytes | None:
        """From any thread, send what the connection takes at once; the bytes left over. None: it was not tried."""

    def finish(self, answer: Answer, left: bytes | None) -> None:
        """On the event loop, send what `early` left over (None: everything), and take the next request."""


class Direct:
    """`feed` it the body, then `complete` it; the answer goes to `wire`, unless `abandon` came first."""

    __slots__ = ("_answer", "_body", "_engine", "_inference", "_job", "_left", "_memory", "_sink", "_wire")

    def __init__(self, form: Form, headers: Headers, engine: Engine, memory: Memory, body: memoryview, wire: Wire) -> None:
        """`body` is taken from `memory`, of the announced length."""
        self._inference = Inference(form, headers)
        self._engine, self._memory, self._body, self._wire = engine, memory, body, wire
        self._sink = Sink()
        self._sink.land(body)
        self._job: Job | None = None
        self._answer: Answer | None = None
        self._left: bytes | None = None

    def feed(self, part: bytes) -> None:
        self._sink.feed(part)

    def complete(self) -> None:
        """The whole body has come."""
        try:
            self._job = self._engine.submit(self._inference.inputs(self._body), self._ran, self._early)
            return
        except (ProtocolError, QueueFull) as error:
            answer = refusal(error)
        except Exception as error:  # noqa: BLE001 - no task stands behind this callback: what is raised here answers nobody
            answer = _bug(error)
        # Not from within the parser's callback: what is behind this request is still to be read.
        asyncio.get_running_loop().call_soon(self._wire.finish, answer, None)

    def abandon(self) -> None:
        """The client has left: what waits is not computed."""
        if self._job is not None and self._job.queued:
            self._engine.drop(self._job)

    def _early(self, ran: Ran) -> None:
        """In the worker's thread: the answer leaves before the event loop hears of it."""
        try:
            self._answer = self._inference.answer(ran)
            self._left = self._wire.early(self._answer)
        except Exception:  # this is but a try: `_ran` meets the same error where it can be answered
            log.debug("not answered early", exc_info=True)

    def _ran(self, outcome: Outcome) -> None:
        if isinstance(outcome, ClientGone):
            return  # nobody is left to answer
        if isinstance(outcome, SessionFailed):
            self._wire.finish(refusal(outcome), None)
            return
        try:
            answer = self._answer or self._inference.answer(outcome)
        except SessionFailed as error:
            self._wire.finish(refusal(error), None)
            return
        except Exception as error:  # noqa: BLE001 - as in `complete`
            self._wire.finish(_bug(error), None)
            return
        self._wire.finish(answer, self._left)
        self._memory.give(self._body)
        self._inference.count(self._engine.statistics)


def _bug(error: Exception) -> Answer:
    log.error("internal error", exc_info=error)
    return failure(500, f"internal error: {one_line(error)}")
