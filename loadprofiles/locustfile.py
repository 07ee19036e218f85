"""The load generator: a program of its own, run as `python -m loadprofiles.locustfile`, and the only file that imports locust
and gevent.

It reads one `Plan` per line from standard input, carries it out inside a Locust user, and writes one line per plan to standard
output: `{"reply": {...}}`, or `{"error": "..."}` for a plan that could not be run. All else goes to standard error. It ends at
the end of its input. Locust owns the process (environment, local runner, user, request events, counters); the requests of its
one user come from `loadprofiles.engine`, because Locust's own users wait for a reply before they ask again.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import resource
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, cast

# The engine's sockets are non-blocking of their own accord; patching the standard library would only slow them down.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"

import gevent
import gevent.os
import locust
import locust.stats
from gevent.event import Event
from locust.env import Environment

from harness.errors import LoadstoneError
from harness.supervise import die_with_parent
from loadprofiles.engine import Engine
from loadprofiles.plan import Plan, Reply
from loadprofiles.priority import WAKES_FIRST_NS, go_first

_READ_BYTES = 65536


def fine_bucket(response_time: float) -> float:
    """Locust's histogram key for a response time in ms: 3 significant digits, at least 1 us, instead of whole ms."""
    if response_time >= 100:
        return float(f"{response_time:.3g}")
    return round(response_time, 3 if response_time < 1 else 2 if response_time < 10 else 1)


class Control:
    """The two ends of the conversation with the parent; nothing else may write to standard output."""

    def __init__(self) -> None:
        self._in, self._out = os.dup(0), os.dup(1)
        os.dup2(2, 1)
        os.set_blocking(self._in, False)
        self._lines: deque[bytes] = deque()
        self._arrived = Event()

    def read(self) -> None:
        """Take in lines until the input ends."""
        rest = b""
        while block := gevent.os.nb_read(self._in, _READ_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            self._lines.extend(lines)
            self._arrived.set()

    def next_line(self) -> str:
        while not self._lines:
            self._arrived.clear()
            self._arrived.wait()
        return self._lines.popleft().decode()

    def answer(self, message: dict[str, Any]) -> None:
        os.write(self._out, json.dumps(message).encode() + b"\n")


class ControlledEnvironment(Environment):
    """Locust's environment, and where its user gets its plans from."""

    def __init__(self, control: Control) -> None:
        super().__init__(user_classes=[PlannedLoad], catch_exceptions=False)
        self.control = control


class PlannedLoad(locust.User):
    """One user per generator; its task is one plan."""

    fixed_count = 1

    @locust.task
    def execute(self) -> None:
        control = cast(ControlledEnvironment, self.environment).control
        line = control.next_line()
        try:
            message: dict[str, Any] = {"reply": asdict(run(self.environment, Plan.from_json(line)))}
        except LoadstoneError as error:
            message = {"error": str(error)}
        control.answer(message)


def run(environment: Environment, plan: Plan) -> Reply:
    """Carry out `plan`, firing Locust's request event for every request that was sent."""
    environment.stats.clear_all()
    if plan.own_core:
        go_first(WAKES_FIRST_NS)
    fire: Callable[..., None] = environment.events.request.fire
    method, path = plan.method, plan.path

    def report(latency_ms: float, body_bytes: int, error: str | None) -> None:
        fire(
            request_type=method,
            name=path,
            response_time=latency_ms,
            response_length=body_bytes,
            response=None,
            context={},
            exception=error,
        )

    finished = Event()
    engine = Engine(gevent.get_hub().loop, plan, report, finished.set)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection would hold up whatever is due; what a run leaves behind is bounded by its length
    try:
        engine.start()
        finished.wait()
    finally:
        gc.enable()
        gc.unfreeze()
    total = environment.stats.total
    return replace(engine.reply(), locust_requests=total.num_requests, locust_failures=total.num_failures)


def main() -> None:
    parser = argparse.ArgumentParser(description="Execute load plans, one JSON line each, from standard input.")
    parser.add_argument("--die-with-parent", action="store_true", help="have the kernel end this process with its parent")
    if parser.parse_args().die_with_parent:
        die_with_parent()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor per connection
    # An error in a callback is a bug or a full disk; without this the loop would print it and lose the request.
    gevent.get_hub().SYSTEM_ERROR = (Exception, KeyboardInterrupt, SystemExit)
    locust.stats.bucket_response_time = fine_bucket  # type: ignore[assignment]  # its keys may be fractions
    control = Control()
    runner = ControlledEnvironment(control).create_local_runner()
    runner.start(1, spawn_rate=1)
    control.answer({"ready": os.getpid()})
    control.read()
    os._exit(0)  # the parent wants nothing more; an unfinished run has no one to report to


if __name__ == "__main__":
    main()
