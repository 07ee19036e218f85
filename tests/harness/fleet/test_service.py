"""Service times from samples: what counts as holding a worker, and by how many workers are busy."""

from __future__ import annotations

import numpy as np
import pytest

from harness.fleet import service
from loadprofiles.samples import FAILED, RECORD, SUCCEEDED, Samples


def run(sent_ms: list[float], compute_ms: list[float], around_ms: float = 2.0, queue_ms: float = 0.0) -> Samples:
    """Requests that computed last of all, before their answer."""
    made = np.zeros(len(sent_ms), RECORD)
    made["sent_ns"] = made["due_ns"] = np.asarray(sent_ms) * 1e6
    made["done_ns"] = made["sent_ns"] + ((np.asarray(compute_ms) + around_ms + queue_ms) * 1e6).astype(np.int64)
    made["compute_us"], made["queue_us"] = np.asarray(compute_ms) * 1e3, queue_ms * 1e3
    made["outcome"] = SUCCEEDED
    return made


def test_a_worker_is_held_for_compute_and_what_surrounds_a_lone_request() -> None:
    alone = run([100.0 * i for i in range(40)], [10.0] * 40)
    # Under load the remainder holds waiting that no server reports; it must not count as service.
    loaded = run([100.0 * i for i in range(40)], [20.0] * 40, around_ms=55.0)
    found = service.measured([alone], [loaded], workers=1)
    assert found is not None
    assert np.unique(found.levels[0]).tolist() == [12_000_000, 22_000_000]
    assert found.mean_s == 0.017
    assert found.share_above(15.0) == 0.5
    assert "80 requests" in found.source


def test_failures_say_nothing_and_too_few_are_none() -> None:
    few = run([100.0 * i for i in range(29)], [10.0] * 29)
    assert service.measured([few], [], 1) is None
    assert service.measured([], [], 1) is None
    more = run([100.0 * i for i in range(31)], [10.0] * 31)
    more["outcome"][0] = FAILED
    found = service.measured([more], [], 1)
    assert found is not None
    assert found.levels[0].size == 30


def test_a_server_that_reports_no_compute_is_seen_through_its_lone_requests() -> None:
    alone, loaded = run([100.0 * i for i in range(40)], [10.0] * 40), run([0.0] * 40, [10.0] * 40, around_ms=500.0)
    for each in (alone, loaded):
        each["compute_us"] = each["queue_us"] = -1
    found = service.measured([alone], [loaded], workers=2)
    assert found is not None
    assert np.unique(found.levels[0]).tolist() == [12_000_000]


def test_levels_are_the_workers_busy_at_the_beginning() -> None:
    alone = run([100.0 * i for i in range(40)], [10.0] * 40)
    pairs = run([100.0 * (i // 2) + i % 2 for i in range(80)], [15.0, 16.0] * 40)
    found = service.measured([alone], [pairs], workers=2)
    assert found is not None
    # Of each pair one begins alone, the other joins it a millisecond later.
    assert np.unique(found.levels[0]).tolist() == [12_000_000, 17_000_000]
    assert np.unique(found.levels[1]).tolist() == [18_000_000]
    pool, starts = found.pools()
    assert starts.tolist() == [0, 80, 160, 200], "who meets nobody is like the first level"
    assert pool.size == 200


def test_a_level_that_was_hardly_seen_joins_the_one_below() -> None:
    found = service.measured([run([100.0 * i for i in range(40)], [10.0] * 40)], [], workers=4)
    assert found is not None
    assert len(found.levels) == 4
    assert all((level == found.levels[0]).all() for level in found.levels)


def queued(rng: np.random.Generator, lone_ms: float, busy_ms: float, n: int = 4000, reports: bool = True) -> Samples:
    """Poisson arrivals at one worker that takes longer with a request that finds it idle."""
    due = np.cumsum(rng.exponential(20.0, n))
    done, free = np.empty(n), 0.0
    for i, at in enumerate(due):
        free = max(at, free) + (busy_ms if free > at else lone_ms)
        done[i] = free
    made = np.zeros(n, RECORD)
    made["due_ns"] = made["sent_ns"] = (due * 1e6).astype(np.int64)
    made["done_ns"] = (done * 1e6).astype(np.int64)
    # What it says of itself leaves out half of what holds it.
    made["compute_us"] = 5_000 if reports else -1
    made["outcome"] = SUCCEEDED
    return made


def test_open_loop_runs_show_what_holds_a_worker_whatever_the_server_says() -> None:
    alone = run([100.0 * i for i in range(40)], [5.0] * 40)
    for reports in (True, False):
        found = service.measured([alone], [queued(np.random.default_rng(2), 12.0, 10.0, reports=reports)], 1)
        assert found is not None
        assert found.idle is not None
        assert np.median(found.idle) == pytest.approx(12e6, rel=1e-4)
        assert np.median(found.levels[0]) == pytest.approx(10e6, rel=1e-4)
        assert found.mean_s == pytest.approx(0.012, rel=1e-3)
        assert "that met nobody" in found.source


def test_a_server_that_is_no_such_queue_is_taken_at_its_word() -> None:
    # Everything answered in tens: no single worker gives nine answers at one instant.
    due = np.arange(400) * 10.0
    batch = run(due.tolist(), [2.0] * 400)
    batch["done_ns"] = ((due // 100 + 1) * 100e6).astype(np.int64)
    alone = run([100.0 * i for i in range(40)], [2.0] * 40)
    found = service.measured([alone], [batch], 1)
    assert found is not None
    assert "compute times" in found.source
