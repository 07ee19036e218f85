"""Constants that are only moved (reshaped, transposed, blocked) are moved here: TVM would compile a kernel for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.expr_functor import mutator

from compilers.tvm.layouts import is_constant
from compilers.tvm.rewriter import Rewriter

_MOVES = ("relax.permute_dims", "relax.reshape", "relax.layout_transform")


def moved(call: Any, lookup: Callable[[Any], Any]) -> Any:
    """`call`, or the constant that it makes of a constant by moving its elements; `lookup` tells what a variable holds."""
    name = getattr(call.op, "name", "")
    if name not in _MOVES:
        return call
    source = lookup(call.args[0]) if isinstance(call.args[0], relax.Var) else call.args[0]
    if not is_constant(source):
        return call
    tensor = source.value
    if name == "relax.permute_dims":
        axes = None if call.attrs.axes is None else [int(axis) for axis in call.attrs.axes]
        return relax.const(np.ascontiguousarray(np.transpose(tensor.numpy(), axes)))
    if name == "relax.reshape":
        return relax.const(tensor.numpy().reshape([int(size) for size in call.ty.shape.values]))
    return _blocked(call, tensor.numpy())


def _blocked(call: Any, value: np.ndarray) -> Any:
    """NCHW to NCHW[c], the one layout that the pass gives to constants; any other stays a call."""
    size = [int(extent) for extent in call.ty.shape.values]
    if value.ndim != 4 or len(size) != 5 or size != [value.shape[0], value.shape[1] // size[4], *value.shape[2:], size[4]]:
        return call
    split = value.reshape(size[0], size[1], size[4], size[2], size[3])
    return relax.const(np.ascontiguousarray(split.transpose(0, 1, 3, 4, 2)))


def fold_moves(module: Any) -> Any:
    """`module` with every moved constant in its place."""
    return _Fold(module).run()


@mutator
class _Fold(Rewriter):
    def visit_call_(self, call: Any) -> Any:
        return moved(super().visit_call_(call), self.lookup_binding)
