"""How a kernel is cut into register tiles for one processor. Pure: integers in, integers out.

A tile holds `rows` x `vectors` accumulators of `lanes` values. One step of the reduction loads `vectors` vectors, broadcasts
`rows` scalars one after the other and does rows * vectors multiply-adds: rows * vectors + vectors + 1 registers are live.
"""

from __future__ import annotations

from dataclasses import dataclass

_LATENCY_CHAINS = 12
"""Independent multiply-adds that keep two units of latency four busy: eight on paper, more where loads come late."""
_MANY_ROWS, _ROW_WEIGHT = 8, 0.02
"""Rows from which on each one costs: their data lies in as many places, which share the ways of a cache."""
_LOADS_PER_FMA = 0.75
"""Loads per multiply-add that a core sustains: two of each per cycle on paper, less with the stores and addresses between."""
_LOAD_WEIGHT = 0.1
"""What a load per multiply-add costs below that."""
_FIRST_TILE_WEIGHT = 1.5
"""What the first row tile of a panel, which waits for its weights or for the next panel's, adds to its share of the rows."""
_SMALLEST_WINOGRAD_MAP, _SMALLEST_F43_MAP = 6, 28
"""The shorter side of an output map from which on each is used. F(2,3) beat a direct kernel on the 7 x 7 maps of resnet50."""
_STACK_BYTES = 1024
"""TVM puts a local buffer that is not smaller on the heap, where it may not be kept in registers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    rows: int
    """Pixels or matrix rows: scalars that are broadcast."""
    vectors: int
    """Vectors of output channels or matrix columns."""

    @property
    def accumulators(self) -> int:
        return self.rows * self.vectors

    def covered(self, rows: int) -> int:
        """How many rows are computed for `rows` of them: whole tiles."""
        return round_up(rows, self.rows)


def round_up(value: int, step: int) -> int:
    """The smallest multiple of `step` that is at least `value`."""
    return -(-value // step) * step


def chunk(channels: int, lanes: int) -> int | None:
    """How many channels lie side by side in a blocked layout: the widest power of two up to `lanes`, or None if below 4."""
    size = lanes
    while size >= min(4, lanes):
        if channels % size == 0:
            return size
        size //= 2
    return None


def fits(tile: Tile, *, lanes: int, registers: int, stacked: bool = True, row_vectors: bool = False) -> bool:
    """Whether the accumulators with their operands stay in registers, and (`stacked`) on the stack of the kernel.

    With `row_vectors` a row's scalars come a vector at a time, as on ARM, and not one by one from memory, as on x86. A quarter
    of the registers stays free of accumulators: LLVM loads ahead, and spills where it has no room for it.
    """
    live = tile.accumulators + tile.vectors + (tile.rows if row_vectors else 1)
    small = not stacked or tile.accumulators * lanes * 4 < _STACK_BYTES
    return small and live <= registers and 4 * tile.accumulators <= 3 * registers


def cost(tile: Tile, rows: int, vectors: int, *, repeats: int = 1) -> float:
    """Relative time per useful multiply-add of a rows x vectors output cut into `tile`; 1 is the processor's peak.

    The wasted part of the last tiles, too few independent chains to hide the latency, loads, the more so beyond what goes
    beside the arithmetic, many rows, and few tiles that share a panel of weights (`repeats` such outputs do), each stretch
    it. The weights were fitted to kernels of the built-in models timed on one core with AVX-512.
    """
    waste = round_up(rows, tile.rows) * round_up(vectors, tile.vectors) / (rows * vectors)
    latency: float = max(1.0, _LATENCY_CHAINS / tile.accumulators) ** 0.75
    loads = (tile.rows + tile.vectors) / tile.accumulators
    loading = max(1.0, loads / _LOADS_PER_FMA) * (1 + _LOAD_WEIGHT * loads)
    spread = 1 + _ROW_WEIGHT * max(0, tile.rows - _MANY_ROWS)
    first = 1 + _FIRST_TILE_WEIGHT * tile.rows / (repeats * round_up(rows, tile.rows))
    return waste * latency * loading * spread * first


def ranked(
    rows: int,
    vectors: int,
    *,
    lanes: int,
    registers: int,
    whole_vectors: bool = True,
    row_vectors: bool = False,
    stacked: bool = True,
    repeats: int = 1,
) -> list[Tile]:
    """The tiles that fit for a rows x vectors output, the cheapest by `cost` first; of two that cost the same, the larger one.

    `whole_vectors` allows only counts that divide `vectors`, as a blocked layout needs it; the rest is as in `fits` and `cost`.
    """
    counts = [m for m in range(1, min(vectors, 8) + 1) if not whole_vectors or vectors % m == 0]
    every = [Tile(rows=n, vectors=m) for m in counts for n in range(1, min(rows, registers) + 1)]
    allowed = [tile for tile in every if fits(tile, lanes=lanes, registers=registers, stacked=stacked, row_vectors=row_vectors)]
    return sorted(allowed, key=lambda tile: (cost(tile, rows, vectors, repeats=repeats), -tile.accumulators, -tile.vectors))


def winograd_tile(height: int, width: int, *, largest: int) -> int:
    """The output tile of a Winograd convolution for a map: 4, 2, or 0 for none; at most `largest` (0, 2 or 4).

    Transformed weights are 4 times the size for F(4,3) and 16/9 for F(2,3), and tiles at the border are computed whole: on
    small maps, that costs more than the multiplications that are saved.
    """
    side = min(height, width)
    if side < _SMALLEST_WINOGRAD_MAP:
        return 0
    return min(largest, 4) if side >= _SMALLEST_F43_MAP else min(largest, 2)
