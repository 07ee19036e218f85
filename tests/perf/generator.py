"""What the load generator itself can do, against a server that costs nothing, beside stock Locust in the same run.

`python -m tests.perf.generator --json OUT`. The null server runs on one CPU, the generator on another. Each round measures
closed-loop capacity (ours and stock FastHttpUser, alternating), then open-loop lateness at half of our capacity.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import InfrastructureError
from harness.nouns import LoadProfile
from harness.supervise import Child, run_bounded
from loadprofiles import samples, schedule
from loadprofiles.generator import Generator
from loadprofiles.plan import Plan, Reply
from loadprofiles.registry import profile

PATH = "/v2/models/null/infer"
CONNECTIONS = 256
GIB = 1024**3


@contextlib.contextmanager
def null_server(cpu: int, folder: Path) -> Iterator[int]:
    """The port of a null server confined to `cpu`."""
    child = Child(
        [sys.executable, "-m", "loadprofiles.null_server", "--port", "0", "--die-with-parent"],
        log=folder / "null_server.log",
        cpus=[cpu],
        stdout=subprocess.PIPE,
    )
    try:
        assert child.process.stdout is not None
        line = child.process.stdout.readline()
        if not line:
            raise InfrastructureError(f"the null server {child.how_it_ended()}")
        yield int(line)
    finally:
        child.stop()
        assert child.process.stdout is not None
        child.process.stdout.close()


def plan_for(load: LoadProfile, port: int, folder: Path) -> Plan:
    offsets = np.zeros(1, np.int64) if load.users else schedule.arrivals(load)
    np.save(folder / "arrivals.npy", offsets)
    np.save(folder / "order.npy", schedule.payload_order(load.seed, len(offsets), 1))
    return Plan(
        host="127.0.0.1",
        port=port,
        path=PATH,
        headers={"Content-Type": "application/octet-stream"},
        bodies=(str(folder / "body"),),
        order=str(folder / "order.npy"),
        samples=str(folder / f"samples-{time.monotonic_ns()}"),
        duration_s=load.duration_s,
        connections=load.users or CONNECTIONS,
        users=load.users,
        arrivals=None if load.users else str(folder / "arrivals.npy"),
        in_flight_cap=None if load.users else CONNECTIONS,
        own_core=(os.cpu_count() or 1) > 1,
        expect_body_bytes=2,
    )


def ours(generator: Generator, load: LoadProfile, port: int, folder: Path) -> dict[str, Any]:
    plan = plan_for(load, port, folder)
    reply = generator.run(plan, load.duration_s + 30)
    records = samples.read(Path(plan.samples))
    return summary(reply, records[records["outcome"] == samples.SUCCEEDED])


def summary(reply: Reply, good: Any) -> dict[str, Any]:
    late_ms, service_ms = (good["sent_ns"] - good["due_ns"]) / 1e6, (good["done_ns"] - good["sent_ns"]) / 1e6
    figures = {
        "requests": reply.planned,
        "bad": reply.planned - reply.succeeded,
        "rate_per_s": reply.planned / (reply.active_ns / 1e9),
        "cpu_ms_per_request": reply.cpu_s * 1e3 / reply.planned,
        "loop_lag_p99_ms": reply.loop_lag_p99_ms,
        "run_queue_wait_ratio": None if reply.run_queue_wait_s is None else reply.run_queue_wait_s / (reply.active_ns / 1e9),
    }
    for name, values in (("lateness", late_ms), ("service", service_ms)):
        figures |= {f"{name}_p{q}_ms": float(np.percentile(values, q, method="inverted_cdf")) for q in (50, 99)}
    return figures


def stock(users: int, duration_s: float, port: int, cpu: int, folder: Path) -> dict[str, Any]:
    """Stock Locust with as many FastHttpUsers on the same CPU."""
    out = folder / "stock.json"
    argv = ["-m", "locust", "-f", str(Path(__file__).with_name("stock_locustfile.py")), "--headless", "--only-summary"]
    argv += [
        "--users",
        str(users),
        "--spawn-rate",
        str(users),
        "--run-time",
        f"{math.ceil(duration_s)}s",
        "--stop-timeout",
        "2",
    ]
    ended = run_bounded(
        [sys.executable, *argv, "--host", f"http://127.0.0.1:{port}"],
        log=folder / "stock.log",
        timeout_s=duration_s + 60,
        memory_bytes=4 * GIB,
        cpus=[cpu],
        env={"PERF_BODY": str(folder / "body"), "PERF_PATH": PATH, "PERF_OUT": str(out)},
    )
    if ended.returncode != 0:
        raise InfrastructureError(f"stock Locust exited with {ended.returncode}: {(folder / 'stock.log').read_text()[-2000:]}")
    told = json.loads(out.read_text())
    return {
        "requests": told["requests"],
        "bad": told["failures"],
        "rate_per_s": told["requests"] / told["wall_s"],
        "cpu_ms_per_request": told["cpu_s"] * 1e3 / told["requests"],
    }


def measure(rounds: int, duration_s: float, users: int, body_bytes: int, folder: Path) -> dict[str, Any]:
    cpus = sorted(os.sched_getaffinity(0))
    server_cpu, generator_cpu = cpus[0], cpus[-1]
    (folder / "body").write_bytes(b"x" * body_bytes)
    rows: list[dict[str, Any]] = []
    with null_server(server_cpu, folder) as port, Generator([generator_cpu], folder / "generator.log") as generator:
        ours(generator, profile("closed", duration_s=1, users=users), port, folder)  # warm-up, not counted
        for seed in range(rounds):
            closed = profile("closed", duration_s=duration_s, users=users)
            mine = ours(generator, closed, port, folder)
            rows.append({"what": "closed, ours", **mine})
            rows.append({"what": "closed, stock Locust", **stock(users, duration_s, port, generator_cpu, folder)})
            half = mine["rate_per_s"] / 2
            for name in ("steady", "poisson"):
                load = profile(name, duration_s=duration_s, rate_per_s=half, seed=seed)
                rows.append({"what": f"{name} at half", **ours(generator, load, port, folder)})
    return {
        "server_cpu": server_cpu,
        "generator_cpu": generator_cpu,
        "users": users,
        "body_bytes": body_bytes,
        "duration_s": duration_s,
        "load_average_1_min": os.getloadavg()[0],
        "rounds": rows,
        "median": medians(rows),
    }


def medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Per kind of run the median over the rounds, and how many times stock Locust's rate and CPU ours are."""
    kinds = list(dict.fromkeys(row["what"] for row in rows))
    table: dict[str, Any] = {}
    for kind in kinds:
        same = [row for row in rows if row["what"] == kind]
        table[kind] = {
            key: statistics.median(row[key] for row in same)
            for key in same[0]
            if key != "what" and all(row[key] is not None for row in same)
        }
    mine, peer = table["closed, ours"], table["closed, stock Locust"]
    table["ours / stock"] = {key: mine[key] / peer[key] for key in ("rate_per_s", "cpu_ms_per_request")}
    return table


def show(result: dict[str, Any]) -> None:
    columns = ["rate_per_s", "cpu_ms_per_request", "lateness_p50_ms", "lateness_p99_ms", "service_p50_ms", "service_p99_ms"]
    columns += ["run_queue_wait_ratio", "bad"]
    print(f"{'median of the rounds':22}" + "".join(f"{name:>22}" for name in columns))
    for kind, figures in result["median"].items():
        cells = [f"{figures[name]:22.3f}" if name in figures else f"{'-':>22}" for name in columns]
        print(f"{kind:22}" + "".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the load generator against a null server and stock Locust.")
    parser.add_argument("--json", type=Path, help="write everything measured here")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=float, default=3.0, help="of every run, in s")
    parser.add_argument("--users", type=int, default=16, help="of the closed loops")
    parser.add_argument("--body-bytes", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(options.rounds, options.duration, options.users, options.body_bytes, Path(folder))
    show(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
