"""Profiles become orders whose files say what the schedule says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.loadplan import IN_FLIGHT_CAP, plan_for
from harness.nouns import LoadProfile
from harness.requestset import RequestSet
from loadprofiles.plan import Plan
from loadprofiles.registry import Figures, build, find, profile
from loadprofiles.schedule import arrivals, user_changes


def planned(load: LoadProfile, folder: Path, **more: Any) -> Plan:
    requests = RequestSet(path="/", headers={}, bodies=(folder / "a", folder / "b"))
    plan, written = plan_for(load, requests, ("127.0.0.1", 80), folder / "plan", "x", samples=folder / "s", **more)
    named = {each for each in (plan.order, plan.arrivals, plan.changes) if each is not None}
    assert {str(each) for each in written} == named == {str(each) for each in (folder / "plan").iterdir()}
    return plan


def test_an_open_loop_has_its_arrivals_and_a_cap(tmp_path: Path) -> None:
    load = profile("spike", rate_per_s=20)
    plan = planned(load, tmp_path)
    assert plan.arrivals is not None
    assert np.array_equal(np.load(plan.arrivals), arrivals(load))
    assert len(np.load(plan.order)) == len(arrivals(load))
    assert (plan.users, plan.changes, plan.in_flight_cap, plan.connections) == (None, None, IN_FLIGHT_CAP, IN_FLIGHT_CAP)


def test_a_closed_loop_has_its_users_and_their_changes(tmp_path: Path) -> None:
    load = profile("stairs")
    plan = planned(load, tmp_path)
    assert plan.changes is not None
    assert np.array_equal(np.load(plan.changes), user_changes(load))
    assert (plan.users, plan.connections, plan.arrivals, plan.in_flight_cap) == (5, 5, None, None)


def test_a_closed_loop_that_stays_needs_no_changes(tmp_path: Path) -> None:
    plan = planned(build("offline", find("offline"), Figures(requests=7)), tmp_path)
    assert (plan.users, plan.changes, plan.requests) == (16, None, 7)


def test_a_trace_is_read_when_the_plan_is_made_and_may_be_cut_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("second,count\n0,0\n1,9\n")
    figures = Figures(trace=str(tmp_path / "t.csv"))
    plan = planned(build("trace", find("trace"), figures), tmp_path, in_flight_cap=3, expect_body="some")
    assert plan.arrivals is not None
    assert len(np.load(plan.arrivals)) == 9
    assert (plan.in_flight_cap, plan.connections, plan.expect_body) == (3, 3, "some")
    cut = build("trace", find("trace"), Figures(trace=figures.trace, duration_s=0.5))
    plan = planned(cut, tmp_path)
    assert plan.arrivals is not None
    assert len(np.load(plan.arrivals)) == 0
    assert len(np.load(plan.order)) == 1
