"""What every request gets, in the order of their arrival: how long its service takes and how it is answered. Pure.

Services and kinds come from separate streams of the seed, so that adding errors leaves the service times as they were.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.truth.spec import Kind, Truth

BLOCK = 1024
"""Drawn at a time: few enough that nobody waits for it."""

LONGEST_S = 365.0 * 86400
"""A longer draw of a law without bounds counts as this long."""

_SERVICES, _KINDS = 0, 1


def services_ns(truth: Truth, n: int) -> NDArray[np.int64]:
    """The service times drawn for the first `n` requests, int64[n]; one answered with an error makes no use of its own."""
    blocks = itertools.islice(_service_blocks(truth), -(-n // BLOCK))
    return np.concatenate([*blocks, np.empty(0, np.int64)])[:n]


def draws(truth: Truth) -> Iterator[tuple[int, Kind]]:
    """Without end: service time in ns, and kind of answer."""
    edges = np.cumsum([share for _, share in truth.shares])
    names = [*(kind for kind, _ in truth.shares), Kind.GOOD]
    generator = _stream(truth.seed, _KINDS)
    for services in _service_blocks(truth):
        if truth.shares:
            kinds = [names[index] for index in np.searchsorted(edges, generator.random(BLOCK), side="right")]
        else:
            kinds = [Kind.GOOD] * BLOCK
        yield from zip(services.tolist(), kinds, strict=True)


def _service_blocks(truth: Truth) -> Iterator[NDArray[np.int64]]:
    generator = _stream(truth.seed, _SERVICES)
    while True:
        # The quantile of a uniform share follows the law exactly: inverse transform sampling.
        times_s = np.minimum(truth.law.quantiles_s(generator.random(BLOCK)), LONGEST_S)
        yield np.rint(times_s * 1e9).astype(np.int64)


def _stream(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,))))
