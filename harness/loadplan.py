"""A load profile and a model's requests as orders for the generator: the schedule is computed here, before any load."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.nouns import LoadProfile
from harness.requestset import RequestSet
from loadprofiles.plan import Plan
from loadprofiles.schedule import arrivals, payload_order

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
    expect_body_bytes: int | None = None,
) -> tuple[Plan, list[Path]]:
    """The plan, and the files written for it into `folder`, which may go when the run is over."""
    folder.mkdir(parents=True, exist_ok=True)
    order, due = folder / f"{name}.order.npy", folder / f"{name}.due.npy"
    written = [order]
    length = _CLOSED_ORDER
    if profile.open_loop:
        schedule = arrivals(profile)
        np.save(due, schedule)
        written.append(due)
        length = len(schedule)
    np.save(order, payload_order(profile.seed, length, len(requests.bodies)))
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
        in_flight_cap=IN_FLIGHT_CAP if profile.open_loop else None,
        connections=profile.users or IN_FLIGHT_CAP,
        users=profile.users,
        drain_timeout_s=drain_timeout_s,
        request_timeout_s=request_timeout_s,
        expect_body_bytes=expect_body_bytes,
    )
    return plan, written
