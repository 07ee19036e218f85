"""Drives the load generator from outside: starts it, hands it plans, and makes sure that it answers or is ended."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.errors import InfrastructureError, Interrupted, MeasurementInvalid
from harness.supervise import Child, last_line
from loadprofiles.plan import Plan, Reply

_READY_TIMEOUT_S = 60.0
_CLOSE_GRACE_S = 2.0
_POLL_MS = 50


class Generator:
    """One generator process, for one thread at a time; `cpus` confines it, `log` takes what it prints.

    The kernel ends the process with the thread that started it. After an error it is gone, and the next `run` starts another.
    """

    def __init__(self, cpus: Sequence[int] | None, log: Path) -> None:
        self._cpus, self._log = cpus, log
        self._child: Child | None = None
        self._to = self._from = -1
        self._unread = b""

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the running process; None when there is none."""
        return None if self._child is None else self._child.pid

    def run(self, plan: Plan, deadline_s: float, cancelled: Callable[[], bool] = lambda: False) -> Reply:
        """Carry out `plan` and return what came of it; the samples are in `plan.samples`.

        Raises InfrastructureError when the plan could not be run or the generator died, MeasurementInvalid when it had not
        answered after `deadline_s` or its counts contradict one another, Interrupted when `cancelled()` turned true.
        """
        if self._child is None:
            self._start()
        try:
            os.write(self._to, plan.to_json().encode() + b"\n")
        except BrokenPipeError:
            pass  # it has died; waiting for the answer says how
        answer = self._wait(deadline_s, cancelled, f"the load generator did not finish within {deadline_s:g} s")
        if "error" in answer:
            raise InfrastructureError(f"the load could not be run: {answer['error']}")
        try:
            reply = Reply.from_mapping(answer["reply"])
        except (KeyError, ValueError) as error:
            self._end()
            raise InfrastructureError(f"the load generator answered out of turn: {error}; see {self._log}") from error
        contradiction = reply.contradiction()
        if contradiction is not None:
            raise MeasurementInvalid(f"the load generator's counts do not add up: {contradiction}; see {self._log}")
        return reply

    def close(self) -> None:
        """End the process. Safe to call twice."""
        if self._child is None:
            return
        os.close(self._to)  # the end of its input ends it
        self._to = -1
        self._end(_CLOSE_GRACE_S)

    def _start(self) -> None:
        plan_out, self._to = os.pipe()
        self._from, reply_in = os.pipe()
        argv = [sys.executable, "-m", "loadprofiles.locustfile", "--die-with-parent"]
        try:
            with os.fdopen(reply_in, "wb") as stdout:
                self._child = Child(argv, log=self._log, cpus=self._cpus, stdin=plan_out, stdout=stdout)
        except InfrastructureError:
            self._close_pipes()
            raise
        finally:
            os.close(plan_out)
        self._unread = b""
        self._wait(_READY_TIMEOUT_S, lambda: False, "the load generator did not start in time")

    def _wait(self, deadline_s: float, cancelled: Callable[[], bool], too_late: str) -> dict[str, Any]:
        """The next line the process writes; the process is gone when this raises."""
        deadline = time.monotonic() + deadline_s
        poll = select.poll()
        poll.register(self._from, select.POLLIN)
        while b"\n" not in self._unread:
            if cancelled():
                self._end()
                raise Interrupted("interrupted while the load was running")
            if time.monotonic() > deadline:
                self._end()
                last = last_line(self._log)
                raise MeasurementInvalid(f"{too_late}; see {self._log}" + (f": {last}" if last else ""))
            if not poll.poll(_POLL_MS):
                continue
            block = os.read(self._from, 65536)
            if not block:
                # Its output closes a moment before it is gone.
                raise InfrastructureError(f"the load generator {self._end(_CLOSE_GRACE_S)}; see {self._log}")
            self._unread += block
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self, grace_s: float = 0.0) -> str:
        """Make sure the process and the pipes are gone; how it had ended, had it ended by itself within `grace_s`."""
        child, self._child = self._child, None
        how = ""
        if child is not None:
            try:
                child.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                pass  # stop, below, does not ask so politely
            how = child.how_it_ended()
            child.stop()
        self._close_pipes()
        return how

    def _close_pipes(self) -> None:
        for fd in (self._to, self._from):
            if fd >= 0:
                os.close(fd)
        self._to = self._from = -1
