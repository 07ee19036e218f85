"""`python -m harness.truth`: answer after a known law until told to stop.

It prints the port it listens on as one line. Exit codes: 0 stopped by a signal, 2 wrong options, 3 the machine refused.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import LoadstoneError
from harness.serving import startup
from harness.supervise import die_with_parent, pin
from harness.truth import spec
from harness.truth.log import Log
from harness.truth.server import TruthServer
from loadprofiles.priority import STAYS_NS, go_first


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.truth",
        description="Serve answers whose times follow a known law.",
        epilog=spec.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--law", required=True, help='such as "exponential:10ms; servers=1; seed=7"')
    parser.add_argument(
        "--fd", type=int, metavar="N", help="an inherited TCP socket, bound already; instead of --host and --port"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default %(default)s)")
    parser.add_argument(
        "--cpus", metavar="LIST", help="pin to these CPUs, and poll without sleeping while requests keep coming"
    )
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="write arrival and answer of every request here when stopped (.npy)"
    )
    parser.add_argument("--grace-s", type=float, default=4.0, metavar="S", help="for requests in line when stopped")
    parser.add_argument("--ready-file", type=Path, metavar="PATH", help="written when the server answers")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the parent process ends")
    return parser


def serve(options: argparse.Namespace) -> None:
    """Raises LoadstoneError when it cannot."""
    if options.die_with_parent:
        die_with_parent()
    truth = spec.parse(options.law)
    if options.cpus is not None:
        pin(startup.parse_cpus(options.cpus))
        go_first(STAYS_NS)
    log = Log(options.log)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every connection takes a descriptor
    listener = startup.listening_socket(options.fd, options.host, options.port)
    host, port = listener.getsockname()[:2]
    server = TruthServer(
        truth, listener, log, release=importlib.metadata.version("loadstone"), own_core=options.cpus is not None
    )
    if options.ready_file is not None:
        ready = {"host": host, "port": port, "law": options.law, "cpus": sorted(os.sched_getaffinity(0))}
        startup.write_ready_file(options.ready_file, ready)
    print(port, flush=True)
    server.run(options.grace_s)
    log.write()


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        serve(options)
    except LoadstoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
