"""How surely a disturbed run is found out: faults made on purpose, live, and how often the run was judged invalid.

`python -m tests.perf.generator_faults --json OUT [--times 40] [--only NAME …]`. Every run is 3 s of open-loop load on the null
server. The generator is suspended for 200 ms, starved by a spinner on its core, or asked for more than it can send; the
server's core is shared with a spinner, or the server has used up a CPU quota. The undisturbed runs show how noisy the machine
itself is. `for_its_cause` counts the runs that were invalid for a reason that names the fault, not for other noise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import kernel, observe
from harness.errors import InfrastructureError
from harness.nouns import LoadProfile, Validity
from harness.records import RunRecord
from harness.resources import ResourceMeter, Watched
from harness.supervise import Child
from loadprofiles import samples
from loadprofiles.generator import Generator
from tests.perf.generator import plan_for

RUN_S = 3.0
RATE_PER_S = 200.0
SUSPENDED_S = 0.2
OVERLOAD = 2.0
"""Times its capacity that a saturated generator is asked for."""

_SPIN = "while True: pass"
_QUOTA_US, _PERIOD_US = 1000, 100_000
"""The smallest quota there is: 1 % of a CPU, less than the null server needs."""


@dataclass(kw_only=True)
class Rig:
    """A null server and a generator, each on a core of its own."""

    folder: Path
    server: Child
    port: int
    generator: Generator
    server_cpu: int
    generator_cpu: int
    run_s: float

    def run(self, rate_per_s: float = RATE_PER_S, seed: int = 0) -> Validity:
        """The verdict on one run, without the rule on the generator's capacity: the signals alone must tell."""
        load = LoadProfile(arrivals="poisson", duration_s=self.run_s, seed=seed, rate_per_s=rate_per_s)
        plan = plan_for(load, self.port, self.folder)
        meter = ResourceMeter(
            Watched(
                server_pid=self.server.pid,
                server_cpus=(self.server_cpu,),
                lane_cpus=(self.server_cpu, self.generator_cpu),
                generator_pid=self.generator.pid,
                generator_cpus=(self.generator_cpu,),
            )
        ).start()
        try:
            reply = self.generator.run(plan, self.run_s + 60)
        finally:
            use = meter.stop()
        record = RunRecord(kind="load", profile=load, reply=reply, resources=use, samples=plan.samples)
        seen = observe.measurement(record, samples.read(Path(plan.samples)), None)
        Path(plan.samples).unlink()
        return seen.validity

    def capacity_per_s(self) -> float:
        """What a closed loop of 16 users reaches in a second."""
        load = LoadProfile(arrivals="closed", duration_s=1.0, seed=0, users=16)
        plan = plan_for(load, self.port, self.folder)
        reply = self.generator.run(plan, 30)
        Path(plan.samples).unlink()
        return reply.succeeded / (reply.active_ns / 1e9)


@contextlib.contextmanager
def rig(folder: Path, run_s: float = RUN_S) -> Iterator[Rig]:
    """The first and the last CPU we may use; they are the same one on a machine that has no other."""
    cpus = sorted(os.sched_getaffinity(0))
    (folder / "body").write_bytes(b"x" * 200)
    argv = [sys.executable, "-m", "loadprofiles.null_server", "--port", "0", "--die-with-parent"]
    server = Child(argv, log=folder / "null_server.log", cpus=[cpus[0]], stdout=subprocess.PIPE)
    out = server.process.stdout
    assert out is not None
    try:
        line = out.readline()
        if not line:
            raise InfrastructureError(f"the null server {server.how_it_ended()}")
        with Generator([cpus[-1]], folder / "generator.log") as generator:
            yield Rig(
                folder=folder,
                server=server,
                port=int(line),
                generator=generator,
                server_cpu=cpus[0],
                generator_cpu=cpus[-1],
                run_s=run_s,
            )
    finally:
        server.stop()
        out.close()


@contextlib.contextmanager
def spinning(cpu: int, folder: Path) -> Iterator[None]:
    """A process that does nothing but use `cpu`."""
    spinner = Child([sys.executable, "-c", _SPIN], log=folder / "spinner.log", cpus=[cpu])
    try:
        yield
    finally:
        spinner.stop(grace_s=0.0)


