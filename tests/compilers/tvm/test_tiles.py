from __future__ import annotations

import pytest

from compilers.tvm import tiles
from compilers.tvm.tiles import Tile, chunk, fits, ranked, winograd_tile

PROCESSORS = [(8, 16), (16, 32), (4, 32), (4, 16)]


@pytest.mark.parametrize(("lanes", "registers"), PROCESSORS)
def test_every_tile_fits_the_registers_and_covers_the_output(lanes: int, registers: int) -> None:
    for rows in (1, 2, 7, 13, 14, 49, 56, 196, 197, 3136):
        for vectors in (1, 2, 3, 5, 8, 12, 96):
            tile = ranked(rows, vectors, lanes=lanes, registers=registers)[0]
            assert fits(tile, lanes=lanes, registers=registers)
            assert vectors % tile.vectors == 0
            assert tile.covered(rows) >= rows
            assert tile.covered(rows) - rows < tile.rows


@pytest.mark.parametrize(("lanes", "registers"), PROCESSORS)
def test_the_tile_is_the_cheapest_of_all_that_fit(lanes: int, registers: int) -> None:
    for rows, vectors in ((56, 8), (49, 64), (1, 125), (197, 96)):
        best = ranked(rows, vectors, lanes=lanes, registers=registers, whole_vectors=False)[0]
        for n in range(1, registers):
            for m in range(1, 9):
                other = Tile(rows=n, vectors=m)
                if fits(other, lanes=lanes, registers=registers) and n <= rows and m <= vectors:
                    assert tiles.cost(best, rows, vectors) <= tiles.cost(other, rows, vectors)


def test_large_outputs_get_enough_chains_to_hide_the_latency() -> None:
    for lanes, registers in PROCESSORS:
        assert ranked(3136, 8, lanes=lanes, registers=registers)[0].accumulators >= 8


def test_avx2_never_spills() -> None:
    # 2 x 7 tiles need 17 registers of 16; measured at half the speed.
    assert not fits(Tile(rows=7, vectors=2), lanes=8, registers=16)
    assert fits(Tile(rows=6, vectors=2), lanes=8, registers=16)
    # 17 accumulators of 64 bytes would leave the stack.
    assert not fits(Tile(rows=17, vectors=1), lanes=16, registers=32)


@pytest.mark.parametrize(
    ("channels", "lanes", "want"),
    [(64, 16, 16), (24, 16, 8), (24, 8, 8), (20, 8, 4), (20, 16, 4), (6, 8, None), (3, 8, None), (12, 4, 4), (1, 8, None)],
)
def test_chunk(channels: int, lanes: int, want: int | None) -> None:
    assert chunk(channels, lanes) == want


@pytest.mark.parametrize(
    ("side", "largest", "want"), [(56, 4, 4), (56, 2, 2), (56, 0, 0), (14, 4, 2), (14, 2, 2), (7, 4, 2), (5, 4, 0), (28, 4, 4)]
)
def test_winograd_only_where_its_weights_pay(side: int, largest: int, want: int) -> None:
    assert winograd_tile(side, side + 3, largest=largest) == want
