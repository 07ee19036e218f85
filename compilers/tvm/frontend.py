"""An ONNX file as a Relax module, its weights constants, and what the importer takes apart too early put together again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from tvm import relax
from tvm.relax.expr_functor import mutator
from tvm.relax.frontend.onnx import from_onnx

from compilers.tvm.fold import moved
from compilers.tvm.layouts import is_constant
from compilers.tvm.rewriter import Rewriter

_BOUND = re.compile(r"(maximum|minimum)\d*")


def load(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """The Relax module of the ONNX file at `path`, its inputs fixed to `shapes` and its weights constants of the module."""
    fixed = {name: list(shape) for name, shape in shapes.items()}
    module = from_onnx(onnx.load(path), shape_dict=fixed, keep_params_in_input=False)
    return restore(module)


def restore(module: Any) -> Any:
    """Clips as operators again (the importer emits kernels, which no layout passes through), and moved constants folded."""
    module = _Restore(module).run()
    return relax.transform.DeadCodeElimination()(module)


@mutator
class _Restore(Rewriter):
    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        name = getattr(call.op, "name", "")
        if name == "relax.call_tir":
            return self._clip(call)
        return moved(call, self.lookup_binding)

    def _clip(self, call: Any) -> Any:
        kind = _BOUND.fullmatch(str(call.args[0].name_hint))
        if kind is None or not isinstance(call.args[1], relax.Tuple) or len(call.args[1].fields) != 2:
            return call
        value, bound = call.args[1].fields
        constant = self._bound(bound)
        if constant is None:
            return call
        operator = relax.op.maximum if kind.group(1) == "maximum" else relax.op.minimum
        return self.builder_.normalize(operator(value, constant))

    def _bound(self, bound: Any) -> Any:
        """The scalar constant behind where(isnan(c), unbounded, c); None when it is no constant or not a number."""
        made = self.lookup_binding(bound) if isinstance(bound, relax.Var) else bound
        if isinstance(made, relax.Call) and getattr(made.op, "name", "") == "relax.where":
            made = made.args[2]
        if not is_constant(made):
            return None
        value = made.value.numpy()
        return made if value.ndim == 0 and not np.isnan(value) else None
