"""How each kernel is cut for one processor: its register tile, its blocks for the caches, its Winograd tile. Pure.

The reduction of a matrix product is done in blocks, of which the weights fill a part of the first-level cache, for many row
tiles; between blocks the sums lie in the cache. A reduction that fits in one block stays in registers to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import lcm
from typing import Any

from compilers.targets.noun import Target
from compilers.tvm.tiles import Tile, cost, fits, ranked, round_up, winograd_tile
from compilers.tvm.work import Convolution, Product, Work

_L1_BYTES = 32768
"""The first-level cache of a core whose table does not say."""
_L1_SHARE = 0.7
"""Of the first-level cache for a block's weights; the rest is for data and sums."""
_SCORES_SHARE = 0.5
"""Of the first-level cache for the scores of a block of an attention's rows; the rest is for keys and values."""
_REREAD = 0.15
"""What reading an attention's keys from the second-level cache for every block adds, if the block is one row tile. Assumed: it
only ranks cuts, and what it chooses took at most 1.1 % longer than the fastest of forty at 197 tokens."""
_SPILLED = 1.07
"""What scores that do not fit there cost: measured with those of a whole head of 512 tokens."""
_AGAIN = 4.0
"""Steps of the reduction that take as long as reading and writing the sums once more, for the next block."""
_TASK_ROWS = 256
"""Rows of one task; its sums, of a panel's width, stay in the second-level cache."""
_COLD_ROWS = 512
"""With more rows than this a panel is used for so long that waiting for the next one is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The parameters of one kernel."""

    tile: Tile
    depth: int = 0
    """Of a block of the reduction, in steps of its outermost axis; 0 for a reduction in one piece."""
    tiles: int = 1
    """Row tiles of one task."""
    prefetch: bool = False
    """Whether the next stretch of the weights is asked for while one is in use."""
    winograd: int = 0
    """The output tile of a 3x3 convolution by Winograd's algorithm: 4, 2, or 0 for a direct one."""

    def covered(self, rows: int) -> int:
        """How many rows are computed for `rows` of them: whole tasks."""
        return round_up(rows, self.tile.rows * self.tiles)

    def attrs(self, lanes: int, flops: int) -> dict[str, Any]:
        """Annotations of a main stage: its cut, which the schedule reads back after fusion, and its work.

        The work is text because TVM's integers are of 32 bits here.
        """
        sizes = {"rows": self.tile.rows, "vectors": self.tile.vectors, "depth": self.depth, "tiles": self.tiles}
        return {**sizes, "prefetch": int(self.prefetch), "lanes": lanes, "flops": str(flops)}

    @classmethod
    def read(cls, notes: Mapping[str, Any]) -> Cut:
        """The cut that `attrs` noted."""
        tile = Tile(rows=int(notes["rows"]), vectors=int(notes["vectors"]))
        return cls(tile=tile, depth=int(notes["depth"]), tiles=int(notes["tiles"]), prefetch=bool(int(notes["prefetch"])))


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCut:
    """The parameters of one attention."""

    scores: Tile
    """Of the product of queries and keys: query rows by vectors of keys."""
    mixed: Tile
    """Of the product of weights and values: query rows by vectors of one head's elements."""
    block: int
    """Query rows that go from score to result together: whole tiles of both."""


Choose = Callable[[Work], Cut]


def default(work: Work, target: Target, *, winograd: int) -> Cut:
    """The cut that follows from the shape and the target alone; `winograd` is the largest Winograd tile allowed."""
    return candidates(work, target, winograd=winograd)[0]