def undisturbed(it: Rig, seed: int) -> Validity:
    return it.run(seed=seed)


def suspended(it: Rig, seed: int) -> Validity:
    """The generator stands still for 200 ms somewhere in the window."""
    pid, at_s = it.generator.pid, it.run_s * float(np.random.default_rng(seed).uniform(0.4, 0.6))
    assert pid is not None

    def suspend() -> None:
        time.sleep(at_s)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(SUSPENDED_S)
        os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=suspend)
    thread.start()
    try:
        return it.run(seed=seed)
    finally:
        thread.join()


def starved(it: Rig, seed: int) -> Validity:
    with spinning(it.generator_cpu, it.folder):
        return it.run(seed=seed)


def saturated(it: Rig, seed: int) -> Validity:
    return it.run(OVERLOAD * it.capacity_per_s(), seed=seed)


def hogged(it: Rig, seed: int) -> Validity:
    """Somebody else computes on the server's core."""
    with spinning(it.server_cpu, it.folder):
        return it.run(seed=seed)


def throttled(it: Rig, seed: int) -> Validity:
    """The server's cgroup has less CPU than it needs. Raises InfrastructureError where none can be made."""
    with _quota(it.server.pid):
        return it.run(seed=seed)


@contextlib.contextmanager
def _quota(pid: int) -> Iterator[None]:
    """Confine a process to the smallest CPU quota, in a cgroup of its own."""
    mounts = kernel.cpu_mounts()
    version = 1 if 1 in mounts else 2
    if version not in mounts:
        raise InfrastructureError("no cgroup with a CPU controller is mounted")
    folder = mounts[version] / f"loadstone-faults-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        raise InfrastructureError(f"cannot make {folder}: {error.strerror}") from error
    try:
        try:
            if version == 1:
                (folder / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
                (folder / "cpu.cfs_quota_us").write_text(str(_QUOTA_US))
            else:
                (folder / "cpu.max").write_text(f"{_QUOTA_US} {_PERIOD_US}")
            (folder / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise InfrastructureError(f"cannot set a quota in {folder}: {error.strerror}") from error
        try:
            yield
        finally:
            (mounts[version] / "cgroup.procs").write_text(str(pid))
    finally:
        folder.rmdir()


FAULTS: dict[str, Callable[[Rig, int], Validity]] = {
    each.__name__: each for each in (undisturbed, suspended, starved, saturated, hogged, throttled)
}


CAUSES = {
    "suspended": ("the generator stood still",),
    "starved": ("the generator waited for its core",),
    "saturated": ("requests were dropped by the generator", "requests were sent late", "the generator was busy"),
    "hogged": ("of the server's cores",),
    "throttled": ("a CPU quota stopped",),
}
"""Beginnings or parts of the reasons that name each fault; one of them is enough."""


def names_its_cause(verdict: Validity, fault: str) -> bool:
    """Whether a run is invalid for the fault that was made."""
    return any(cause in reason for cause in CAUSES.get(fault, ()) for reason in verdict.reasons)


def repeat(it: Rig, name: str, times: int) -> dict[str, Any]:
    """How often runs with that fault were judged invalid, and for what, with # for every figure."""
    reasons: Counter[str] = Counter()
    flagged = named = 0
    try:
        for seed in range(times):
            verdict = FAULTS[name](it, seed)
            flagged += not verdict.valid
            named += names_its_cause(verdict, name)
            reasons.update({re.sub(r"[0-9.]+", "#", reason.split(", limit")[0].split(" in ")[0]) for reason in verdict.reasons})
    except InfrastructureError as error:
        return {"flagged": None, "of": times, "why_not": str(error)}
    return {"flagged": flagged, "of": times, "for_its_cause": named if name in CAUSES else None, "reasons": dict(reasons)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Disturb live runs on purpose and count how many are judged invalid.")
    parser.add_argument("--json", type=Path, help="write everything measured here")
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--only", choices=FAULTS, nargs="+", default=list(FAULTS))
    options = parser.parse_args()
    table: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder)) as it:
        for name in options.only:
            table[name] = repeat(it, name, options.times)
            print(f"{name:12} {json.dumps(table[name])}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"run_s": RUN_S, "rate_per_s": RATE_PER_S, "faults": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
