"""The named peer: Locust's own FastHttpUser posting the same body, as its documentation would have it.

Environment: PERF_BODY and PERF_PATH as for our plan; PERF_OUT receives the requests and the CPU seconds of the measured part.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from locust import FastHttpUser, events, task
from locust.env import Environment

BODY = Path(os.environ["PERF_BODY"]).read_bytes()
HEADERS = {"Content-Type": "application/octet-stream"}
MARK: dict[str, float] = {}


def begin(user_count: int, **_: Any) -> None:
    MARK.update(cpu_s=time.process_time(), wall_s=time.monotonic())


def end(environment: Environment, **_: Any) -> None:
    total = environment.stats.total
    wall_s, cpu_s = time.monotonic() - MARK["wall_s"], time.process_time() - MARK["cpu_s"]
    outcome = {"requests": total.num_requests, "failures": total.num_failures, "wall_s": wall_s, "cpu_s": cpu_s}
    Path(os.environ["PERF_OUT"]).write_text(json.dumps(outcome))


for event, listener in ((events.spawning_complete, begin), (events.test_stopping, end)):
    event.add_listener(listener)  # type: ignore[no-untyped-call]


class Stock(FastHttpUser):
    @task
    def post(self) -> None:
        self.client.post(os.environ["PERF_PATH"], data=BODY, headers=HEADERS)  # type: ignore[arg-type]  # bytes are taken as they are
