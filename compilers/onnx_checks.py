"""Whether an ONNX file may be used at all: whole, acyclic, self-contained within its folder, and of known operators.

Runs in the intake child. Every refusal is a UsageError that names the file and what is wrong in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Set
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import UsageError

MAX_PROTO_BYTES = (1 << 31) - 1
"""Protocol buffers end at 2 GiB."""

_STANDARD_DOMAINS = ("", "ai.onnx.ml")
CONTRIB_DOMAIN = "com.microsoft"
_EXTERNAL = 1  # onnx.TensorProto.EXTERNAL


def parse(content: bytes, source: Path) -> Any:
    """The ModelProto in `content`, external tensors not yet read; raises UsageError when it is not a whole model."""
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:
        raise UsageError(f"{source}: not an ONNX model, or cut short ({len(content)} bytes)") from error
    if not model.HasField("graph") or not model.opset_import or not model.graph.output:
        raise UsageError(f"{source}: not an ONNX model: no graph, no outputs or no operator set in it")
    return model


def check_structure(model: Any, source: Path, contrib: Set[str]) -> None:
    """onnx.checker over the whole model (names, types, topological order) and our own check of its operators.

    `contrib` holds the operators of ONNX Runtime's own domain.
    """
    import onnx

    check_operators(model, source, contrib)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise UsageError(f"{source}: invalid ONNX: {first_line(error)}") from error


def check_operators(model: Any, source: Path, contrib: Set[str]) -> None:
    """Refuse operators that no runtime here can know, naming operator, domain and node."""
    import onnx

    versions = {"" if entry.domain == "ai.onnx" else entry.domain: entry.version for entry in model.opset_import}
    local = {(function.domain, function.name) for function in model.functions}
    for node in nodes(model):
        if (node.domain, node.op_type) in local:
            continue
        where = f"node {node.name or next(iter(node.output), '')!r}"
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain in _STANDARD_DOMAINS:
            version = versions.get(domain)
            if version is None or not onnx.defs.has(node.op_type, version, domain):
                shown = f"{domain or 'ai.onnx'} version {version or '(not imported)'}"
                raise UsageError(f"{source}: there is no operator {node.op_type} in {shown} ({where}); check the model's opset")
        elif domain != CONTRIB_DOMAIN or node.op_type not in contrib:
            raise UsageError(
                f"{source}: custom operator {domain}.{node.op_type} ({where}): only operators of the ONNX standard and of"
                f" ONNX Runtime ({CONTRIB_DOMAIN}) can be served; export the model without it"
            )


def nodes(model: Any) -> Iterator[Any]:
    """Every node of the graph, its subgraphs and its local functions."""
    yield from _nodes_of(model.graph.node)
    for function in model.functions:
        yield from _nodes_of(function.node)


def nodes_within(node: Any) -> Iterator[Any]:
    """Every node of the graphs that `node` holds."""
    for graph in subgraphs(node):
        yield from _nodes_of(graph.node)


def _nodes_of(sequence: Any) -> Iterator[Any]:
    for node in sequence:
        yield node
        for graph in subgraphs(node):
            yield from _nodes_of(graph.node)


def subgraphs(node: Any) -> Iterator[Any]:
    """The graphs that a node's attributes hold: branches and loop bodies."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def tensors(model: Any) -> Iterator[Any]:
    """Every constant tensor: initializers and attributes, in subgraphs and functions too."""
    yield from _initializers(model.graph)
    for node in nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        for graph in subgraphs(node):
            yield from _initializers(graph)


def _initializers(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def embed_external_data(model: Any, source: Path) -> list[str]:
    """Read every external tensor into the model, from regular files inside the model's own folder only.

    Returns the files' locations relative to that folder. Raises UsageError for any other location, for links, for ranges
    outside the file and when the whole exceeds what one ONNX file can hold.
    """
    seen: dict[str, None] = {}
    total = model.ByteSize()
    for tensor in tensors(model):
        if tensor.data_location != _EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        content = _read_external(tensor, entries, location, source)
        total += len(content)
        if total > MAX_PROTO_BYTES:
            raise UsageError(f"{source}: larger than 2 GiB with its external data, which is not supported")
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = content
        seen[location] = None
    return list(seen)


def _read_external(tensor: Any, entries: dict[str, str], location: str, source: Path) -> bytes:
    fault = f"{source}: external data {location!r} of tensor {tensor.name!r}"
    descriptor = open_inside(source.parent, location, fault)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            offset = int(entries.get("offset", "0"))
            length = int(entries["length"]) if "length" in entries else size - offset
        except ValueError as error:
            raise UsageError(f"{fault}: offset or length is not a number") from error
        if offset < 0 or length < 0 or offset + length > size:
            raise UsageError(f"{fault}: bytes {offset} to {offset + length} are outside the file of {size} bytes")
        if length > MAX_PROTO_BYTES:
            raise UsageError(f"{fault}: larger than 2 GiB, which is not supported")
        file.seek(offset)
        return file.read(length)


def open_inside(folder: Path, location: str, fault: str) -> int:
    """A descriptor of the regular, unlinked file at `location` below `folder`; raises UsageError beginning with `fault`.

    Every component is opened without following links, so that nothing can be swapped between the check and the read.
    """
    parts = PurePosixPath(location).parts
    if not parts or "\0" in location or "\\" in location or PurePosixPath(location).is_absolute() or ".." in parts:
        raise UsageError(f"{fault} is outside the model's folder; put it beside the model")
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for index, part in enumerate(parts):
            kind = os.O_NONBLOCK if index == len(parts) - 1 else os.O_DIRECTORY
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=at)
            os.close(at)
            at = inner
        facts = os.fstat(at)
        if not stat.S_ISREG(facts.st_mode):
            raise UsageError(f"{fault} is not a regular file")
        if facts.st_nlink > 1:
            raise UsageError(f"{fault} is a hard link, so it may belong elsewhere; copy it")
    except OSError as error:
        os.close(at)
        raise UsageError(f"{fault} cannot be opened as a regular file in the model's folder: {error.strerror}") from error
    except UsageError:
        os.close(at)
        raise
    return at


def first_line(error: BaseException, limit: int = 300) -> str:
    """The first non-empty line of an error's text."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line[:limit] for line in lines if line), type(error).__name__)
