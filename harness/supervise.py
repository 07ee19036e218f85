"""Child processes that cannot outlive us, hang us or fill the memory.

Every child starts in a session of its own, so that its whole group can be ended; it asks the kernel to be killed when its
parent dies (`die_with_parent`, called first thing by each of our child programs); its output goes to a file, so that no pipe
can fill; and whoever waits for it states how long and how much memory it may take.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from harness.errors import InfrastructureError, Interrupted

PARENT_ENV = "LOADSTONE_PARENT"
_PR_SET_PDEATHSIG = 1
_POLL_S = 0.05
_TERM_GRACE_S = 6.0  # the model server gives requests in flight 4 s of it


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends (Linux only; elsewhere a no-op).

    The parent may have died between fork and this call, so the parent's pid is compared with the one it announced.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    announced = os.environ.get(PARENT_ENV)
    if announced is not None and os.getppid() != int(announced):
        os._exit(1)


def pin(cpus: Sequence[int]) -> None:
    """Confine this process, and every thread it starts from now on, to `cpus`."""
    os.sched_setaffinity(0, cpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitReport:
    """How a bounded child ended."""

    returncode: int
    wall_s: float
    peak_rss_bytes: int
    timed_out: bool = False
    over_memory: bool = False


class Child:
    """One running child and its process group."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        cpus: Sequence[int] | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start `argv`, output to `log` (standard output too unless `stdout` is given), confined to `cpus`.

        Raises InfrastructureError when the machine will not start it.
        """
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        before = os.sched_getaffinity(0)
        try:
            with log.open("ab") as out:
                if cpus is not None:
                    os.sched_setaffinity(0, cpus)  # the calling thread's own; the child inherits it from its first instruction
                self.process = subprocess.Popen(
                    list(argv),
                    stdin=stdin,
                    stdout=out if stdout is None else stdout,
                    stderr=out,
                    env={**os.environ, **(env or {}), PARENT_ENV: str(os.getpid())},
                    pass_fds=tuple(pass_fds),
                    cwd=cwd,
                    start_new_session=True,
                )
        except OSError as error:
            raise InfrastructureError(f"cannot start {argv[0]}: {error.strerror or error}; see {log}") from error
        finally:
            os.sched_setaffinity(0, before)
        self.pid = self.process.pid
        self.started_ns = time.monotonic_ns()

    def alive(self) -> bool:
        return self.process.poll() is None

    def how_it_ended(self) -> str:
        """`exited with 1` or `killed by SIGSEGV`, with the last line it logged."""
        code = self.process.poll()
        if code is None:
            return "still running"
        ended = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        last = last_line(self.log)
        return f"{ended}: {last}" if last else ended

    def stop(self, grace_s: float = _TERM_GRACE_S) -> None:
        """End the child and everything in its group: asked first, killed after `grace_s`. Safe to call twice."""
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)  # also whatever of the group outlived its leader
        self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # the whole group is gone

    def rss_bytes(self) -> int:
        """Resident memory of the child and its descendants, now."""
        try:
            leader = psutil.Process(self.pid)
            family = [leader, *leader.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        total = 0
        for member in family:
            try:
                total += member.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total


def run_bounded(
    argv: Sequence[str],
    *,
    log: Path,
    timeout_s: float,
    memory_bytes: int,
    cpus: Sequence[int] | None = None,
    env: Mapping[str, str] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> ExitReport:
    """Run `argv` to its end, or end it when it takes longer than `timeout_s` or holds more than `memory_bytes`.

    Raises Interrupted (the child is gone by then) when `cancelled()` turns true.
    """
    child = Child(argv, log=log, cpus=cpus, env=env)
    start = time.monotonic()
    peak, timed_out, over_memory = 0, False, False
    try:
        while child.alive():
            peak = max(peak, child.rss_bytes())
            timed_out = time.monotonic() - start > timeout_s
            over_memory = peak > memory_bytes
            if timed_out or over_memory:
                break
            if cancelled():
                raise Interrupted("interrupted")
            time.sleep(_POLL_S)
    finally:
        child.stop(grace_s=0.0 if timed_out or over_memory else _TERM_GRACE_S)
    return ExitReport(
        returncode=child.process.returncode,
        wall_s=time.monotonic() - start,
        peak_rss_bytes=peak,
        timed_out=timed_out,
        over_memory=over_memory,
    )


def last_line(log: Path, limit: int = 300) -> str:
    """The last non-empty line of a log, shortened to `limit` characters; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8192))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    return next((line[:limit] for line in reversed(lines) if line), "")
