"""The queue itself, request by request: FIFO servers, any arrivals, any sequence of services (Kiefer and Wolfowitz, 1955).

All replicates advance together, so that a request costs a few operations on whole arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def sojourn_ms(gaps_ms: Floats, idle_ms: Floats, busy_ms: Floats, servers: int) -> Floats:
    """Time from arrival to answer, shape (n, replicates), of queues that start empty.

    `gaps_ms` are the times since the arrival before, `idle_ms` the service of a request that finds nobody there and `busy_ms`
    of one that finds others; all of shape (n, replicates) or what broadcasts to it.
    """
    shape = np.broadcast_shapes(gaps_ms.shape, idle_ms.shape, busy_ms.shape)
    gaps, idle, busy = (np.broadcast_to(array, shape) for array in (gaps_ms, idle_ms, busy_ms))
    left = np.zeros((servers, shape[1]))
    found, spare = np.empty(shape), np.empty(shape[1])
    for k in range(shape[0]):
        left -= gaps[k]
        np.maximum(left, 0.0, out=left)
        # Rows are sorted: the first server is free first, and nobody is there when even the last has nothing left.
        found[k] = left[0] + np.where(left[-1] > 0, busy[k], idle[k])
        left[0] = found[k]
        # Only the first row can be out of place; one pass carries it to where it belongs.
        for row in range(servers - 1):
            np.minimum(left[row], left[row + 1], out=spare)
            np.maximum(left[row], left[row + 1], out=left[row + 1])
            left[row] = spare
    return found


def blocks(n: int, length: int, block: int, replicates: int, rng: np.random.Generator) -> Indices:
    """Indices into n values, shape (length, replicates): blocks of consecutive values drawn with replacement, joined."""
    block = max(1, min(block, n))
    starts = rng.integers(0, n - block + 1, size=(-(-length // block), 1, replicates))
    joined = (starts + np.arange(block)[None, :, None]).reshape(-1, replicates)
    return np.asarray(joined[:length], dtype=np.int64)
