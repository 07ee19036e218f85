"""The inner loop of the simulator: requests through routers, queues and workers, exact to the nanosecond.

Written in the subset of Python that numba compiles. Without numba the same functions run as they stand, some hundred
times slower, and give the same answer.

First in, first out, with every earlier request's end already known: a request starts when the earliest worker of its
instance is free (Kiefer and Wolfowitz, 1955), so that nothing needs to be scheduled, and the departures to come lie in
one heap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

Function = TypeVar("Function", bound=Callable[..., Any])

njit: Any
try:
    from numba import njit
except ImportError:  # the extra `autoscale` is not installed
    njit = None

COMPILED = njit is not None
"""Whether numba is there."""


def _compiled(function: Function) -> Function:
    """The function as machine code where numba is there, else as it stands."""
    return function if njit is None else cast(Function, njit(cache=True)(function))


REJECTED = -1
"""In place of the instant at which a request was done: its instance's queue was full."""


@_compiled
def _leave(heap_ns: Ints, heap_slot: Ints, held: int) -> None:
    """Take the earliest of `held` + 1 departures out of the heap: the last entry sinks from the root."""
    moved_ns, moved_slot, hole = heap_ns[held], heap_slot[held], 0
    while True:
        child = 2 * hole + 1
        if child >= held:
            break
        if child + 1 < held and heap_ns[child + 1] < heap_ns[child]:
            child += 1
        if heap_ns[child] >= moved_ns:
            break
        heap_ns[hole], heap_slot[hole] = heap_ns[child], heap_slot[child]
        hole = child
    heap_ns[hole], heap_slot[hole] = moved_ns, moved_slot


@_compiled
def _enter(heap_ns: Ints, heap_slot: Ints, held: int, done: int, slot: int) -> None:
    """Put a departure into a heap of `held`: it rises from the end."""
    hole = held
    while hole > 0:
        parent = (hole - 1) // 2
        if heap_ns[parent] <= done:
            break
        heap_ns[hole], heap_slot[hole] = heap_ns[parent], heap_slot[parent]
        hole = parent
    heap_ns[hole], heap_slot[hole] = done, slot


@_compiled
def _route(active: Ints, outstanding: Ints, least_outstanding: bool, draw: float) -> int:
    """The slot that takes a request: any, or the one with the fewest outstanding, looked for from a random one on so that
    ties fall evenly."""
    instances = active.size
    first = int(draw * instances)
    slot = active[first]
    if least_outstanding:
        for step in range(1, instances):
            if outstanding[slot] == 0:
                break
            other = active[(first + step) % instances]
            if outstanding[other] < outstanding[slot]:
                slot = other
    return int(slot)


@_compiled
def _work(free: Ints, at: int, draw: float, pool_ns: Ints, pool_start: Ints) -> int:
    """When a request that arrives at `at` is done, by the worker that is free first; `free` int64[workers] is updated."""
    worker, last = 0, free[0]
    for each in range(1, free.size):
        if free[each] < free[worker]:
            worker = each
        if free[each] > last:
            last = free[each]
    start = max(at, free[worker])
    busy = 0
    for each in range(free.size):
        if free[each] > start:
            busy += 1
    level = 0 if last <= at else min(busy + 1, pool_start.size - 2)
    size = pool_start[level + 1] - pool_start[level]
    free[worker] = start + pool_ns[pool_start[level] + int(draw * size)]
    return int(free[worker])


@_compiled
def serve(
    arrive_ns: Ints,
    routing: Floats,
    drawing: Floats,
    active: Ints,
    free_ns: Ints,
    outstanding: Ints,
    most_outstanding: int,
    least_outstanding: bool,
    pool_ns: Ints,
    pool_start: Ints,
    heap_ns: Ints,
    heap_slot: Ints,
    held: int,
    begin_ns: int,
    until_ns: int,
    done_ns: Ints,
) -> tuple[int, int, int]:
    """Serve the requests that arrive in [begin_ns, until_ns) while the set of instances does not change.

    `arrive_ns` int64[n], sorted; `routing` and `drawing` float64[n] in [0, 1) choose the instance and the service time.
    `active` holds the slots that take requests, `free_ns` int64[slots, workers] when each worker is free, `outstanding`
    int64[slots] the requests not yet answered. A service that finds its instance empty is drawn from the first pool,
    pool_ns[0:pool_start[1]], one with k busy workers, itself included, from pool_ns[pool_start[k]:pool_start[k+1]]. `heap_ns`
    and `heap_slot` hold the `held` departures to come. All of these are updated in place; `done_ns` int64[n] is written.

    Returns (departures left in the heap, requests answered in the time, time integral of requests outstanding in
    request-ns).
    """
    answered = area = 0
    now = begin_ns
    for i in range(arrive_ns.size + 1):
        at = until_ns if i == arrive_ns.size else arrive_ns[i]
        while held > 0 and heap_ns[0] <= at:
            area += held * (heap_ns[0] - now)
            now = heap_ns[0]
            outstanding[heap_slot[0]] -= 1
            answered += 1
            held -= 1
            _leave(heap_ns, heap_slot, held)
        area += held * (at - now)
        now = at
        if i == arrive_ns.size:
            break
        slot = _route(active, outstanding, least_outstanding, routing[i])
        if outstanding[slot] >= most_outstanding:
            done_ns[i] = REJECTED
            continue
        done_ns[i] = _work(free_ns[slot], at, drawing[i], pool_ns, pool_start)
        outstanding[slot] += 1
        _enter(heap_ns, heap_slot, held, done_ns[i], slot)
        held += 1
    return held, answered, area
