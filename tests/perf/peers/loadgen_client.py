"""MLPerf LoadGen's Server scenario with HTTP as its system under test: `python loadgen_client.py TASK OUT FOLDER`.

Runs in the peers' environment. With "find_peak" in the task it looks for the peak rate instead. LoadGen's own logs stay in
FOLDER; OUT receives how many queries were answered, well or not.
"""

from __future__ import annotations

import http.client
import json
import queue
import sys
import threading
from pathlib import Path
from typing import Any

import mlperf_loadgen as lg  # type: ignore[import-not-found]  # of the peers' environment

THREADS = 192
"""Queries in flight at most: a stall of 1 s at 100/s holds 100."""


class Target:
    """Sends each query on a kept connection of the thread that takes it."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self._body = Path(task["body"]).read_bytes()
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._mutex = threading.Lock()
        self.answered = self.failed = 0
        for _ in range(THREADS):
            threading.Thread(target=self._work, daemon=True).start()

    def issue(self, samples: list[Any]) -> None:
        for sample in samples:
            self._waiting.put(sample.id)

    def _work(self) -> None:
        connection = http.client.HTTPConnection(self._task["host"], self._task["port"], timeout=60)
        while True:
            query = self._waiting.get()
            try:
                connection.request("POST", self._task["path"], self._body, self._task["headers"])
                reply = connection.getresponse()
                reply.read()
                good = reply.status == 200
            except (OSError, http.client.HTTPException):
                connection.close()
                good = False
            with self._mutex:
                self.answered += 1
                self.failed += not good
            lg.QuerySamplesComplete([lg.QuerySampleResponse(query, 0, 0)])


def settings(task: dict[str, Any]) -> Any:
    """The rate and its bound; all three seeds from the task's."""
    chosen = lg.TestSettings()
    chosen.scenario = lg.TestScenario.Server
    chosen.server_target_qps = task["rate_per_s"]
    chosen.server_target_latency_ns = round(task.get("limit_ms", 10_000) * 1e6)
    chosen.server_target_latency_percentile = task.get("quantile", 0.99)
    chosen.qsl_rng_seed = chosen.sample_index_rng_seed = chosen.schedule_rng_seed = task["seed"]
    if task.get("find_peak"):
        chosen.mode = lg.TestMode.FindPeakPerformance
        chosen.min_query_count = task["min_queries"]
        chosen.min_duration_ms = 0
        chosen.server_find_peak_qps_decimals_of_precision = 1
        chosen.server_find_peak_qps_boundary_step_size = 1
    else:
        chosen.mode = lg.TestMode.PerformanceOnly
        chosen.min_query_count = 1
        chosen.min_duration_ms = round(task["duration_s"] * 1e3)
    return chosen


def main() -> None:
    task, out, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), sys.argv[3]
    target = Target(task)
    logs = lg.LogSettings()
    logs.log_output.outdir = folder
    logs.log_output.copy_summary_to_stdout = True
    logs.enable_trace = False
    sut = lg.ConstructSUT(target.issue, lambda: None)
    library = lg.ConstructQSL(1, 1, lambda _: None, lambda _: None)
    lg.StartTestWithLogSettings(sut, library, settings(task), logs)
    lg.DestroyQSL(library)
    lg.DestroySUT(sut)
    out.write_text(json.dumps({"requests": target.answered, "failures": target.failed}))


if __name__ == "__main__":
    main()
