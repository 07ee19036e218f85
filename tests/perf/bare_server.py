"""The named peer of the model server: the least that uvicorn can do with the same session, one raw float32 tensor in, one out.

No protocol, no checks, no limits. Takes the options of `harness.serving` that `tests.perf.serving_overhead` gives.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

_PR_SET_PDEATHSIG = 1


def application(session: Any, name: str, shape: tuple[int, ...]) -> Any:
    """An ASGI application that answers every request with the session's first output."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        tensor = np.frombuffer(b"".join(parts), np.float32).reshape(shape)
        begun_ns = time.perf_counter_ns()
        outputs = session.run({name: tensor})
        compute_ms = (time.perf_counter_ns() - begun_ns) / 1e6
        body = outputs[0].tobytes()
        headers = [(b"content-length", b"%d" % len(body)), (b"server-timing", b"compute;dur=%.3f" % compute_ms)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--model-folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cpus", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--die-with-parent", action="store_true")
    options = parser.parse_args()
    if options.die_with_parent:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.sched_setaffinity(0, {options.cpus})
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    from compilers.build import load_session, read_spec

    spec = read_spec(options.model_folder)
    session = load_session(options.backend, options.artifact, options.model_folder, options.threads)
    listener = socket.create_server(("127.0.0.1", options.port))
    app = application(session, spec.inputs[0].name, spec.inputs[0].shape)
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", loop="uvloop", log_level="warning", access_log=False))
    options.ready_file.write_text(json.dumps({"port": listener.getsockname()[1]}))
    server.run(sockets=[listener])  # on uvloop; asyncio's own loop would leave Nagle's algorithm on and wait for delayed ACKs


if __name__ == "__main__":
    main()
