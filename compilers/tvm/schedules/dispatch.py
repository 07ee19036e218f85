"""Which schedule a kernel gets: the rule its main stage is named after, and the generic one for the stages around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compilers.tvm.rules import attention, conv, dense, depthwise, rows, winograd
from compilers.tvm.schedules import epilogue, generic, product
from compilers.tvm.schedules.attention import schedule_attention
from compilers.tvm.schedules.depthwise import schedule_depthwise
from compilers.tvm.schedules.rows import schedule_rows
from compilers.tvm.schedules.winograd import schedule_winograd

RULES: dict[str, Callable[[Any, Any], None]] = {
    conv.CONV: product.schedule_direct,
    conv.POINTWISE: product.schedule_pointwise,
    dense.DENSE: product.schedule_dense,
    depthwise.DEPTHWISE: schedule_depthwise,
    winograd.PRODUCT: schedule_winograd,
    rows.LAYER_NORM: schedule_rows,
    attention.MIXED: schedule_attention,
    rows.SOFTMAX: schedule_rows,
}
"""The schedule of each main stage, by the stage's name."""


def schedule_kernel(schedule: Any, lanes: int) -> str:
    """Schedule every stage in place; the name of the rule that decided, or what kind of generic kernel it is.

    Raises ValueError, or what tvm raises when a primitive does not apply.
    """
    names = [epilogue.name_of(schedule, block) for block in epilogue.blocks_of(schedule)]
    found = [name for name in names if name in RULES]
    for name in found:
        RULES[name](schedule, schedule.get_sblock(name))
    kind = generic.schedule_rest(schedule, lanes, frozenset(found))
    return found[0].removesuffix("_tile").removesuffix("_out") if found else kind
