"""What the model server adds to the model: HTTP latency minus `session.run` in-process, on the same core, interleaved.

    python -m tests.perf.serving_overhead --model-folder DIR --artifact DIR --backend ort --json OUT

The servers and the in-process runs are processes on one core, of which all but one are idle while that one is timed; the client
has a core of its own, polls, and has a keep-alive connection to each. A round is a block of in-process runs and one of requests
to each server, their order alternating. `added_ms` is the median over rounds of the difference of two blocks' medians, so that
slow drift of the machine cancels; the rounds are many and short, because a noisy machine changes its speed within seconds, and
all processes are started anew several times, because the same session is some 0.2 ms faster in one process than in the next.
`outside_session_ms` is what each request took beyond the session's own run inside the server, which no drift touches. Both have
95 % order-statistic intervals, and both are also measured for a bare uvicorn application around the same session, in the same
rounds. The null model is answered by our server program.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from harness.nouns import ModelSpec
from harness.serving.tensors import DATATYPE_OF
from harness.statistics import quantile
from harness.supervise import Child

_HEAD_END = b"\r\n\r\n"
_READY_TIMEOUT_S = 120.0
_WARM_CALLS = 1
SIDES = (("direct", "ours", "bare"), ("bare", "direct", "ours"), ("ours", "bare", "direct"))
"""The orders of a round, in turn, so that each side follows each other one as often."""
_COMPUTE = re.compile(rb"compute;dur=([0-9.]+)")


def sample_inputs(spec: ModelSpec) -> dict[str, np.ndarray]:
    """Seeded standard normal floats; zeros for integers, which are valid token ids and masks."""
    random = np.random.default_rng(0)
    return {
        tensor.name: random.standard_normal(tensor.shape).astype(tensor.dtype)
        if np.dtype(tensor.dtype).kind == "f"
        else np.zeros(tensor.shape, tensor.dtype)
        for tensor in spec.inputs
    }


def binary_request(spec: ModelSpec, inputs: dict[str, np.ndarray]) -> bytes:
    """One whole HTTP request with every tensor in binary, asking for binary outputs."""
    described = [
        {
            "name": name,
            "shape": tensor.shape,
            "datatype": DATATYPE_OF[tensor.dtype],
            "parameters": {"binary_data_size": tensor.nbytes},
        }
        for name, tensor in inputs.items()
    ]
    head = orjson.dumps({"inputs": described, "parameters": {"binary_data_output": True}})
    body = head + b"".join(tensor.tobytes() for tensor in inputs.values())
    lines = [
        f"POST /v2/models/{spec.name}/infer HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/octet-stream",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + _HEAD_END + body


def raw_request(inputs: dict[str, np.ndarray]) -> bytes:
    """One whole HTTP request whose body is the first tensor's bytes."""
    body = next(iter(inputs.values())).tobytes()
    return f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}".encode() + _HEAD_END + body


