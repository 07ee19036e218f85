"""What follows a main stage, brought to one block: bias, residual and activation, computed where the result is stored."""

from __future__ import annotations

from typing import Any

from tvm.tirx import IndexMap

SPATIAL, REDUCTION = 0, 2  # tirx.IterVar.DataPar, CommReduce


def blocks_of(schedule: Any) -> list[Any]:
    """The leaf blocks in the order in which they run."""
    return [block for block in schedule.get_child_blocks(schedule.get_sblock("root")) if schedule.get(block).iter_vars]


def reduces(schedule: Any, block: Any) -> bool:
    return any(int(var.iter_type) == REDUCTION for var in schedule.get(block).iter_vars)


def name_of(schedule: Any, block: Any) -> str:
    return str(schedule.get(block).name_hint)


def extent(schedule: Any, loop: Any) -> int:
    return int(schedule.get(loop).extent)


def last_consumer(schedule: Any, main: Any) -> Any:
    """The block that stores what `main` leads to, all elementwise ones between inlined into it.

    Raises ValueError when there is no single one.
    """
    while True:
        consumers = schedule.get_consumers(main)
        between = [user for user in consumers if schedule.get_consumers(user)]
        if not between:
            if len(consumers) != 1:
                raise ValueError(f"the result of {name_of(schedule, main)} is stored by {len(consumers)} stages, not one")
            return consumers[0]
        schedule.compute_inline(between[0])


def flatten(schedule: Any, block: Any, groups: list[list[int]]) -> None:
    """Make each group of `block`'s axes one loop, so that it can be cut across their borders."""
    sizes = [int(var.dom.extent) for var in schedule.get(block).iter_vars]

    def index(*axes: Any) -> list[Any]:
        made = []
        for group in groups:
            value = axes[group[0]]
            for at in group[1:]:
                value = value * sizes[at] + axes[at]
            made.append(value)
        return made

    schedule.transform_block_layout(block, IndexMap.from_func(index, ndim=len(sizes)))
