"""What a lowered Relax main does, as a graph of kernel calls: the only reader of TVM's program objects for bundles."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from compilers.edge.plan import Call, Graph, Value
from compilers.interface import CannotCompile
from compilers.tvm.layouts import is_constant


def read(module: Any) -> Graph:
    """The graph of `module`'s main; raises CannotCompile for anything that is not a call of a kernel with static shapes."""
    return _Reader().read(module["main"])


def kernels(module: Any) -> Any:
    """The kernels of `module` alone, each under its own name."""
    named = {
        variable: function.with_attr("global_symbol", str(variable.name_hint))
        for variable, function in module.functions_items()
        if isinstance(function, tvm.tirx.PrimFunc)
    }
    return tvm.IRModule(named)


class _Reader:
    def __init__(self) -> None:
        self._values: list[Value] = []
        self._calls: list[Call] = []
        self._of: dict[Any, Any] = {}
        """What a variable stands for: a value's number, or a tuple of them."""

    def read(self, main: Any) -> Graph:
        for parameter in main.params:
            self._of[parameter] = self._new(parameter.ty, "an input")
        inputs = tuple(self._of[parameter] for parameter in main.params)
        for block in main.body.blocks:
            for binding in block.bindings:
                self._bind(binding)
        result = self._value(main.body.body)
        outputs = result if isinstance(result, tuple) else (result,)
        return Graph(values=tuple(self._values), calls=tuple(self._calls), inputs=inputs, outputs=outputs)

    def _bind(self, binding: Any) -> None:
        if not isinstance(binding, relax.VarBinding):
            raise CannotCompile(f"{binding.var.name} has a shape that only running tells, which a bundle cannot hold")
        call = binding.value
        name = getattr(getattr(call, "op", None), "name", "")
        if name == "relax.call_tir":
            self._of[binding.var] = self._call(call, binding.var)
        elif name == "relax.reshape":
            self._of[binding.var] = self._view(call, binding.var)
        elif name:
            raise CannotCompile(f"{name} needs TVM's runtime, which a bundle does not carry")
        else:
            self._of[binding.var] = self._value(call)

    def _call(self, call: Any, variable: Any) -> Any:
        if len(call.args) > 2:
            raise CannotCompile(f"kernel {call.args[0].name_hint} takes a size that only running tells")
        given = tuple(self._value(argument) for argument in call.args[1].fields)
        many = isinstance(variable.ty, relax.TupleType)
        kinds = list(variable.ty.fields) if many else [variable.ty]
        made = tuple(self._new(kind, f"kernel {call.args[0].name_hint}") for kind in kinds)
        self._calls.append(Call(kernel=str(call.args[0].name_hint), arguments=(*given, *made), writes=len(made)))
        return made if many else made[0]

    def _view(self, call: Any, variable: Any) -> int:
        source = self._value(call.args[0])
        number = self._new(variable.ty, "a reshape")
        self._values[number] = Value(dtype=self._values[number].dtype, shape=self._values[number].shape, view_of=source)
        return number

    def _value(self, expression: Any) -> Any:
        if isinstance(expression, relax.Tuple):
            return tuple(self._value(field) for field in expression.fields)
        if isinstance(expression, relax.TupleGetItem):
            return self._value(expression.tuple_value)[int(expression.index)]
        if is_constant(expression):
            array = np.ascontiguousarray(expression.value.numpy())
            self._values.append(Value(dtype=str(array.dtype), shape=array.shape, constant=array))
            return len(self._values) - 1
        if expression in self._of:
            return self._of[expression]
        raise CannotCompile(f"a bundle cannot hold a {type(expression).__name__}")

    def _new(self, kind: Any, what: str) -> int:
        sizes = getattr(getattr(kind, "shape", None), "values", None)
        if sizes is None or not all(isinstance(size, tvm.tirx.IntImm) for size in sizes):
            raise CannotCompile(f"{what} has a shape that only running tells, which a bundle cannot hold")
        self._values.append(Value(dtype=str(kind.dtype), shape=tuple(int(size) for size in sizes)))
        return len(self._values) - 1
