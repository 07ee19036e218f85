from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.lanes import plan_lanes


def test_two_cores_are_one_lane() -> None:
    plan = plan_lanes([(0,), (1,)], 1, None)
    assert [(lane.server_cpus, lane.generator_cpus) for lane in plan.lanes] == [((0,), (1,))]
    assert plan.why_screening is None


def test_hyper_thread_siblings_stay_empty() -> None:
    plan = plan_lanes([(0, 4), (1, 5), (2, 6), (3, 7)], 1, None)
    used = {cpu for lane in plan.lanes for cpu in (*lane.server_cpus, *lane.generator_cpus)}
    assert used == {0, 1, 2, 3}
    assert len(plan.lanes) == 2


def test_more_lanes_than_fit_only_screen() -> None:
    plan = plan_lanes([(0,), (1,)], 1, 2)
    assert len(plan.lanes) == 2
    assert plan.why_screening is not None
    assert "2 lanes of 2 cores overlap on 2 cores" in plan.why_screening


def test_a_server_that_fills_the_machine_only_screens() -> None:
    plan = plan_lanes([(0,), (1,)], 2, None)
    assert plan.why_screening is not None
    assert "shares" in plan.why_screening


def test_what_does_not_fit_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="3 cores does not fit this machine: 2 usable"):
        plan_lanes([(0,), (1,)], 3, None)
    with pytest.raises(UsageError, match="at least 1"):
        plan_lanes([(0,), (1,)], 1, 0)


@given(cores=st.integers(1, 32), server=st.integers(1, 8))
def test_lanes_that_may_rank_share_no_cpu(cores: int, server: int) -> None:
    if server > cores:
        return
    plan = plan_lanes([(cpu,) for cpu in range(cores)], server, None)
    used = [cpu for lane in plan.lanes for cpu in (*lane.server_cpus, *lane.generator_cpus)]
    if plan.why_screening is None:
        assert len(used) == len(set(used)) == len(plan.lanes) * (server + 1)
