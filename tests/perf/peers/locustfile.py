"""Stock Locust as its documentation has it: users that share the rate by `constant_throughput`. Runs in the peers' environment.

PEERS_TASK names the task, PEERS_OUT the file that receives Locust's own percentiles.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant_throughput, events, task
from locust.env import Environment

TASK = json.loads(Path(os.environ["PEERS_TASK"]).read_text())
BODY = Path(TASK["body"]).read_bytes()
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def end(environment: Environment, **_: Any) -> None:
    total = environment.stats.total
    said = {
        "latency_ms": {name: total.get_response_time_percentile(share) for name, share in SHARES.items()},
        "requests": total.num_requests,
        "failures": total.num_failures,
    }
    Path(os.environ["PEERS_OUT"]).write_text(json.dumps(said))


events.quitting.add_listener(end)  # type: ignore[no-untyped-call]


class Stock(FastHttpUser):
    wait_time = constant_throughput(TASK["rate_per_s"] / TASK["users"])

    @task
    def post(self) -> None:
        self.client.post(TASK["path"], data=BODY, headers=TASK["headers"])  # type: ignore[arg-type]  # bytes are taken as they are
