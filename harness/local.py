"""The workbench of this machine: real compilers, servers, load generator and meters."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from compilers import build as building
from compilers import precision
from compilers.compile_report import with_report
from compilers.interface import Unchecked
from compilers.spec_io import PreparedModel, read_prepared
from harness import endpoint, first_answer, observe
from harness.endpoint import Endpoint
from harness.errors import InfrastructureError, MeasurementInvalid
from harness.loadplan import plan_for
from harness.nouns import Artifact, Candidate, Failure, LoadProfile, Skipped
from harness.reached import probe
from harness.reached.nouns import Reached, Servable
from harness.requestset import RequestSet
from harness.resources import ResourceMeter
from harness.supervise import Child
from harness.workbench import Built, Cancelled, GeneratorProof, LoadGenerator, Workbench
from loadprofiles import samples as sample_files
from loadprofiles.generator import Generator
from loadprofiles.plan import Reply

COMPILE_MEMORY_SHARE = 0.75
"""A compiler may hold this share of the machine's memory before it is ended."""

_PROOF_USERS = 16
_PROOF_S = 1.0


def first_cpus(threads: int) -> list[int]:
    """As many of this process's CPUs as a compiled model has threads: what its report is measured on."""
    return sorted(os.sched_getaffinity(0))[:threads]


def compile_memory_bytes() -> int:
    return int(COMPILE_MEMORY_SHARE * psutil.virtual_memory().total)


def workbench(cache: Path, compile_timeout_s: float) -> Workbench:
    """Real everything; artifacts are kept in `cache`."""

    def build(candidate: Candidate, model: PreparedModel, log: Path, cancelled: Cancelled) -> Built:
        if candidate.remote is not None:
            return probe.reach(candidate.remote, model, log.parent.parent / "requests" / candidate.remote.name, cancelled)
        built = building.build(
            candidate.options,
            model,
            cache,
            log=log,
            timeout_s=compile_timeout_s,
            memory_bytes=compile_memory_bytes(),
            cancelled=cancelled,
        )
        if isinstance(built, Unchecked):  # what was never compared is never ranked
            return Skipped(reason=built.reason)
        if not isinstance(built, Artifact):
            return built
        cpus, report_log = first_cpus(candidate.options.threads), log.with_suffix(".report.log")
        return with_report(built, candidate.options, model, cpus=cpus, log=report_log, cancelled=cancelled)

    return Workbench(
        build=build,
        serve=_serve,
        generator=_generator,
        meter=lambda watched: ResourceMeter(watched).start(),
        prove_generator=prove_generator,
    )


def _serve(
    candidate: Candidate,
    artifact: Servable,
    folder: Path,
    requests: RequestSet,
    cpus: Sequence[int],
    log: Path,
    cancelled: Cancelled,
) -> Endpoint | Failure:
    """The candidate's server, once its first answer is right."""
    if isinstance(artifact, Reached):
        if candidate.remote is None:
            raise ValueError(f"{candidate.id} was reached but has no address")
        return probe.connect(candidate.remote, artifact, read_prepared(folder))
    served = endpoint.serve(candidate, artifact, folder, cpus=cpus, log=log, cancelled=cancelled)
    if isinstance(served, Failure):
        return served
    try:
        # The null backend answers zeros on purpose: it measures the path, not a model.
        compare = candidate.options.backend != "null"
        tolerance = precision.bar(candidate.model.tolerance, candidate.options.precision) if compare else None
        served.response_bytes = first_answer.check(served.host, served.port, requests, folder, tolerance)
    except first_answer.WrongAnswer as error:
        served.stop()
        return Failure(stage="serve", reason=str(error), log=log)
    except BaseException:
        served.stop()
        raise
    return served


def _generator(cpus: Sequence[int], log: Path) -> Generator:
    return Generator(cpus, log).__enter__()


def prove_generator(
    generator: LoadGenerator, bodies: Sequence[Path], cpus: Sequence[int], log: Path, cancelled: Callable[[], bool]
) -> GeneratorProof:
    """Closed loops against the null server on `cpus`, with the bodies of the bench; None for what could not be measured.

    With bodies of hundreds of kilobytes the null server's own reading counts too, so the capacity is a lower bound.
    """
    requests = RequestSet(path="/", headers={"Content-Type": "application/octet-stream"}, bodies=tuple(bodies))
    with tempfile.TemporaryDirectory() as scratch, null_server(cpus, log) as port:

        def drive(users: int) -> tuple[Reply, Path] | None:
            load = LoadProfile(arrivals="closed", duration_s=_PROOF_S, seed=0, users=users)
            samples = Path(scratch) / f"{users}.bin"
            plan, _ = plan_for(load, requests, ("127.0.0.1", port), Path(scratch), f"{users}", samples=samples, own_core=True)
            try:
                return generator.run(plan, deadline_s=30.0, cancelled=cancelled), samples
            except MeasurementInvalid:
                return None

        full, single = drive(_PROOF_USERS), drive(1)
        return GeneratorProof(
            capacity_per_s=full[0].succeeded / (full[0].active_ns / 1e9) if full and full[0].succeeded else None,
            null_p50_ms=observe.median_service_ms(sample_files.read(single[1])) if single and single[0].succeeded else None,
        )


@contextmanager
def null_server(cpus: Sequence[int], log: Path) -> Iterator[int]:
    """A server that answers everything at once, on `cpus`; yields its port and ends it afterwards."""
    with endpoint.listen() as listener:
        port: int = listener.getsockname()[1]
        argv = [sys.executable, "-m", "loadprofiles.null_server", f"--fd={listener.fileno()}", "--die-with-parent"]
        child = Child(argv, log=log, cpus=cpus, pass_fds=(listener.fileno(),), stdout=subprocess.PIPE)
    try:
        out = child.process.stdout
        if out is None or not select.select([out], [], [], 30.0)[0] or not out.readline():
            raise InfrastructureError(f"the null server did not start: it {child.how_it_ended()}; see {log}")
        yield port
    finally:
        child.stop()
        if child.process.stdout is not None:
            child.process.stdout.close()
