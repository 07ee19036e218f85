"""What runs where: one core for the server, one for the client, every program bounded in time and ended by its id."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.errors import InfrastructureError
from harness.supervise import Child, last_line

ROOT = Path(__file__).parents[3]
_READY_TIMEOUT_S = 30.0
_TRACE_S = 2.0
"""Between two readings of the CPU. Each costs the server's core some ms when the tool has many threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """The CPUs of server and client, never the same."""

    server: int
    client: int

    @classmethod
    def here(cls) -> Cores:
        """The first and the last CPU this process may use. Raises InfrastructureError when that is one."""
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            raise InfrastructureError("server and client need a CPU each; this process may use one only")
        return cls(server=allowed[0], client=allowed[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended: `problem` in one line unless it exited with 0; CPU is of it and all it waited for."""

    problem: str | None
    wall_s: float
    cpu_s: float
    trace: tuple[tuple[int, int], ...]
    """(monotonic ns, CPU ns of the program and its descendants until then), every few seconds while it ran."""


def bounded(argv: Sequence[str], *, log: Path, timeout_s: float, cpu: int, env: Mapping[str, str] | None = None) -> Ended:
    """Run a program on `cpu`; when it is late, end it with all its descendants. Not for two threads at a time: CPU is counted
    over everything this process waits for."""
    before = _children_cpu_s()
    start = time.monotonic()
    child = Child(argv, log=log, cpus=[cpu], env=env, cwd=ROOT)
    trace = []
    try:
        while child.alive() and (left_s := start + timeout_s - time.monotonic()) > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(min(_TRACE_S, left_s))
            trace.append((time.monotonic_ns(), tree_cpu_ns(child.pid)))
        late = f"not done after {timeout_s:.0f} s" if child.alive() else None
        problem = late or (None if child.process.returncode == 0 else child.how_it_ended())
    finally:
        wall_s = time.monotonic() - start
        end(child)
    return Ended(problem=problem, wall_s=wall_s, cpu_s=_children_cpu_s() - before, trace=tuple(trace))


def tree_cpu_ns(pid: int) -> int:
    """CPU time of a process and its descendants, over their threads (`/proc/PID/task/TID/schedstat`); 0 when it is gone.

    Two values may be compared only while no thread ended in between.
    """
    total = 0
    with contextlib.suppress(OSError):  # it may end while it is read
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
            total += sum(tree_cpu_ns(int(child)) for child in (thread / "children").read_text().split())
    return total


def end(child: Child) -> None:
    """End a program and every descendant, also those that left its process group."""
    family = []
    if child.alive():
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(child.pid).children(recursive=True)
    child.stop(grace_s=1.0)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=2.0)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def truth_server(law: str, cpu: int, folder: Path, *, log: Path | None = None) -> Iterator[int]:
    """The port of a truth server on `cpu`; with `log`, what it served lies there once it has stopped."""
    ready = folder / "truth.ready"
    ready.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "harness.truth", "--law", law, "--port", "0", "--cpus", str(cpu)]
    argv += ["--ready-file", str(ready), "--die-with-parent"]
    child = Child(argv + (["--log", str(log)] if log else []), log=folder / "truth.log", cpus=[cpu], cwd=ROOT)
    try:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not ready.exists():
            if not child.alive() or time.monotonic() > deadline:
                raise InfrastructureError(f"the truth server {child.how_it_ended()}: {last_line(folder / 'truth.log')}")
            time.sleep(0.02)
        yield int(json.loads(ready.read_text())["port"])
    finally:
        child.stop()
