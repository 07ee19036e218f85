from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compilers.spec_io import read_payloads
from harness import neighbours
from harness.candidates import enumerate_candidates
from harness.depth import DEPTHS
from harness.drive import Allowance, Bay, Setting
from harness.interference import Interference
from harness.lanes import Lane
from harness.nouns import Artifact, Failure
from harness.requestset import write_requests
from tests.harness.fakes import FakeServer, FakeWorld, fake_model
from tests.harness.test_bench import INSTANCE


class Pool:
    """Runs what it is given one after the other, and says how many lanes are loaded meanwhile."""

    loaded = 0

    def map(self, work: Callable[[Any], Any], drivers: Iterable[Any]) -> Iterator[Any]:
        given = list(drivers)
        self.loaded = len(given)
        return map(work, given)


def interference(tmp_path: Path, cost: float, failing: bool = False) -> tuple[Interference, FakeWorld]:
    """The test on two lanes of a machine where a loaded neighbour makes everything `cost` times slower."""
    pool = Pool()

    def service_ms(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.full(n, 10.0 * (cost if pool.loaded > 1 else 1.0)) * rng.normal(1.0, 0.002, n)

    world = FakeWorld(servers={"ort": FakeServer(service_ms=service_ms)})
    bench, model = world.workbench(), fake_model(tmp_path / "model")
    (candidate,) = enumerate_candidates(model.spec, ["ort"], [INSTANCE])
    artifact = bench.build(candidate, model, tmp_path / "log", lambda: False)
    assert isinstance(artifact, Artifact)
    (tmp_path / "samples").mkdir()
    setting = Setting(
        folder=tmp_path,
        workbench=bench,
        depth=DEPTHS["quick"],
        seed=1,
        requests=write_requests("fake", read_payloads(model.folder), tmp_path / "requests"),
        model_folder=model.folder,
        generator_capacity_per_s=8000.0,
        repeats=Allowance(0.0),
        cancelled=lambda: False,
        now=lambda text: None,
    )
    lanes = (Lane(index=0, server_cpus=(0,), generator_cpus=(1,)), Lane(index=1, server_cpus=(2,), generator_cpus=(3,)))
    bays = [Bay(lane=lane, generator=bench.generator(lane.generator_cpus, tmp_path / "log")) for lane in lanes]
    if failing:
        world.servers = {"ort": Failure(stage="serve", reason="no memory")}
    return neighbours.measure(candidate, artifact, bays, setting, pool), world  # type: ignore[arg-type]


def test_quiet_neighbours_leave_lanes_parallel_and_nothing_behind(tmp_path: Path) -> None:
    found, world = interference(tmp_path, cost=1.0)
    assert found.why_serial is None
    assert len(world.stopped) == len(world.visits) == 2
    assert not list((tmp_path / "samples").iterdir())


@pytest.mark.parametrize("cost", [1.05, 1.5])
def test_costly_neighbours_force_one_lane(tmp_path: Path, cost: float) -> None:
    found, _ = interference(tmp_path, cost=cost)
    assert found.service.value == pytest.approx(cost, rel=0.01)
    assert "beside its neighbours" in (found.why_serial or "")


def test_a_lane_whose_server_does_not_start_decides_for_one_lane(tmp_path: Path) -> None:
    found, world = interference(tmp_path, cost=1.0, failing=True)
    assert "no memory" in (found.why_serial or "")
    assert len(world.stopped) == len(world.visits)
