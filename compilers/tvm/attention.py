"""Finds scaled dot-product attention in a Relax function and makes it one call, its reshapes and transposes gone.

An exporter spells the heads in many ways, so chains of reshape, permute and scaling are not matched but evaluated: applied to
the numbers 0, 1, 2 … they must give the permutation that attention means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.expr_functor import mutator

from compilers.targets import Target
from compilers.tvm.cuts import attention_cut
from compilers.tvm.layouts import is_constant, static_shape
from compilers.tvm.rewriter import Rewriter
from compilers.tvm.rules.attention import Attention, Heads, attention

_MOVES = ("relax.permute_dims", "relax.reshape")
_SCALES = {"relax.multiply": 1.0, "relax.divide": -1.0}
OPAQUE = {"op_pattern": 8}  # kOpaque: fused with nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A tensor reached from `base` by moves (`steps`, from the base on) and one factor."""

    base: Any
    steps: tuple[Any, ...]
    scale: float

    def permutation(self) -> np.ndarray:
        """The moves applied to the indices of `base`."""
        shape = static_shape(self.base) or ()
        index = np.arange(int(np.prod(shape))).reshape(shape)
        for call in self.steps:
            if call.op.name == "relax.reshape":
                index = index.reshape([int(size) for size in call.ty.shape.values])
            else:
                axes = None if call.attrs.axes is None else [int(axis) for axis in call.attrs.axes]
                index = index.transpose(axes)
        return index


def fuse_attention(module: Any, target: Target) -> Any:
    """`module` with every attention that is recognised as one kernel; what feeds it is dropped where nothing else reads it."""
    module = _Fuse(module, target).run()
    return relax.transform.DeadCodeElimination()(module)


