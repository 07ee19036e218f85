"""One graph, one file: the order and the names of what an optimiser wrote, made to depend on nothing but the graph.

ONNX Runtime writes the same optimised graph with its nodes in another order, and with other numbers in the names it makes up,
in every process. The content address of an artifact would then say that something had changed. Here nodes are sorted by what
they compute, and what was numbered is numbered anew in that order.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from compilers.onnx_checks import subgraphs

_NUMBERED = re.compile(r"_token_\d+$")
"""What ONNX Runtime puts behind a name that is taken."""


def rewrite(path: Path) -> None:
    """Put the ONNX file at `path` in its canonical form."""
    import onnx

    model = onnx.load(path)
    canonical(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def canonical(model: Any) -> None:
    """Put the graph of an onnx.ModelProto in its canonical form, in place; inputs and outputs keep their names."""
    graph = model.graph
    kept = {value.name for value in (*graph.input, *graph.output)}
    nodes = _sorted(graph)
    del graph.node[:]
    graph.node.extend(nodes)
    _rename(graph, _names(_values(graph), kept))
    taken = _names([node.name for node in graph.node if node.name], set())
    for node in graph.node:
        node.name = taken.get(node.name, node.name)
    initializers = sorted(graph.initializer, key=lambda tensor: str(tensor.name))
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    infos = sorted(graph.value_info, key=lambda value: str(value.name))
    del graph.value_info[:]
    graph.value_info.extend(infos)


def _sorted(graph: Any) -> list[Any]:
    """The nodes in an order in which each comes after what it reads; of several that may be next, the one that computes the
    lesser by its hash, and of equals the one that is read by the lesser."""
    nodes = list(graph.node)
    maker = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    reads = [sorted({maker[name] for name in _reads(node) if name in maker}) for node in nodes]
    known = {value.name: f"input {value.name}" for value in graph.input}
    known |= {tensor.name: _hash(_unnamed(tensor)) for tensor in graph.initializer}
    computes = [""] * len(nodes)
    for at in _walk(reads, [()] * len(nodes)):
        computes[at] = _computes(nodes[at], known)
        known |= {name: f"{computes[at]} {place}" for place, name in enumerate(nodes[at].output)}
    uses: list[list[tuple[str, int]]] = [[] for _ in nodes]
    for at, node in enumerate(nodes):
        for place, name in enumerate(node.input):
            if name in maker:
                uses[maker[name]].append((computes[at], place))
    keys = [(computes[at], tuple(sorted(uses[at])), tuple(_stems(node))) for at, node in enumerate(nodes)]
    return [nodes[at] for at in _walk(reads, keys)]


def _walk(reads: Sequence[Sequence[int]], keys: Sequence[Any]) -> Iterator[int]:
    """Topological, the lesser key first. Raises ValueError for a cycle."""
    readers: list[list[int]] = [[] for _ in reads]
    waiting = [len(each) for each in reads]
    for at, each in enumerate(reads):
        for made in each:
            readers[made].append(at)
    ready = [(keys[at], at) for at, left in enumerate(waiting) if not left]
    heapq.heapify(ready)
    seen = 0
    while ready:
        _, at = heapq.heappop(ready)
        seen += 1
        yield at
        for reader in readers[at]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, (keys[reader], reader))
    if seen != len(reads):
        raise ValueError("the graph is not one without cycles")


def _computes(node: Any, known: dict[str, str]) -> str:
    """A hash of the operator, its attributes, and what its inputs are."""
    attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    inputs = [known.get(name, name) for name in node.input]
    return _hash(repr((node.domain, node.op_type, inputs, len(node.output))).encode(), *attributes)


def _stems(node: Any) -> list[str]:
    return [_NUMBERED.sub("", name) for name in node.output]


def _unnamed(tensor: Any) -> bytes:
    copy = type(tensor)()
    copy.CopyFrom(tensor)
    copy.ClearField("name")
    return bytes(copy.SerializeToString(deterministic=True))


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _reads(node: Any) -> Iterator[str]:
    """What a node reads, its subgraphs included; what these make themselves is not told apart, and does no harm."""
    yield from (name for name in node.input if name)
    for inner in subgraphs(node):
        made = {name for each in inner.node for name in each.output} | {value.name for value in inner.input}
        made |= {tensor.name for tensor in inner.initializer}
        yield from (name for each in inner.node for name in _reads(each) if name not in made)
        yield from (value.name for value in inner.output if value.name not in made)


def _values(graph: Any) -> Iterator[str]:
    """Every value of the graph: in the order read or made, then what nothing reads."""
    for node in graph.node:
        yield from _reads(node)
        yield from (name for name in node.output if name)
    read = {name for node in graph.node for name in _reads(node)}
    unread = [tensor for tensor in graph.initializer if tensor.name not in read]
    rest = sorted(unread, key=lambda tensor: (_NUMBERED.sub("", tensor.name), _hash(_unnamed(tensor))))
    yield from (str(tensor.name) for tensor in rest)


def _names(found: Iterable[str], kept: set[str]) -> dict[str, str]:
    """New names for the numbered ones and those that they were numbered to differ from, numbered in the order found."""
    found = list(dict.fromkeys(found))
    numbered = {_NUMBERED.sub("", name) for name in found if _NUMBERED.search(name)}
    stay = kept | {name for name in found if _NUMBERED.sub("", name) not in numbered}
    taken, new = set(stay), dict[str, str]()
    for name in found:
        if name in stay:
            continue
        stem, number = _NUMBERED.sub("", name), 1
        while f"{stem}_token_{number}" in taken:
            number += 1
        new[name] = f"{stem}_token_{number}"
        taken.add(new[name])
    return new


def _rename(graph: Any, new: dict[str, str]) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = new.get(name, name)
        for inner in subgraphs(node):
            _rename(inner, new)
    for named in (*graph.initializer, *graph.value_info, *graph.output):
        named.name = new.get(named.name, named.name)
