"""`python -m harness.serving`: load a compiled model and serve it until told to stop.

Order matters: parent-death signal, CPU set and thread counts first, then the imports that read them. The ready file appears
when every worker has run a first inference; until then the socket accepts connections and answers nothing.
Exit codes: 0 stopped by a signal, 2 wrong options, 3 the model could not be loaded or the machine refused.
"""

from __future__ import annotations

import argparse
import gc
import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import InfrastructureError, LoadstoneError, UsageError
from harness.serving import startup
from harness.supervise import die_with_parent, pin

if TYPE_CHECKING:
    from compilers.interface import Session
    from harness.nouns import ModelSpec

log = logging.getLogger("loadstone.serving")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m harness.serving", description="Serve one compiled model over HTTP.")
    model = parser.add_argument_group("model")
    model.add_argument("--backend", required=True, help="what compiled the artifact: ort, tvm, …")
    model.add_argument("--artifact", required=True, type=Path, metavar="DIR", help="the compiled model")
    model.add_argument("--model-folder", required=True, type=Path, metavar="DIR", help="the folder with the model's spec")
    model.add_argument("--name", help="serve under this name instead of the spec's")
    model.add_argument(
        "--extra-work", type=float, default=0.0, metavar="SHARE", help="work this share of each inference's time on top"
    )
    add_server_options(parser)
    return parser


def add_server_options(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("where")
    where.add_argument(
        "--fd", type=int, metavar="N", help="an inherited TCP socket, bound already; instead of --host and --port"
    )
    where.add_argument("--host", default="127.0.0.1")
    where.add_argument("--port", type=int, default=8080, help="0 takes a free one (see the ready file)")
    where.add_argument("--cpus", metavar="LIST", help="pin to these CPUs, for example 0,2-3")
    how = parser.add_argument_group("how")
    how.add_argument("--threads", type=int, metavar="N", help="threads per worker; default: the CPUs divided among the workers")
    how.add_argument("--workers", type=int, default=1, metavar="N", help="sessions that run side by side (default %(default)s)")
    how.add_argument(
        "--max-queue", type=int, default=1024, metavar="N", help="waiting requests before 503 (default %(default)s)"
    )
    how.add_argument("--max-body-bytes", type=int, metavar="N", help="largest request; default from the model's inputs")
    how.add_argument("--receive-timeout-s", type=float, default=30.0, metavar="S", help="for a request to arrive completely")
    how.add_argument("--grace-s", type=int, default=4, metavar="S", help="for requests in flight when stopped")
    how.add_argument("--ready-file", type=Path, metavar="PATH", help="written when the model is loaded")
    how.add_argument("--die-with-parent", action="store_true", help="end when the parent process ends")


def prepare(options: argparse.Namespace) -> None:
    """What must precede the heavy imports; fills in `options.threads`. Raises UsageError."""
    if options.die_with_parent:
        die_with_parent()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for option in ("workers", "max_queue", "max_body_bytes", "receive_timeout_s", "threads"):
        value = getattr(options, option)
        if value is not None and value < (0 if option == "max_queue" else 1):
            raise UsageError(f"--{option.replace('_', '-')} {value} is too small")
    if options.cpus is not None:
        pin(startup.parse_cpus(options.cpus))
    if options.threads is None:
        options.threads = max(1, len(os.sched_getaffinity(0)) // options.workers)
    startup.set_thread_counts(options.threads)


def serve_model(
    options: argparse.Namespace, spec: ModelSpec, load: Callable[[], Session], *, backend: str, packages: Sequence[str]
) -> None:
    """Bring up the workers, say so in the ready file, and answer until stopped. Raises LoadstoneError when it cannot."""
    from harness.serving.app import App, Limits
    from harness.serving.engine import Engine, one_line
    from harness.serving.server import serve

    listener = startup.listening_socket(options.fd, options.host, options.port)
    versions = startup.versions(packages)
    limits = Limits(body_bytes=options.max_body_bytes) if options.max_body_bytes else None
    engine = Engine(spec, load, workers=options.workers, max_queue=options.max_queue)
    try:
        app = App(spec, engine, backend=backend, release=versions.get("loadstone", "unknown"), limits=limits)
        loaded = engine.start()
    except LoadstoneError:
        raise
    except Exception as error:
        # Backends and the libraries under them raise whatever they like; the log gets all of it, the last line the reason.
        log.exception("the model could not be loaded")
        raise InfrastructureError(f"cannot load {spec.name} with {backend}: {one_line(error)}") from error
    gc.collect()
    gc.freeze()  # what loading left is permanent: no collection during a request need look at it
    host, port = listener.getsockname()[:2]
    if options.ready_file is not None:
        ready: dict[str, Any] = {
            "host": host,
            "port": port,
            "load_s": sum(each.load_s for each in loaded),
            "first_inference_ms": loaded[0].first_inference_ms,
            "cpus": sorted(os.sched_getaffinity(0)),
            "threads": options.threads,
            "workers": options.workers,
            "versions": versions,
        }
        startup.write_ready_file(options.ready_file, ready)
    log.info(
        "%s (%s) on http://%s:%d with %d workers of %d threads",
        spec.name,
        backend,
        host,
        port,
        options.workers,
        options.threads,
    )
    serve(app, listener, receive_timeout_s=options.receive_timeout_s, grace_s=options.grace_s)
    if not engine.stop(timeout_s=1.0):
        log.warning("an inference still ran after the grace time; its thread is abandoned")
        logging.shutdown()
        os._exit(0)  # an orderly exit would wait inside the runtime, or crash under the running thread


def run_program(body: Callable[[], None]) -> int:
    """Run `body`; a LoadstoneError becomes one line on standard error and its exit code."""
    try:
        body()
    except LoadstoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)

    def body() -> None:
        prepare(options)
        import dataclasses

        from compilers.build import check_artifact, load_session, read_spec
        from compilers.registry import backend
        from harness.serving.extra_work import ExtraWork

        packages = backend(options.backend).packages
        check_artifact(options.artifact)
        if not 0 <= options.extra_work < math.inf:
            raise UsageError(f"--extra-work {options.extra_work}: a share of 0 or more")
        spec = read_spec(options.model_folder)
        if options.name is not None:
            spec = dataclasses.replace(spec, name=options.name)
        if "/" in spec.name:
            raise UsageError(f"--name {spec.name}: a model's name is part of its URL and has no slash")

        def load() -> Session:
            session = load_session(options.backend, options.artifact, options.model_folder, options.threads)
            return ExtraWork(session, options.extra_work) if options.extra_work else session

        serve_model(options, spec, load, backend=options.backend, packages=packages)

    return run_program(body)


if __name__ == "__main__":
    sys.exit(main())
