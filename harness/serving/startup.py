"""What happens before the first request: the socket, the CPU set, the thread counts, and the file that says "ready".

Imports nothing heavy, because pinning and thread counts only bind libraries that are loaded after them.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from harness.errors import InfrastructureError, UsageError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TVM_NUM_THREADS",
)
_SERVER_PACKAGES = ("loadstone", "numpy", "orjson", "uvicorn", "uvloop", "httptools")
_BACKLOG = 2048


def parse_cpus(text: str) -> list[int]:
    """`0,2-3` as [0, 2, 3]. Raises UsageError when it is no such list or names a CPU this process may not use."""
    allowed = os.sched_getaffinity(0)
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise UsageError(f"--cpus {text}: give CPU numbers like 0,2-3")
        cpus.update(range(int(first), int(last if dash else first) + 1))
    if not cpus or not cpus <= allowed:
        raise UsageError(f"--cpus {text}: this process may use only {','.join(map(str, sorted(allowed)))}")
    return sorted(cpus)


def set_thread_counts(threads: int) -> None:
    """Tell every runtime's thread pool its size, through the environment that it reads when it is loaded."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)


def listening_socket(fd: int | None, host: str, port: int) -> socket.socket:
    """The inherited socket `fd`, or a new one on `host`:`port`; listening either way.

    Raises UsageError when `fd` is no TCP socket or the address cannot be had.
    """
    if fd is not None:
        try:
            listener = socket.socket(fileno=fd)
        except OSError as error:
            raise UsageError(f"--fd {fd} is not an open socket: {error.strerror}") from error
        if listener.family not in (socket.AF_INET, socket.AF_INET6) or listener.type != socket.SOCK_STREAM:
            listener.close()
            raise UsageError(f"--fd {fd} is not a TCP socket")
    else:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            listener.close()
            raise UsageError(f"cannot listen on {host}:{port}: {error}; choose another --port") from error
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of Python, the server's own packages and `packages`; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in (*_SERVER_PACKAGES, *packages):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write_ready_file(path: Path, document: dict[str, Any]) -> None:
    """Write `document` with pid and resident memory so that a reader sees all of it or no file."""
    document = {"pid": os.getpid(), **document, "rss_bytes": psutil.Process().memory_info().rss}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(document))
        temporary.replace(path)
    except OSError as error:
        raise InfrastructureError(f"cannot write --ready-file {path}: {error.strerror}") from error
