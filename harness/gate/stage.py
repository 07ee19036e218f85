"""What a night and a promotion measure with: one lane with its load generator, and what all their loads share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from compilers.spec_io import read_payloads
from harness import environment, lanes
from harness.depth import DEPTHS
from harness.drive import Allowance, Bay, Setting
from harness.errors import MeasurementInvalid
from harness.requestset import write_requests
from harness.workbench import Cancelled, Workbench


@contextmanager
def stage(
    folder: Path,
    name: str,
    model_folder: Path,
    cores: int,
    workbench: Workbench,
    seed: int,
    cancelled: Cancelled,
    now: Callable[[str], None],
) -> Iterator[tuple[Bay, Setting]]:
    """The lane and the setting for servers of `cores` cores that serve the model in `model_folder` under `name`.

    Raises MeasurementInvalid when the load generator would share a core with them.
    """
    plan = lanes.plan_lanes(environment.usable_cores(), cores, 1)
    if plan.why_screening is not None:
        raise MeasurementInvalid(f"the gate needs a core for the load generator alone: {plan.why_screening}")
    lane = plan.lanes[0]
    for each in ("samples", "logs"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    requests = write_requests(name, read_payloads(model_folder), folder / "requests")
    with ExitStack() as stack:
        generator = workbench.generator(lane.generator_cpus, folder / "logs" / "generator.log")
        stack.enter_context(closing(generator))
        bay = Bay(lane=lane, generator=generator)
        now("measuring the load generator itself")
        log = folder / "logs" / "null-server.log"
        proof = workbench.prove_generator(generator, requests.bodies, lane.server_cpus, log, cancelled)
        yield (
            bay,
            Setting(
                folder=folder,
                workbench=workbench,
                depth=DEPTHS["quick"],
                seed=seed,
                requests=requests,
                model_folder=model_folder,
                generator_capacity_per_s=proof.capacity_per_s,
                repeats=Allowance(0.0),
                cancelled=cancelled,
                now=now,
            ),
        )