def candidates(work: Work, target: Target, *, winograd: int) -> list[Cut]:
    """Every cut worth trying, the one that promises most first."""
    if isinstance(work, Product):
        vectors = -(-work.columns // target.lanes)
        return _products(work.rows, work.depth, vectors, target, step=1, lanes=target.lanes, whole=False)
    shape, lanes = work.shape, work.out_chunk
    vectors = shape.filters // shape.groups // lanes
    if shape.is_depthwise and work.in_chunk is not None:
        return [Cut(tile=ranked(shape.out_width, 1, lanes=lanes, registers=target.vector_registers)[0])]
    made: list[Cut] = []
    if shape.suits_winograd and work.in_chunk is not None:
        best = winograd_tile(shape.out_height, shape.out_width, largest=winograd)
        made = [cut for m in sorted({best, winograd and 2}, key=lambda m: m != best) if m for cut in _winograd(work, target, m)]
    if shape.is_pointwise and work.in_chunk is not None:
        pixels, chunks = shape.out_height * shape.out_width, shape.channels // work.in_chunk
        return _products(pixels, chunks, vectors, target, step=work.in_chunk, lanes=lanes, whole=True)
    return made + _direct(work, target, vectors)


def attention_cut(rows: int, keys: int, depth: int, target: Target) -> AttentionCut:
    """The cheapest cut of one head's attention: few rows wasted, and a block's scores in a part of the first-level cache."""
    lanes, columns, deep = target.lanes, -(-keys // target.lanes), depth // target.lanes
    budget = int((target.l1d_bytes or _L1_BYTES) * _SCORES_SHARE) // (4 * lanes)
    made: list[tuple[float, int, AttentionCut]] = []
    for scores in _ranked(rows, columns, target, lanes, whole=False):
        wide = round_up(columns, scores.vectors)
        for mixed in _ranked(rows, deep, target, lanes, whole=True):
            step = lcm(scores.rows, mixed.rows)
            for block in range(step, max(step, min(budget // wide, round_up(rows, step))) + 1, step):
                total = round_up(rows, block)
                again = total // block
                each = cost(scores, block, columns, repeats=again) + cost(mixed, block, deep, repeats=again)
                where = (1 + _REREAD * scores.rows / block) * (1.0 if block * wide <= budget else _SPILLED)
                cut = AttentionCut(scores=scores, mixed=mixed, block=block)
                made.append((each * where * total / rows, -block, cut))
    return min(made, key=lambda entry: entry[:2])[2]


def _direct(work: Convolution, target: Target, vectors: int) -> list[Cut]:
    shape = work.shape
    cold = shape.batch * shape.out_height * shape.out_width <= _COLD_ROWS
    # Every row of the map reads the whole panel.
    tiles = _ranked(shape.out_width, vectors, target, work.out_chunk, whole=True, repeats=shape.out_height)
    return [Cut(tile=tile, prefetch=cold) for tile in tiles]


def _winograd(work: Convolution, target: Target, m: int) -> list[Cut]:
    shape, lanes = work.shape, work.out_chunk
    count = shape.batch * -(-shape.out_height // m) * -(-shape.out_width // m)
    vectors, chunks = shape.filters // lanes, shape.channels // (work.in_chunk or 1)
    found = _products(count, chunks, vectors, target, step=work.in_chunk or 1, lanes=lanes, whole=True)
    return [Cut(tile=cut.tile, depth=cut.depth, tiles=cut.tiles, prefetch=cut.prefetch, winograd=m) for cut in found]


def _products(rows: int, depth: int, vectors: int, target: Target, *, step: int, lanes: int, whole: bool) -> list[Cut]:
    """Cuts of a rows x vectors output whose reduction has `depth` steps of `step` values each."""
    made: list[tuple[float, Cut]] = []
    for tile in _ranked(rows, vectors, target, lanes, whole=whole, stacked=False):
        block = depth_block(depth, step * tile.vectors * lanes * 4, target.l1d_bytes or _L1_BYTES)
        # Sums that are kept in registers to the end lie in a local buffer, whose size is bounded.
        if block == 0 and not _fits(tile, target, lanes, stacked=True):
            continue
        again = 1 + _AGAIN / (block * step) if block else 1.0
        cut = Cut(tile=tile, depth=block, tiles=row_tiles(rows, tile.rows), prefetch=1 < rows <= _COLD_ROWS)
        tasks = -(-vectors // tile.vectors) * (cut.covered(rows) // (cut.tiles * tile.rows))
        idle = round_up(tasks, target.num_cores or 1) / tasks
        made.append((cost(tile, rows, vectors) * again * idle, cut))
    return [cut for _, cut in sorted(made, key=lambda pair: pair[0])]


def _ranked(
    rows: int, vectors: int, target: Target, lanes: int, *, whole: bool, stacked: bool = True, repeats: int = 1
) -> list[Tile]:
    registers, row_vectors = target.vector_registers, target.arch.startswith("arm")
    return ranked(
        rows,
        vectors,
        lanes=lanes,
        registers=registers,
        whole_vectors=whole,
        row_vectors=row_vectors,
        stacked=stacked,
        repeats=repeats,
    )


def _fits(tile: Tile, target: Target, lanes: int, *, stacked: bool) -> bool:
    registers, row_vectors = target.vector_registers, target.arch.startswith("arm")
    return fits(tile, lanes=lanes, registers=registers, stacked=stacked, row_vectors=row_vectors)


def depth_block(depth: int, step_bytes: int, l1_bytes: int) -> int:
    """The steps of one block of a reduction whose step reads `step_bytes` of weights; 0 for all in one piece.

    Only a divisor of `depth` is taken: a ragged last block would be guarded at every step.
    """
    limit = max(1, int(l1_bytes * _L1_SHARE) // step_bytes)
    if depth <= limit:
        return 0
    block = max(size for size in range(1, limit + 1) if depth % size == 0)
    return block if 3 * block >= limit else 0


def row_tiles(rows: int, tile_rows: int) -> int:
    """Row tiles per task: as many as make about `_TASK_ROWS` rows, with the fewest tiles added to fill the last task."""
    total = -(-rows // tile_rows)
    most = max(1, _TASK_ROWS // tile_rows)
    if total <= most:
        return total
    return min(range(max(1, most // 2), most + 1), key=lambda tiles: (round_up(total, tiles), -tiles))