class Connection:
    """One keep-alive connection that sends a prepared request and reads no more of the answer than it must."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(1 << 18)

    def exchange(self, request: bytes) -> tuple[float, float]:
        """Milliseconds from before sending until the whole answer is here, and the compute milliseconds it reports."""
        start_ns = time.perf_counter_ns()
        self._socket.sendall(request)
        data = b""
        while (end := data.find(_HEAD_END)) < 0:
            data += self._receive()
        head = data[:end].lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        left = end + len(_HEAD_END) + length - len(data)
        while left > 0:
            left -= len(self._receive())
        taken_ms = (time.perf_counter_ns() - start_ns) / 1e6
        reported = _COMPUTE.search(head)
        if not head.startswith(b"http/1.1 200") or reported is None:
            raise RuntimeError(f"not an inference: {data[:300]!r}")
        return taken_ms, float(reported[1])

    def _receive(self) -> bytes:
        while True:  # polls: that a sleeping core takes 0.1 ms to wake is not the server's doing
            try:
                size = self._socket.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            if not size:
                raise RuntimeError("the server closed the connection")
            return bytes(self._buffer[:size])


@contextmanager
def running(argv: Sequence[str], cpu: int, folder: Path, label: str) -> Iterator[int]:
    """A server program on `cpu`; yields its port when it is ready, and ends it."""
    ready = folder / f"{label}.ready"
    command = [sys.executable, "-m", *argv, "--port", "0", "--cpus", str(cpu), "--threads", "1", "--ready-file", str(ready)]
    child = Child([*command, "--die-with-parent"], log=folder / f"{label}.log", cpus=[cpu])
    try:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not ready.exists():
            if not child.alive() or time.monotonic() > deadline:
                raise RuntimeError(f"{label} server did not become ready: {child.how_it_ended()}")
            time.sleep(0.05)
        yield int(json.loads(ready.read_text())["port"])
    finally:
        child.stop()


class InProcess:
    """`session.run` timed in a process of its own on `cpu`; idle between blocks."""

    def __init__(self, options: argparse.Namespace) -> None:
        names = ("backend", "artifact", "model_folder", "server_cpu")
        arguments = [part for name in names for part in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.perf.serving_overhead", "--in-process", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def block(self, calls: int) -> list[float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        times: list[float] = json.loads(self._process.stdout.readline())
        return times

    def close(self) -> None:
        self._process.communicate(timeout=30)


def time_in_process(options: argparse.Namespace) -> None:
    """The child's side of InProcess: for each number on standard input, the ms of so many runs as a JSON list."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, {options.server_cpu})
    from compilers.build import load_session, read_spec

    session = load_session(options.backend, options.artifact, options.model_folder, 1)
    inputs = sample_inputs(read_spec(options.model_folder))
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start_ns = time.perf_counter_ns()
            session.run(inputs)
            times.append((time.perf_counter_ns() - start_ns) / 1e6)
        print(json.dumps(times), flush=True)


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The model over HTTP, by our server and by a bare uvicorn application, against the same session in-process."""
    from compilers.build import read_spec

    spec = read_spec(options.model_folder)
    inputs = sample_inputs(spec)
    requests = {"ours": binary_request(spec, inputs), "bare": raw_request(inputs)}
    model = ["--backend", options.backend, "--artifact", str(options.artifact), "--model-folder", str(options.model_folder)]
    blocks: dict[str, list[list[float]]] = {"direct": [], "ours": [], "bare": []}
    computes: dict[str, list[list[float]]] = {"ours": [], "bare": []}
    for start in range(options.starts):
        floor = InProcess(options)
        try:
            with (
                running(["harness.serving", *model], options.server_cpu, folder, f"model-{start}") as ours,
                running(["tests.perf.bare_server", *model], options.server_cpu, folder, f"bare-{start}") as bare,
            ):
                connections = {"ours": Connection(ours), "bare": Connection(bare)}
                for index in range(options.rounds // options.starts):
                    for side in SIDES[index % len(SIDES)]:
                        if side == "direct":
                            blocks[side].append(floor.block(_WARM_CALLS + options.calls)[_WARM_CALLS:])
                            continue
                        calls = [connections[side].exchange(requests[side]) for _ in range(_WARM_CALLS + options.calls)]
                        blocks[side].append([taken_ms for taken_ms, _ in calls[_WARM_CALLS:]])
                        computes[side].append([compute_ms for _, compute_ms in calls[_WARM_CALLS:]])
        finally:
            floor.close()
    added, uvicorn = (_added(blocks[side], computes[side], blocks["direct"]) for side in ("ours", "bare"))
    return {
        "model": spec.name,
        "request_bytes": len(requests["ours"]),
        "in_process_p50_ms": _quantile(blocks["direct"], 50),
        "ours": added,
        "bare_uvicorn": uvicorn,
        "outside_session_ours_over_bare": added["outside_session_ms"]["value"] / uvicorn["outside_session_ms"]["value"],
        "starts": options.starts,
        "rounds": options.rounds // options.starts * options.starts,
        "calls_per_round": options.calls,
    }


def _added(http: list[list[float]], compute: list[list[float]], direct: list[list[float]]) -> dict[str, Any]:
    """What a server adds: to the same session in-process, round by round, and around the session inside it, call by call."""
    added = [statistics.median(over) - statistics.median(run) for over, run in zip(http, direct, strict=True)]
    outside = np.concatenate([np.subtract(over, run) for over, run in zip(http, compute, strict=True)])
    return {
        "http_p50_ms": _quantile(http, 50),
        "http_p99_ms": _quantile(http, 99),
        "added_ms": asdict(quantile(np.asarray(added), 0.5)),
        "outside_session_ms": asdict(quantile(outside, 0.5)),
    }


def null_model(options: argparse.Namespace, folder: Path, name: str, calls: int) -> dict[str, Any]:
    """The whole path around a model that does nothing: `null` (4 bytes) or `image` (602,112 bytes)."""
    from tests.harness.serving.fake_models import MODELS

    spec = MODELS[name][0]
    request = binary_request(spec, sample_inputs(spec))
    with running(["tests.harness.serving.fake_server", "--model", name], options.server_cpu, folder, name) as port:
        connection = Connection(port)
        times = [connection.exchange(request)[0] for _ in range(calls // 10 + calls)][calls // 10 :]
    return {"request_bytes": len(request), "p50_ms": _quantile([times], 50), "p99_ms": _quantile([times], 99), "n": calls}


def _quantile(blocks: Sequence[Sequence[float]], percent: float) -> float:
    return float(np.percentile(np.concatenate([np.asarray(block) for block in blocks]), percent))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-folder", type=Path, help="without it only the null models are timed")
    parser.add_argument("--artifact", type=Path)
    parser.add_argument("--backend", default="ort")
    parser.add_argument("--starts", type=int, default=12, help="of all processes, in turn")
    parser.add_argument("--rounds", type=int, default=180, help="over all starts")
    parser.add_argument("--calls", type=int, default=4, help="per round and side")
    parser.add_argument("--null-calls", type=int, default=3000)
    parser.add_argument("--server-cpu", type=int, default=0)
    parser.add_argument("--client-cpu", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the result here")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    options = parser().parse_args()
    if options.in_process:
        time_in_process(options)
        return
    os.sched_setaffinity(0, {options.client_cpu})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result: dict[str, Any] = {
            "null": null_model(options, folder, "null", options.null_calls),
            "null_image": null_model(options, folder, "image", max(options.null_calls // 5, 100)),
            "model": compare(options, folder) if options.model_folder else None,
        }
    text = json.dumps(result, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text)


if __name__ == "__main__":
    main()
