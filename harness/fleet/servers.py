"""The instances of a simulated fleet: who is starting, serving, draining; and the arrays that the kernel works on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.fleet import kernel
from harness.fleet.service import ServiceTimes

_NEVER = np.iinfo(np.int64).max
_FIRST_SLOTS, _FIRST_HEAP = 16, 4096


class Servers:
    """Instances in numbered slots; a slot is used again once its instance is drained."""

    def __init__(self, service: ServiceTimes, workers: int, queue_limit: int, least_outstanding: bool) -> None:
        self._pool_ns, self._pool_start = service.pools()
        self._most_outstanding = workers + queue_limit
        self._least_outstanding = least_outstanding
        self._ready_ns = np.full(_FIRST_SLOTS, _NEVER, np.int64)
        self._added_ns = np.full(_FIRST_SLOTS, -1, np.int64)
        self._gone_ns = np.full(_FIRST_SLOTS, -1, np.int64)  # of an empty slot: when it may be used again
        self._used = np.zeros(_FIRST_SLOTS, np.bool_)
        self._free_ns = np.zeros((_FIRST_SLOTS, workers), np.int64)
        self._outstanding = np.zeros(_FIRST_SLOTS, np.int64)
        self._heap_ns, self._heap_slot = np.empty(_FIRST_HEAP, np.int64), np.empty(_FIRST_HEAP, np.int64)
        self._held = 0
        self._paid_ns = 0
        self._last_ready_ns = -1
        self._all = np.empty(0, np.int64)

    def add(self, ready_ns: Sequence[int], now_ns: int) -> None:
        """Start instances that will serve from these instants on; they are paid from now."""
        for ready in ready_ns:
            slot = self._empty_slot(now_ns)
            self._used[slot] = True
            self._ready_ns[slot], self._added_ns[slot] = ready, now_ns
            self._free_ns[slot] = ready
            self._outstanding[slot] = 0
        self._changed()

    def remove(self, count: int, now_ns: int) -> None:
        """Take out the instances that were added last: they answer what they have and are paid until then."""
        used = np.flatnonzero(self._used)
        last_first = used[np.lexsort((-used, -self._ready_ns[used]))]
        for slot in last_first[:count]:
            busy_until = int(self._free_ns[slot].max()) if self._outstanding[slot] else now_ns
            gone = max(now_ns, busy_until)
            self._paid_ns += gone - int(self._added_ns[slot])
            self._gone_ns[slot], self._ready_ns[slot], self._used[slot] = gone, _NEVER, False
        self._changed()

    def serving(self, at_ns: int) -> NDArray[np.int64]:
        """Slots of the instances that take requests at an instant."""
        return self._all if at_ns >= self._last_ready_ns else np.flatnonzero(self._ready_ns <= at_ns).astype(np.int64)

    def ready_between(self, begin_ns: int, end_ns: int) -> list[int]:
        """The instants inside an interval at which instances become ready."""
        if begin_ns >= self._last_ready_ns:
            return []
        inside = self._ready_ns[(self._ready_ns > begin_ns) & (self._ready_ns < end_ns)]
        return [int(instant) for instant in np.unique(inside)]

    def serve(
        self,
        arrive_ns: NDArray[np.int64],
        routing: NDArray[np.float64],
        drawing: NDArray[np.float64],
        active: NDArray[np.int64],
        begin_ns: int,
        end_ns: int,
    ) -> tuple[NDArray[np.int64], int, int]:
        """(when each request is done or kernel.REJECTED, requests answered meanwhile, request-ns outstanding)."""
        self._reserve(self._held + arrive_ns.size)
        done = np.empty(arrive_ns.size, np.int64)
        self._held, answered, area = kernel.serve(
            arrive_ns,
            routing,
            drawing,
            active,
            self._free_ns,
            self._outstanding,
            self._most_outstanding,
            self._least_outstanding,
            self._pool_ns,
            self._pool_start,
            self._heap_ns,
            self._heap_slot,
            self._held,
            begin_ns,
            end_ns,
            done,
        )
        return done, int(answered), int(area)  # without a compiler they are numpy scalars

    def paid_ns(self, end_ns: int) -> int:
        """Instance time paid for until the end."""
        return self._paid_ns + int((end_ns - self._added_ns[self._used]).sum())

    def _changed(self) -> None:
        """Most of the time everybody is in service; who that is need not be asked every time."""
        self._all = np.flatnonzero(self._used).astype(np.int64)
        self._last_ready_ns = int(self._ready_ns[self._used].max()) if self._all.size else -1

    def _empty_slot(self, now_ns: int) -> int:
        """A slot that nobody uses and whose last instance has answered everything."""
        free = np.flatnonzero(~self._used & (self._gone_ns < now_ns) & (self._outstanding == 0))
        if free.size:
            return int(free[0])
        slots = self._used.size
        self._ready_ns = np.concatenate([self._ready_ns, np.full(slots, _NEVER, np.int64)])
        self._added_ns = np.concatenate([self._added_ns, np.full(slots, -1, np.int64)])
        self._gone_ns = np.concatenate([self._gone_ns, np.full(slots, -1, np.int64)])
        self._used = np.concatenate([self._used, np.zeros(slots, np.bool_)])
        self._free_ns = np.concatenate([self._free_ns, np.zeros_like(self._free_ns)])
        self._outstanding = np.concatenate([self._outstanding, np.zeros(slots, np.int64)])
        return slots

    def _reserve(self, departures: int) -> None:
        if departures > self._heap_ns.size:
            more = np.empty(departures, np.int64)
            self._heap_ns = np.concatenate([self._heap_ns, more])
            self._heap_slot = np.concatenate([self._heap_slot, np.empty_like(more)])