@mutator
class _Fuse(Rewriter):
    def __init__(self, module: Any, target: Target) -> None:
        super().__init__(module)
        self._target = target

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if getattr(call.op, "name", "") != "relax.reshape" or len(static_shape(call) or ()) != 3:
            return call
        fused = self._attention(call)
        return call if fused is None else fused

    def _made(self, value: Any) -> Any:
        """The call behind a variable, or None."""
        made = self.lookup_binding(value) if isinstance(value, relax.Var) else value
        return made if isinstance(made, relax.Call) and hasattr(made.op, "name") else None

    def _chain(self, value: Any, last: Any = None) -> Chain | None:
        """Back from `value` through moves and scalings, as far as they go."""
        steps: list[Any] = [last] if last is not None else []
        scale = 1.0
        while True:
            call = self._made(value)
            if call is not None and call.op.name in _MOVES:
                steps.insert(0, call)
                value = call.args[0]
                continue
            factor = _scalar(call) if call is not None else None
            if call is None or factor is None:
                return Chain(base=value, steps=tuple(steps), scale=scale) if static_shape(value) else None
            scale *= factor[1]
            value = factor[0]

    def _attention(self, output: Any) -> Any:
        result = self._chain(output.args[0], output)
        product = self._made(result.base) if result is not None else None
        if result is None or product is None or product.op.name != "relax.matmul" or result.scale != 1.0:
            return None
        weights, nan_to_zero = self._without_nan(product.args[0])
        softmax = self._made(weights)
        shape = static_shape(weights)
        if softmax is None or softmax.op.name != "relax.nn.softmax" or shape is None or len(shape) != 4:
            return None
        if int(softmax.attrs.axis) not in (-1, 3):
            return None
        scores = self._scores(softmax.args[0])
        value = self._chain(product.args[1])
        if scores is None or value is None or value.scale != 1.0:
            return None
        query, key, mask, scale = scores
        heads = _heads(shape, query, key, value, result)
        if heads is None:
            return None
        return self._emit(heads, [query.base, key.base, value.base], mask, scale, nan_to_zero, output)

    def _without_nan(self, value: Any) -> tuple[Any, bool]:
        """where(isnan(x), 0, x) is x, and True."""
        call = self._made(value)
        if call is None or call.op.name != "relax.where" or not is_constant(call.args[1]):
            return value, False
        test = self._made(call.args[0])
        zero = not call.args[1].value.numpy().any()
        if test is not None and test.op.name == "relax.isnan" and zero and test.args[0].same_as(call.args[2]):
            return call.args[2], True
        return value, False

    def _scores(self, value: Any) -> tuple[Chain, Chain, Any, float] | None:
        """Query, key, mask (or None) and the product of all scalings of softmax's argument."""
        call, mask = self._made(value), None
        if call is not None and call.op.name == "relax.add":
            sides = [self._unscaled(side) for side in call.args]
            at = next((at for at, side in enumerate(sides) if side[0] is not None), None)
            if at is None:
                return None
            (call, scale), mask = sides[at], call.args[1 - at]
        else:
            call, scale = self._unscaled(value)
        if call is None:
            return None
        query, key = self._chain(call.args[0]), self._chain(call.args[1])
        if query is None or key is None:
            return None
        if mask is not None and is_constant(mask) and not mask.value.numpy().any():
            mask = None
        return query, key, mask, scale * query.scale * key.scale

    def _unscaled(self, value: Any) -> tuple[Any, float]:
        """The matrix product behind scalings, and their factor; (None, 1) if there is none."""
        scale, call = 1.0, self._made(value)
        while call is not None and (factor := _scalar(call)) is not None:
            scale *= factor[1]
            call = self._made(factor[0])
        return (call, scale) if call is not None and call.op.name == "relax.matmul" else (None, 1.0)

    def _emit(self, heads: Heads, operands: list[Any], mask: Any, scale: float, nan_to_zero: bool, output: Any) -> Any:
        if mask is not None:
            shape = static_shape(mask)
            if shape is None or len(shape) != 4:
                return None
            operands = [*operands, mask]
        if heads.depth % self._target.lanes or str(output.ty.dtype) != "float32":
            return None
        cut = attention_cut(heads.rows, heads.keys, heads.depth, self._target)
        plan = Attention(heads=heads, cut=cut, scale=scale, nan_to_zero=nan_to_zero, lanes=self._target.lanes)
        made = self.builder_.call_te(
            lambda *given: attention(plan, *given), *operands, primfunc_name_hint="attention", primfunc_attrs=OPAQUE
        )
        flat = self.builder_.emit(made)
        return self.builder_.normalize(relax.op.reshape(flat, [int(size) for size in output.ty.shape.values]))


def _scalar(call: Any) -> tuple[Any, float] | None:
    """The tensor and the factor of a multiplication or division by a scalar constant."""
    power = _SCALES.get(call.op.name)
    if power is None:
        return None
    value, other = call.args
    if power > 0 and is_constant(value):
        value, other = other, value
    if not is_constant(other) or other.value.numpy().size != 1:
        return None
    return value, float(other.value.numpy().reshape(())) ** power


def _heads(shape: tuple[int, ...], query: Chain, key: Chain, value: Chain, result: Chain) -> Heads | None:
    """The sizes, if every chain moves its elements as attention does; None otherwise."""
    batch, heads, rows, keys = shape
    base = static_shape(query.base) or ()
    if len(base) != 3 or base[2] % heads:
        return None
    depth = base[2] // heads
    wanted = [(query, rows, (0, 2, 1, 3)), (key, keys, (0, 2, 3, 1)), (value, keys, (0, 2, 1, 3))]
    for chain, length, axes in wanted:
        index = np.arange(batch * length * heads * depth)
        if static_shape(chain.base) != (batch, length, heads * depth):
            return None
        moved = chain.permutation()
        want = index.reshape(batch, length, heads, depth).transpose(axes)
        if moved.shape != want.shape or not np.array_equal(moved, want):
            return None
    moved = result.permutation()
    back = np.arange(batch * heads * rows * depth).reshape(batch, heads, rows, depth).transpose(0, 2, 1, 3)
    if not np.array_equal(moved.reshape(back.shape) if moved.size == back.size else moved, back):
        return None
    return Heads(batch=batch, heads=heads, rows=rows, keys=keys, depth=depth)
