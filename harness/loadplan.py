"""A load profile and a model's requests as orders for the generator: the schedule is computed here, before any load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.nouns import LoadProfile
from harness.requestset import RequestSet
from loadprofiles.plan import Plan
from loadprofiles.schedule import arrivals, of_trace, payload_order, user_changes
from loadprofiles.traces import read_trace

IN_FLIGHT_CAP = 128
"""A safety valve, not a model: a request due while this many are open is dropped, and the run invalid."""

_CLOSED_ORDER = 4096
"""Payloads in a closed loop's order, which it goes through cyclically."""


def plan_for(
    profile: LoadProfile,
    requests: RequestSet,
    address: tuple[str, int],
    folder: Path,
    name: str,
    *,
    samples: Path,
    drain_timeout_s: float = 10.0,
    request_timeout_s: float = 30.0,
    in_flight_cap: int = IN_FLIGHT_CAP,
    own_core: bool = False,
    expect_status: int = 200,
    expect_body_bytes: int | None = None,
    expect_body: str | None = None,
    expect_outputs: str | None = None,
) -> tuple[Plan, list[Path]]:
    """The plan, and the files written for it into `folder`, which may go when the run is over."""
    folder.mkdir(parents=True, exist_ok=True)
    order, due, changes = (folder / f"{name}.{what}.npy" for what in ("order", "due", "users"))
    written = [order]
    length = _CLOSED_ORDER
    if profile.open_loop:
        schedule = schedule_of(profile)
        np.save(due, schedule)
        written.append(due)
        length = len(schedule)
    elif profile.segments:
        np.save(changes, user_changes(profile))
        written.append(changes)
    # Of nothing too, the generator wants an order.
    np.save(order, payload_order(profile.seed, max(1, length), len(requests.bodies)))
    plan = Plan(
        host=address[0],
        port=address[1],
        path=requests.path,
        headers=requests.headers,
        bodies=tuple(str(body) for body in requests.bodies),
        order=str(order),
        samples=str(samples),
        duration_s=profile.duration_s,
        arrivals=str(due) if profile.open_loop else None,
        in_flight_cap=in_flight_cap if profile.open_loop else None,
        connections=profile.users or in_flight_cap,
        users=profile.users,
        changes=str(changes) if profile.segments and not profile.open_loop else None,
        requests=profile.requests,
        own_core=own_core,
        drain_timeout_s=drain_timeout_s,
        request_timeout_s=request_timeout_s,
        expect_status=expect_status,
        expect_body_bytes=expect_body_bytes,
        expect_body=expect_body,
        expect_outputs=expect_outputs,
    )
    return plan, written


def schedule_of(profile: LoadProfile) -> NDArray[np.int64]:
    """When each request of an open loop is due: offsets in ns, sorted; a trace is read from its file. Raises UsageError."""
    if profile.trace is None:
        return arrivals(profile)
    return of_trace(read_trace(Path(profile.trace)), profile.compress, profile.duration_s, profile.seed)
