"""Worker threads, the queue and its limits, the statistics."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from compilers.interface import Session
from harness.serving.engine import ClientGone, Engine, QueueFull, SessionFailed
from tests.harness.serving.fake_models import SLOW

X = {"x": np.ones(1, np.float32)}


class Gate:
    """Runs when told to; remembers the threads and inputs it saw. The first run, the warm-up, is free."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.loaded_in = threading.get_ident()
        self.ran_in: list[int] = []
        self.seen: list[float] = []

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        self.ran_in.append(threading.get_ident())
        if len(self.ran_in) > 1:
            assert self.open.wait(10)
        self.seen.append(float(inputs["x"][0]))
        if inputs["x"][0] < 0:
            raise ValueError("negative\nsecond line")
        return [inputs["x"] + 1]


@contextmanager
def engine(workers: int = 1, max_queue: int = 8) -> Iterator[tuple[Engine, list[Gate]]]:
    gates: list[Gate] = []

    def load() -> Session:
        gates.append(Gate())
        return gates[-1]

    made = Engine(SLOW, load, workers=workers, max_queue=max_queue)
    made.start()
    try:
        yield made, gates
    finally:
        for gate in gates:
            gate.open.set()
        assert made.stop(5)


def run(body: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(body())


def value(number: float) -> dict[str, np.ndarray]:
    return {"x": np.full(1, number, np.float32)}


def test_each_session_is_loaded_warmed_and_run_in_its_own_thread() -> None:
    with engine(workers=2) as (made, gates):

        async def body() -> None:
            for gate in gates:
                gate.open.set()
            await asyncio.gather(*(made.ask(X)[1] for _ in range(8)))

        run(body)
        assert len({gate.loaded_in for gate in gates}) == 2
        for gate in gates:
            assert set(gate.ran_in) == {gate.loaded_in}
            assert gate.loaded_in != threading.get_ident()


def test_first_in_first_out_with_queue_and_compute_times() -> None:
    with engine() as (made, [gate]):

        async def body() -> None:
            jobs, futures = zip(*(made.ask(value(number)) for number in range(3)), strict=True)
            assert [job.queued for job in jobs] == [False, True, True]
            await asyncio.sleep(0.05)
            gate.open.set()
            ran = [await each for each in futures]
            assert [float(each.outputs[0][0]) for each in ran] == [1, 2, 3]
            assert gate.seen == [0, 0, 1, 2]
            assert ran[0].compute_ns >= 40e6
            assert ran[1].queue_ns >= 40e6
            assert ran[0].queue_ns < 40e6
            statistics = made.statistics
            assert (statistics.queue.count, statistics.compute.count) == (3, 3)
            assert statistics.queue.ns == sum(each.queue_ns for each in ran)
            assert statistics.compute.ns == sum(each.compute_ns for each in ran)

        run(body)


def test_the_queue_is_bounded_and_empties() -> None:
    with engine(max_queue=2) as (made, [gate]):

        async def body() -> None:
            futures = [made.ask(X)[1] for _ in range(3)]
            with pytest.raises(QueueFull):
                made.ask(X)
            assert made.statistics.rejected == 1
            gate.open.set()
            await asyncio.gather(*futures)
            await made.ask(X)[1]

        run(body)


def test_a_dropped_job_is_not_computed_and_frees_its_place() -> None:
    with engine(max_queue=1) as (made, [gate]):

        async def body() -> None:
            running, first = made.ask(value(1))
            waiting, second = made.ask(value(2))
            await asyncio.sleep(0.02)
            made.drop(running)  # too late: a worker has begun
            made.drop(waiting)
            made.drop(waiting)
            with pytest.raises(ClientGone):
                await second
            _, last = made.ask(value(3))
            gate.open.set()
            await first
            await last
            assert gate.seen == [0, 1, 3]
            assert made.statistics.dropped == 1

        run(body)


def test_a_failing_session_fails_one_request_in_one_line() -> None:
    with engine() as (made, [gate]):

        async def body() -> None:
            gate.open.set()
            with pytest.raises(SessionFailed, match=r"^ValueError: negative$"):
                await made.ask(value(-1))[1]
            assert float((await made.ask(value(4))[1]).outputs[0][0]) == 5
            assert made.statistics.fail.count == 1
            assert made.statistics.compute.count == 1

        run(body)


def test_what_load_raises_reaches_the_caller() -> None:
    def load() -> Session:
        raise OSError("no such artifact")

    with pytest.raises(OSError, match="no such artifact"):
        Engine(SLOW, load).start()


def test_stop_says_when_a_worker_is_stuck() -> None:
    with engine() as (made, [_]):

        async def body() -> None:
            made.ask(X)
            await asyncio.sleep(0.02)

        run(body)
        assert not made.stop(0.05)


class Quick:
    """Answers at once; remembers when each run began."""

    def __init__(self, *, keeps_gil: bool) -> None:
        self.keeps_gil = keeps_gil
        self.began_ns: list[int] = []

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        self.began_ns.append(time.monotonic_ns())
        return [inputs["x"]]


@pytest.mark.parametrize("keeps_gil", [True, False])
def test_only_a_session_that_keeps_the_interpreter_waits_until_its_answer_is_sent(keeps_gil: bool) -> None:
    session = Quick(keeps_gil=keeps_gil)
    made = Engine(SLOW, lambda: session)
    made.start()
    sent_ns: list[int] = []

    async def ask() -> None:
        await made.ask(X)[1]
        time.sleep(0.02)
        sent_ns.append(time.monotonic_ns())

    async def body() -> None:
        await asyncio.gather(*(ask() for _ in range(3)))

    run(body)
    assert made.stop(5)
    _, *began_ns = session.began_ns
    waited = [begun >= sent for sent, begun in zip(sent_ns, began_ns[1:], strict=False)]
    assert waited == [keeps_gil, keeps_gil]
