"""The smallest part of an ONNX graph that still fails: cut at values, by bisection first and piece by piece then.

Decides which subgraphs are tried; whoever calls says which of them fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any

from compilers import onnx_checks


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """`nodes` are positions in the graph's own order; `complete` is False when the time was over first."""

    nodes: tuple[int, ...]
    model: Any
    complete: bool
    trials: int


class _Search:
    """Tries each set of nodes once, and none when the time is over."""

    def __init__(self, model: Any, fails: Callable[[Any], bool], expired: Callable[[], bool]) -> None:
        self._model, self._fails, self._expired = model, fails, expired
        self._known: dict[tuple[int, ...], bool] = {}
        self.cut_short = False

    @property
    def trials(self) -> int:
        return len(self._known)

    def fails(self, nodes: Sequence[int]) -> bool:
        """Whether the part of `nodes` fails too; False for one that cannot stand alone, or is tried no more."""
        key = tuple(nodes)
        if key not in self._known:
            if self._expired():
                self.cut_short = True
                return False
            part = subgraph(self._model, set(key)) if key else None
            if part is None:
                return False
            self._known[key] = self._fails(part)
        return self._known[key]


def smallest(model: Any, fails: Callable[[Any], bool], expired: Callable[[], bool] = lambda: False) -> Reduced | None:
    """The smallest failing part found of `model`, whose shapes are inferred; None when not even the whole fails again.

    `fails` is asked for one model at a time. Where a part of nodes cannot be taken out, because a value at its border has no
    known shape, it is left as it is.
    """
    search = _Search(model, fails, expired)
    nodes = list(range(len(model.graph.node)))
    if not search.fails(nodes):
        return None
    nodes = nodes[: _first(len(nodes), lambda size: search.fails(nodes[:size]))]
    least = len(nodes)
    nodes = nodes[least - _first(least, lambda size: search.fails(nodes[least - size :])) :]
    nodes = _without_pieces(nodes, search.fails)
    part = subgraph(model, set(nodes))
    return Reduced(nodes=tuple(nodes), model=part, complete=not search.cut_short, trials=search.trials)


def _first(size: int, holds: Callable[[int], bool]) -> int:
    """The least number up to `size`, at which it holds, for which `holds`; by bisection, so exact where it is monotone."""
    low, high = 0, size
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _without_pieces(nodes: list[int], fails: Callable[[Sequence[int]], bool]) -> list[int]:
    """`nodes` without every piece that is not needed: halves first, single nodes last, until none can go."""
    length = max(1, len(nodes) // 2)
    while len(nodes) > 1:
        for begin in range(0, len(nodes), length):
            rest = nodes[:begin] + nodes[begin + length :]
            if rest and fails(rest):
                nodes = rest
                break
        else:
            if length == 1:
                break
            length //= 2
            continue
        length = min(length, max(1, len(nodes) // 2))
    return nodes


def subgraph(model: Any, nodes: Set[int]) -> Any | None:
    """The nodes at the positions `nodes` as a model of its own; None when a value at its border has no static shape.

    What they read from elsewhere becomes an input, what they make and do not use up themselves an output.
    """
    import onnx

    chosen = [node for at, node in enumerate(model.graph.node) if at in nodes]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    types = {value.name: value for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]}
    made = {name for node in chosen for name in node.output if name}
    read = dict.fromkeys(name for node in chosen for name in _reads(node) if name)
    wanted = {value.name for value in model.graph.output}
    inputs = [name for name in read if name not in made and name not in constants]
    outputs = [name for node in chosen for name in node.output if name and (name in wanted or name not in read)]
    if not outputs or any(not _static(types.get(name)) for name in [*inputs, *outputs]):
        return None
    graph = onnx.helper.make_graph(
        chosen,
        model.graph.name,
        [types[name] for name in inputs],
        [types[name] for name in outputs],
        [constants[name] for name in read if name in constants],
    )
    graph.value_info.extend(types[name] for name in made if name in types and name not in outputs)
    part = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    part.functions.extend(model.functions)
    return part


def _reads(node: Any) -> list[str]:
    """Every value a node reads, those that its inner graphs take from outside among them."""
    inner = [name for each in onnx_checks.nodes_within(node) for name in each.input]
    return [*node.input, *inner]


def _static(value: Any) -> bool:
    tensor = value.type.tensor_type if value is not None and value.type.HasField("tensor_type") else None
    if tensor is None or not tensor.elem_type or not tensor.HasField("shape"):
        return False
    return all(dim.HasField("dim_value") and dim.dim_value > 0 for dim in tensor.shape.dim)


def describe(model: Any) -> str:
    """The operators of a small model, each with its node: `Conv 'conv1'`; of more than four, how many there are."""
    shown = [f"{node.op_type} {node.name or next(iter(node.output), '')!r}" for node in model.graph.node]
    return " → ".join(shown) if len(shown) <= 4 else f"{shown[0]} … {shown[-1]} ({len(shown)} nodes)"
