"""The inner loop against theory, against another simulator, and without its compiler."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
import simpy
from numpy.typing import NDArray

from harness.fleet.kernel import COMPILED, REJECTED
from harness.fleet.servers import Servers
from harness.fleet.service import ServiceTimes
from tests.harness.fleet.models import constant, exponential, md1_wait_s, mmc_wait_s, two_days

NO_LIMIT = 1_000_000
ROOT = Path(__file__).parents[3]


def poisson(rate_per_s: float, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """n arrivals, in ns."""
    return np.cumsum(rng.exponential(1e9 / rate_per_s, n)).astype(np.int64)


def one_instance(
    service: ServiceTimes, workers: int, arrive: NDArray[np.int64], seed: int, queue_limit: int = NO_LIMIT
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(when each request is done, the draws of its service time)."""
    servers = Servers(service, workers, queue_limit, least_outstanding=True)
    servers.add([0], 0)
    draws = np.random.default_rng(seed).random(arrive.size)
    done, answered, _ = servers.serve(arrive, np.zeros(arrive.size), draws, servers.serving(0), 0, int(arrive[-1]) + 10**15)
    assert answered == (done != REJECTED).sum()
    return done, draws


def mean_wait_s(service: ServiceTimes, workers: int, rate_per_s: float, n: int) -> float:
    """Mean wait, with the mean service as control: what the draws cost more or less than the law is taken out."""
    arrive = poisson(rate_per_s, n, np.random.default_rng(1))
    done, draws = one_instance(service, workers, arrive, 2)
    level = service.levels[0]
    return float((done - arrive - level[(draws * level.size).astype(np.int64)]).mean()) / 1e9


@pytest.mark.parametrize(
    ("workers", "utilisation", "law", "theory"),
    [
        (1, 0.5, exponential, lambda: mmc_wait_s(0.5, 1, 0.01)),
        (4, 0.7, exponential, lambda: mmc_wait_s(0.7, 4, 0.01)),
        (1, 0.7, constant, lambda: md1_wait_s(0.7, 0.01)),
    ],
    ids=["M/M/1", "M/M/4", "M/D/1"],
)
def test_mean_waits_are_those_of_theory(
    workers: int, utilisation: float, law: Callable[[float], ServiceTimes], theory: Callable[[], float]
) -> None:
    # Sampling error (autocorrelated): below 0.4 % at four million requests; the seeds are fixed.
    found = mean_wait_s(law(0.01), workers, utilisation * workers / 0.01, 4_000_000)
    assert found == pytest.approx(theory(), rel=0.01)


def test_every_request_ends_when_another_simulator_says_so() -> None:
    service, workers = exponential(0.01, 1000), 3
    arrive = poisson(250.0, 2000, np.random.default_rng(5))
    done, draws = one_instance(service, workers, arrive, 6)
    level = service.levels[0]
    ended = np.zeros(arrive.size, np.int64)
    world = simpy.Environment()
    pool = simpy.Resource(world, capacity=workers)

    def request(index: int) -> Generator[simpy.Event, None, None]:
        yield world.timeout(int(arrive[index]))
        with pool.request() as turn:
            yield turn
            yield world.timeout(int(level[int(draws[index] * level.size)]))
        ended[index] = world.now

    for index in range(arrive.size):
        world.process(request(index))
    world.run()
    assert (ended == done).all()


def test_a_full_queue_rejects_and_says_so() -> None:
    arrive = np.arange(10, dtype=np.int64)
    done, _ = one_instance(constant(1.0), 2, arrive, 0, queue_limit=3)
    assert (done[:5] != REJECTED).all()
    assert (done[5:] == REJECTED).all()


def test_service_times_follow_the_number_of_busy_workers() -> None:
    levels = tuple(np.asarray([seconds * 10**9], np.int64) for seconds in (1, 3))
    arrive = np.asarray([0, 1, 2, 10 * 10**9], np.int64)
    done, _ = one_instance(ServiceTimes(levels=levels, source=""), 2, arrive, 0)
    # Alone; with another; after the first, while the second still runs; alone again.
    assert done.tolist() == [10**9, 3 * 10**9 + 1, 4 * 10**9, 11 * 10**9]
    cold = ServiceTimes(levels=levels, source="", idle=np.asarray([5 * 10**9], np.int64))
    # Who finds nobody takes 5 s; who waited for the only worker that is free meets the other one.
    assert one_instance(cold, 2, arrive, 0)[0].tolist() == [5 * 10**9, 3 * 10**9 + 1, 6 * 10**9 + 1, 15 * 10**9]
    waited = one_instance(cold, 1, arrive[:2], 0)[0]
    assert waited.tolist() == [5 * 10**9, 6 * 10**9]


def test_least_outstanding_beats_random_and_uses_everybody() -> None:
    arrive = poisson(300.0, 50_000, np.random.default_rng(3))
    rng = np.random.default_rng(4)
    routing, draws = rng.random(arrive.size), rng.random(arrive.size)
    waits = []
    for least in (True, False):
        servers = Servers(exponential(0.01, 1000), 1, NO_LIMIT, least)
        servers.add([0] * 4, 0)
        done, _, area = servers.serve(arrive, routing, draws, servers.serving(0), 0, int(arrive[-1]) + 10**12)
        waits.append(float((done - arrive).mean()))
        # Little's law, exactly: everybody is in the system from arrival to departure.
        assert area == int((done - arrive).sum())
    # Random is four M/M/1 queues at 0.75: 40 ms. Joining the shortest queue waits far less.
    assert waits[1] == pytest.approx(0.04e9, rel=0.1)
    assert waits[0] < 0.6 * waits[1]


def test_without_a_compiler_the_answer_is_the_same() -> None:
    """Two small days in this process, where numba is, and in one that cannot find it."""
    code = (
        "import sys; sys.modules['numba'] = None; from harness.fleet import kernel; assert not kernel.COMPILED;"
        "from tests.harness.fleet.models import two_days; print(two_days())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, cwd=ROOT)
    assert COMPILED
    assert done.stdout.strip() == two_days()
