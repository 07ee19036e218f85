from __future__ import annotations

from dataclasses import replace

import pytest

from compilers.targets import Target, resolve
from compilers.tvm.cuts import Cut, attention_cut, candidates, default, depth_block, row_tiles
from compilers.tvm.tiles import Tile, fits, round_up
from compilers.tvm.work import Convolution, ConvShape, Product, Work, describe, parse


def conv(
    channels: int, filters: int, size: int, kernel: int, *, groups: int = 1, stride: int = 1, lanes: int = 16
) -> Convolution:
    border = kernel // 2
    shape = ConvShape(
        batch=1,
        channels=channels,
        height=size,
        width=size,
        filters=filters,
        kernel=(kernel, kernel),
        strides=(stride, stride),
        padding=(border,) * 4,
        dilation=(1, 1),
        groups=groups,
    )
    return Convolution(shape=shape, in_chunk=None if channels < 4 else lanes, out_chunk=lanes)


WORKS: tuple[Work, ...] = (
    Product(rows=128, depth=768, columns=3072),
    Product(rows=197, depth=3072, columns=768),
    Product(rows=1, depth=2048, columns=1000),
    Product(rows=7, depth=1009, columns=50),
    conv(64, 256, 56, 1),
    conv(2048, 512, 7, 1),
    conv(128, 128, 28, 3),
    conv(256, 256, 28, 3, stride=2),
    conv(96, 96, 56, 3, groups=96),
    conv(3, 64, 224, 7, stride=2),
)
TARGETS = [resolve(name) for name in ("skylake-avx512", "haswell", "rasp4b")]


def fitted(work: Work, target: Target) -> Work:
    return work if isinstance(work, Product) else replace(work, in_chunk=work.in_chunk and target.lanes, out_chunk=target.lanes)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.name))
@pytest.mark.parametrize("work", WORKS, ids=str)
def test_every_candidate_can_be_built(work: Work, target: Target) -> None:
    for cut in candidates(fitted(work, target), target, winograd=4):
        registers, on_arm = target.vector_registers, target.arch == "arm64"
        assert fits(cut.tile, lanes=target.lanes, registers=registers, stacked=cut.depth == 0, row_vectors=on_arm)
        if isinstance(work, Product):
            assert cut.depth == 0 or work.depth % cut.depth == 0
            assert work.rows <= cut.covered(work.rows) < work.rows + cut.tile.rows * cut.tiles
        elif not work.shape.is_depthwise:
            assert (work.shape.filters // target.lanes) % cut.tile.vectors == 0


def test_the_default_is_the_first_candidate() -> None:
    for work in WORKS:
        assert default(work, TARGETS[0], winograd=4) == candidates(work, TARGETS[0], winograd=4)[0]


@pytest.mark.parametrize(("largest", "want"), [(4, 4), (2, 2), (0, 0)])
def test_winograd_no_larger_than_allowed(largest: int, want: int) -> None:
    work = conv(128, 128, 28, 3)
    assert default(work, TARGETS[0], winograd=largest).winograd == want
    assert all(cut.winograd <= largest for cut in candidates(work, TARGETS[0], winograd=largest))


def test_a_long_reduction_is_cut_so_that_its_weights_stay_in_the_first_cache() -> None:
    target = replace(TARGETS[0], l1d_bytes=49152)
    cut = default(Product(rows=128, depth=3072, columns=768), target, winograd=0)
    assert 0 < cut.depth * cut.tile.vectors * target.lanes * 4 <= 49152
    assert default(Product(rows=128, depth=64, columns=768), target, winograd=0).depth == 0


def test_few_rows_ask_for_weights_ahead_and_many_do_not() -> None:
    assert default(conv(2048, 512, 7, 1), TARGETS[0], winograd=0).prefetch
    assert not default(conv(64, 256, 56, 1), TARGETS[0], winograd=0).prefetch
    # One row reads each weight once: there is nothing to hide the waiting behind.
    assert not default(Product(rows=1, depth=2048, columns=1000), TARGETS[0], winograd=0).prefetch


def test_no_core_is_left_without_a_task_where_a_narrower_panel_avoids_it() -> None:
    work = conv(2048, 512, 7, 1)
    for cores in (2, 8):
        cut = default(work, replace(TARGETS[0], num_cores=cores), winograd=0)
        assert (512 // 16 // cut.tile.vectors) % cores == 0


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.name))
@pytest.mark.parametrize(
    ("rows", "keys", "depth"), [(197, 197, 64), (128, 128, 64), (1, 40, 64), (13, 13, 24), (2048, 2048, 128)]
)
def test_an_attention_is_cut_into_whole_blocks_whose_scores_stay_in_the_first_cache(
    rows: int, keys: int, depth: int, target: Target
) -> None:
    cut = attention_cut(rows, keys, depth, target)
    for tile in (cut.scores, cut.mixed):
        assert fits(tile, lanes=target.lanes, registers=target.vector_registers, row_vectors=target.arch == "arm64")
        assert cut.block % tile.rows == 0
    assert depth // target.lanes % cut.mixed.vectors == 0
    wide = round_up(keys, cut.scores.vectors * target.lanes)
    # Of long rows only a few would fit, and a tile of so few wastes more than the second-level cache costs.
    assert 4 * wide * cut.block <= (target.l1d_bytes or 32768) or (keys == 2048 and cut.block <= 32)
    assert round_up(rows, cut.block) <= 1.05 * rows + 3


@pytest.mark.parametrize(
    ("depth", "step_bytes", "want"),
    [(768, 256, 128), (64, 256, 0), (136, 256, 68), (1009, 256, 0), (48, 4096, 8), (17, 40000, 1)],
)
def test_blocks_divide_the_reduction_or_there_is_one(depth: int, step_bytes: int, want: int) -> None:
    assert depth_block(depth, step_bytes, 49152) == want


def test_tasks_have_a_bounded_number_of_rows() -> None:
    for rows in (1, 49, 197, 784, 3136, 12544):
        for tile in (2, 3, 4, 7):
            tiles = row_tiles(rows, tile)
            assert tiles * tile <= 256 + tile
            assert round_up(rows, tile * tiles) <= 1.04 * rows + tile


def test_a_cut_survives_its_way_through_annotations() -> None:
    cut = Cut(tile=Tile(rows=3, vectors=4), depth=8, tiles=17, prefetch=True)
    assert Cut.read(cut.attrs(16, 12345678901)) == cut
    assert cut.attrs(16, 12345678901)["flops"] == "12345678901"


@pytest.mark.parametrize("work", WORKS, ids=str)
def test_work_survives_json(work: Work) -> None:
    assert parse(describe(work)) == work


@pytest.mark.parametrize(
    "bad", [{"kind": "dance"}, {"kind": "product", "rows": -1, "depth": 2, "columns": 3}, {}, {"kind": "product"}]
)
def test_what_is_no_work_is_refused(bad: object) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        parse(bad)
