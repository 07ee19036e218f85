"""Services are recovered exactly from what the client sees, when the server is the queue it is taken for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.capacity import simulate
from harness.capacity.runs import OpenRun, as_step, reconstruct, worth
from harness.slo import parse


def run_of(due: np.ndarray, done: np.ndarray, good: np.ndarray | None = None) -> OpenRun:
    return OpenRun(
        start="a",
        rate_per_s=10.0,
        due_ms=due,
        done_ms=done,
        good=np.ones(due.size, dtype=bool) if good is None else good,
        duration_s=10.0,
    )


@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.integers(1, 80))
def test_services_of_fifo_servers_are_recovered(servers: int, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    gaps, services = rng.exponential(10.0, (n, 1)), rng.lognormal(2.0, 0.8, (n, 1))
    due = np.cumsum(gaps[:, 0])
    found = reconstruct(run_of(due, due + simulate.sojourn_ms(gaps, services, services, servers)[:, 0]), servers)
    assert found.service_ms == pytest.approx(services[:, 0], rel=1e-6, abs=1e-6)
    assert found.impossible == 0
    assert not found.busy[0]


def test_who_found_others_there_is_marked() -> None:
    found = reconstruct(run_of(np.array([0.0, 5.0, 30.0]), np.array([10.0, 22.0, 37.0])), 1)
    assert found.service_ms.tolist() == [10.0, 12.0, 7.0]
    assert found.busy.tolist() == [False, True, False]


def test_neighbours_that_swapped_places_while_waiting_leave_one_servers_services_as_they_were() -> None:
    found = reconstruct(run_of(np.arange(4.0), np.array([10.0, 30.0, 20.0, 40.0])), 1)
    assert found.service_ms.tolist() == [10.0, 10.0, 10.0, 10.0]
    assert found.impossible == 0


def test_a_request_overtaken_in_service_is_impossible_for_one_server() -> None:
    found = reconstruct(run_of(np.arange(4.0), np.array([31.0, 30.0, 50.0, 60.0])), 1)
    assert found.impossible == pytest.approx(0.25)


def test_lost_requests_break_every_limit_and_have_no_service() -> None:
    due, done = np.arange(5) * 100.0, np.arange(5) * 100.0 + 10
    done[2] = np.nan
    run = run_of(due, done, np.array([True, True, True, True, False]))
    step = as_step(run, parse("p99<50ms,p50<5ms"))
    assert (step.n, step.lost, step.violations) == (5, 2, (2, 5))
    assert reconstruct(run, 1).service_ms.tolist() == [10.0, 10.0, 10.0]
    assert len(worth(run, parse("p99<50ms,p50<5ms"))) == 2


def test_runs_that_contradict_themselves_are_refused() -> None:
    good = run_of(np.arange(3.0), np.arange(3.0) + 1)
    for change, said in (
        ({"done_ms": np.arange(2.0)}, "as many answers"),
        ({"rate_per_s": 0.0}, "above 0"),
        ({"due_ms": np.array([2.0, 1.0, 3.0])}, "in the order due"),
    ):
        with pytest.raises(ValueError, match=said):
            replace(good, **change)
    with pytest.raises(ValueError, match="at least one server"):
        reconstruct(good, 0)
