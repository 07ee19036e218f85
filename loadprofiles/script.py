"""What a plan has sent, in which order and when: its files, read and checked before the first connection is opened."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import InfrastructureError, UsageError
from loadprofiles.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Script:
    """`order` and `targets` index requests and ports, request by request; `offsets` are ns after the start, of an open loop.

    `changes` are (offset in ns, change) of the users of a closed loop. Arrays are of machine integers, where the longest
    schedule as Python's own would take a gigabyte.
    """

    requests: list[bytes]
    order: array[int]
    offsets: NDArray[np.int64]
    targets: bytes | None
    changes: deque[tuple[int, int]]


def read(plan: Plan) -> Script:
    """Raises UsageError when the files do not fit together, InfrastructureError when they cannot be read."""
    try:
        bodies = [Path(path).read_bytes() for path in plan.bodies]
        order = array("H", np.load(plan.order).astype(np.uint16).tobytes())
        offsets = np.empty(0, np.int64) if plan.arrivals is None else np.load(plan.arrivals)
        targets = None if plan.targets is None else np.load(plan.targets).astype(np.uint8).tobytes()
        changes = _changes(plan)
    except (OSError, ValueError) as error:
        raise InfrastructureError(f"cannot open the load plan's files: {error}") from error
    if len(order) < max(1, len(offsets)) or max(order, default=0) >= len(bodies):
        raise UsageError("the load plan's payload order does not cover its arrivals with the bodies it has")
    if targets is not None and (len(targets) != len(offsets) or max(targets, default=0) > len(plan.also)):
        raise UsageError("the load plan's targets do not cover its arrivals with the ports it has")
    if np.any(np.diff(offsets) < 0):
        raise UsageError("the load plan's arrivals are not in order")
    requests = [plan.head(len(body)) + body for body in bodies]
    return Script(requests=requests, order=order, offsets=offsets, targets=targets, changes=changes)


def _changes(plan: Plan) -> deque[tuple[int, int]]:
    """The users of a closed loop; none for an open one. Raises UsageError when they do not fit."""
    if plan.users is None:
        return deque()
    if plan.changes is None:
        return deque([(0, plan.users)])
    rows = np.load(plan.changes)
    present = np.cumsum(rows[:, 1])
    if np.any(np.diff(rows[:, 0]) < 0) or present.min(initial=0) < 0 or present.max(initial=0) > plan.users:
        raise UsageError(f"the load plan's users are not in order, or not 0 to {plan.users} at a time")
    return deque((int(offset), int(change)) for offset, change in rows)
