"""What the passes over Relax functions share: every function visited, its calls rewritten from the leaves up."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.relax.expr_functor import PyExprMutator


class Rewriter(PyExprMutator):  # type: ignore[misc]
    """A subclass carries TVM's `mutator` decorator and overrides `visit_call_`."""

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self._module = module

    def run(self) -> Any:
        """The module with every Relax function visited."""
        for variable, function in list(self._module.functions_items()):
            if isinstance(function, relax.Function):
                self.builder_.update_func(variable, self.visit_expr(function))
        return self.builder_.get()
