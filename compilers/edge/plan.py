"""Where every tensor of a model lies, decided before it runs: weights in the library, all others in one arena. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALIGNMENT = 64
"""Bytes; kernels load whole vectors from where a tensor begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor: `constant` is its content, if it has one; `view_of` another value whose memory it is, in another shape."""

    dtype: str
    shape: tuple[int, ...]
    constant: np.ndarray | None = None
    view_of: int | None = None

    @property
    def size_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One kernel: its arguments are values by number, those that it writes last."""

    kernel: str
    arguments: tuple[int, ...]
    writes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    values: tuple[Value, ...]
    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    in_weights: bool
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    graph: Graph
    places: tuple[Place, ...]
    """Of every value, by number."""
    arena_bytes: int
    weights_bytes: int
    constants: tuple[int, ...]
    """The values whose content is in the weights, each once, in the order of their offsets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A piece of memory, needed from the call `first` to the call `last`, both included; -1 is before the first one."""

    value: int
    size_bytes: int
    first: int
    last: int

    def meets(self, other: Life) -> bool:
        return self.first <= other.last and other.first <= self.last


def arrange(graph: Graph) -> Plan:
    """A place for every value. Values that are never needed at once may share memory."""
    weights, weights_bytes, constants = _weights(graph)
    lives = lifetimes(graph)
    offsets, arena_bytes = pack(lives)
    places = []
    for at in range(len(graph.values)):
        owner = owner_of(graph, at)
        if graph.values[owner].constant is not None:
            places.append(Place(in_weights=True, offset=weights[owner]))
        else:
            places.append(Place(in_weights=False, offset=offsets.get(owner, 0)))
    return Plan(
        graph=graph,
        places=tuple(places),
        arena_bytes=arena_bytes,
        weights_bytes=weights_bytes,
        constants=constants,
    )


def owner_of(graph: Graph, value: int) -> int:
    """The value whose memory `value` is."""
    while (view_of := graph.values[value].view_of) is not None:
        value = view_of
    return value


def lifetimes(graph: Graph) -> list[Life]:
    """From the call that writes a value to the last that reads it; inputs from the start, outputs to the end."""
    first = {owner_of(graph, at): -1 for at in graph.inputs}
    last: dict[int, int] = dict(first)
    for index, call in enumerate(graph.calls):
        for at in call.arguments:
            owner = owner_of(graph, at)
            first.setdefault(owner, index)
            last[owner] = index
    for at in graph.outputs:
        last[owner_of(graph, at)] = len(graph.calls)
    return [
        Life(value=at, size_bytes=graph.values[at].size_bytes, first=first.get(at, -1), last=end)
        for at, end in sorted(last.items())
        if graph.values[at].constant is None
    ]


def pack(lives: Sequence[Life]) -> tuple[dict[int, int], int]:
    """Offsets by value and the bytes needed: the largest first, each in the tightest gap that those beside it leave."""
    placed: list[tuple[int, Life]] = []
    for life in sorted(lives, key=lambda life: (-life.size_bytes, life.first, life.value)):
        taken = sorted((offset, offset + other.size_bytes) for offset, other in placed if life.meets(other))
        placed.append((_gap(taken, life.size_bytes), life))
    total = max((offset + life.size_bytes for offset, life in placed), default=0)
    return {life.value: offset for offset, life in placed}, aligned(total)


def _gap(taken: Sequence[tuple[int, int]], size_bytes: int) -> int:
    best: tuple[int, int] | None = None
    at = 0
    for begin, end in taken:
        room = begin - at
        if room >= size_bytes and (best is None or room < best[0]):
            best = (room, at)
        at = max(at, aligned(end))
    return at if best is None else best[1]


def aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT


def _weights(graph: Graph) -> tuple[dict[int, int], int, tuple[int, ...]]:
    """Offsets of constants; those of the same content share one."""
    offsets: dict[int, int] = {}
    seen: dict[tuple[str, bytes], int] = {}
    kept: list[int] = []
    end = 0
    for at, value in enumerate(graph.values):
        if value.constant is None:
            continue
        content = (value.dtype, value.constant.tobytes())
        if content not in seen:
            seen[content] = aligned(end)
            end = aligned(end) + len(content[1])
            kept.append(at)
        offsets[at] = seen[content]
    return offsets, end, tuple(kept)
