"""The Open Inference Protocol v2 over HTTP with the binary tensor extension: request bytes to tensors, tensors to reply bytes.

Pure. Sources: the protocol (github.com/kserve/open-inference-protocol, "REST") and the extension (Triton Inference Server,
docs/protocol/extension_binary_data.md). Differences, each answered with a reason: BYTES and BF16 tensors, shared memory,
sequences and the classification extension are refused; `priority` and `timeout` have no effect. NaN and infinity do not exist
in JSON: as outputs they are null there, and exact in binary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from harness.nouns import ModelSpec
from harness.serving.tensors import DATATYPE_OF, NUMPY_OF, Port, ProtocolError, Tensor, from_bytes, from_json, port, shown

VERSION = "1"
"""A server serves one model in one version."""

OCTETS = b"application/octet-stream"
JSON = b"application/json"

_LAYOUTS, _LAYOUT_BYTES = 16, 4096
"""How many requests' JSON is remembered, up to which size: a client's requests mostly differ in their tensors alone."""

_REFUSED_PARAMETERS = ("sequence_id", "sequence_start", "sequence_end")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedOutput:
    """Which output (position in ModelSpec.outputs), and whether as bytes after the JSON or as JSON values."""

    index: int
    binary: bool


@dataclass(slots=True, kw_only=True)
class InferRequest:
    """Not frozen, like `Reply`: one is made for every inference, and freezing trebles what that takes."""

    id: str | None
    inputs: dict[str, Tensor]
    outputs: tuple[WantedOutput, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the JSON of a request without an id says whose tensors are all binary: where each lies in a body of that size."""

    size_bytes: int
    inputs: tuple[tuple[Port, int], ...]
    outputs: tuple[WantedOutput, ...]


@dataclass(slots=True, kw_only=True)
class Reply:
    """A response body; `header_length` is the size in bytes of the JSON in front of binary tensors, None without any."""

    content_type: bytes
    body: bytes
    header_length: int | None = None


def parse_json(text: memoryview | bytes) -> Any:
    """Raises ProtocolError for what is no JSON, NaN literals and more than orjson's 1024 levels included."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"the body is not valid JSON: {error}") from error


def parse_header_length(value: bytes | None) -> int | None:
    """The Inference-Header-Content-Length header as a number of bytes. Raises ProtocolError when it is none."""
    if value is None:
        return None
    if not value.isdigit() or len(value) > 12:
        raise ProtocolError(f"Inference-Header-Content-Length must be a number of bytes, not {shown(value.decode('latin-1'))}")
    return int(value)


class Codec:
    """Requests and replies of one model."""

    def __init__(self, spec: ModelSpec) -> None:
        """Raises ValueError for a model whose tensors the protocol cannot carry."""
        self.name = spec.name
        self.inputs = tuple(port(tensor) for tensor in spec.inputs)
        self.outputs = tuple(port(tensor) for tensor in spec.outputs)
        self._input_of = {each.name: each for each in self.inputs}
        self._index_of = {each.name: index for index, each in enumerate(self.outputs)}
        every = range(len(self.outputs))
        self._all_binary = tuple(WantedOutput(index=index, binary=True) for index in every)
        self._all_json = tuple(WantedOutput(index=index, binary=False) for index in every)
        self._declared = [(each.shape, each.dtype) for each in self.outputs]
        self._layouts: dict[bytes, Layout] = {}
        self._head = {"model_name": spec.name, "model_version": VERSION}
        self._usual_head = orjson.dumps(
            {**self._head, "outputs": [_entry(each.name, np.empty(each.shape, each.dtype), True) for each in self.outputs]}
        )

    def decode(self, body: memoryview, header_length: int | None) -> InferRequest:
        """`body` as it was sent, uncompressed; tensors are views of it where alignment allows.

        `header_length` None means JSON only, 0 means the bytes of the only input and nothing else. Raises ProtocolError.
        """
        if header_length == 0:
            return InferRequest(id=None, inputs=self.only_input(body), outputs=self._all_binary)
        end = len(body) if header_length is None else header_length
        if end > len(body):
            raise ProtocolError(f"Inference-Header-Content-Length is {end}, the body has only {len(body)} bytes")
        head = bytes(body[:end])
        known = self._layouts.get(head) if end <= _LAYOUT_BYTES else None
        if known is not None and known.size_bytes == len(body):
            inputs = {each.name: from_bytes(each, body, at) for each, at in known.inputs}
            return InferRequest(id=None, inputs=inputs, outputs=known.outputs)
        document = parse_json(head)
        if not isinstance(document, dict):
            raise ProtocolError("the request must be a JSON object")
        parameters = _parameters(document, "the request")
        if any(name in parameters for name in _REFUSED_PARAMETERS):
            raise ProtocolError("sequences are not supported: every request stands alone")
        inputs, places = self._decode_inputs(document.get("inputs"), body, end)
        wanted = document.get("outputs")
        binary = _flag(parameters, "binary_data_output", "the request")
        default = self._all_binary if binary else self._all_json
        request = InferRequest(
            id=_request_id(document),
            inputs=inputs,
            outputs=self._decode_outputs(wanted, binary) if wanted else default,
        )
        if request.id is None and len(places) == len(inputs) and end <= _LAYOUT_BYTES and len(self._layouts) < _LAYOUTS:
            self._layouts[head] = Layout(size_bytes=len(body), inputs=tuple(places), outputs=request.outputs)
        return request

    def only_input(self, body: memoryview) -> dict[str, Tensor]:
        """The tensors when `body` is nothing but the bytes of the model's single input. Raises ProtocolError."""
        only = self.single_input()
        if len(body) != only.size_bytes:
            raise ProtocolError(f"the body has {len(body)} bytes, input {only.name} takes exactly {only.size_bytes}")
        return {only.name: from_bytes(only, body)}

    def single_input(self) -> Port:
        """Raises ProtocolError for a model with several inputs."""
        if len(self.inputs) != 1:
            raise ProtocolError(f"this form of request needs a model with one input; {self.name} has {len(self.inputs)}")
        return self.inputs[0]

    def encode(self, request: InferRequest, outputs: Sequence[Tensor]) -> Reply:
        """The reply to `request`. `outputs` are in the order of the model's outputs, C-contiguous; shapes are the real ones."""
        if request.outputs is self._all_binary and request.id is None and self._as_declared(outputs):
            body = b"".join((self._usual_head, *(tensor.data if tensor.nbytes else b"" for tensor in outputs)))
            return Reply(content_type=OCTETS, body=body, header_length=len(self._usual_head))
        described: list[dict[str, Any]] = []
        binary: list[bytes | memoryview] = []
        for wanted in request.outputs:
            tensor, name = outputs[wanted.index], self.outputs[wanted.index].name
            described.append(_entry(name, tensor, wanted.binary))
            if wanted.binary:
                binary.append(tensor.data if tensor.nbytes else b"")
        document = self._head if request.id is None else {**self._head, "id": request.id}
        head = orjson.dumps({**document, "outputs": described}, option=orjson.OPT_SERIALIZE_NUMPY)
        if not binary:
            return Reply(content_type=JSON, body=head)
        return Reply(content_type=OCTETS, body=b"".join((head, *binary)), header_length=len(head))

    def _as_declared(self, outputs: Sequence[Tensor]) -> bool:
        return [(tensor.shape, tensor.dtype) for tensor in outputs] == self._declared

    def _decode_inputs(self, entries: object, body: memoryview, at: int) -> tuple[dict[str, Tensor], list[tuple[Port, int]]]:
        """The tensors, and where in the body those lie that are binary."""
        if not isinstance(entries, list) or not entries:
            raise ProtocolError("the request needs a list `inputs`")
        tensors: dict[str, Tensor] = {}
        places: list[tuple[Port, int]] = []
        for entry in entries:
            known = self._known_input(entry)
            if known.name in tensors:
                raise ProtocolError(f"input {known.name} is given twice")
            parameters = _parameters(entry, f"input {known.name}")
            size_bytes = parameters.get("binary_data_size")
            if size_bytes is None:
                if "shared_memory_region" in parameters:
                    raise ProtocolError(f"input {known.name}: shared memory is not supported; send the data in the body")
                tensors[known.name] = from_json(known, entry.get("data"))
                continue
            if size_bytes != known.size_bytes or isinstance(size_bytes, bool):
                wrong = f"input {known.name}: binary_data_size is {shown(size_bytes)}, shape {known.shape_list}"
                raise ProtocolError(f"{wrong} of {known.datatype} has {known.size_bytes}")
            if at + known.size_bytes > len(body):
                raise ProtocolError(
                    f"input {known.name} lacks {at + known.size_bytes - len(body)} bytes at the end of the body"
                )
            tensors[known.name] = from_bytes(known, body, at)
            places.append((known, at))
            at += known.size_bytes
        if at != len(body):
            raise ProtocolError(f"{len(body) - at} bytes too many follow the inputs")
        if len(tensors) != len(self.inputs):
            missing = next(each.name for each in self.inputs if each.name not in tensors)
            raise ProtocolError(f"input {missing} is missing")
        return tensors, places

    def _known_input(self, entry: object) -> Port:
        """The input that `entry` describes, with datatype and shape found right."""
        if not isinstance(entry, dict):
            raise ProtocolError("each input must be a JSON object")
        name = entry.get("name")
        known = self._input_of.get(name) if isinstance(name, str) else None
        if known is None:
            takes = ", ".join(self._input_of)
            raise ProtocolError(f"unknown input {shown(name)}; the model takes {takes}")
        datatype = entry.get("datatype")
        if datatype != known.datatype:
            unsupported = "" if isinstance(datatype, str) and datatype in NUMPY_OF else ", which this server does not support"
            raise ProtocolError(f"input {name} has datatype {shown(datatype)}{unsupported}; the model takes {known.datatype}")
        if entry.get("shape") != known.shape_list:
            raise ProtocolError(f"input {name} has shape {shown(entry.get('shape'))}; the model takes {known.shape_list}")
        return known

    def _decode_outputs(self, entries: object, binary_default: bool) -> tuple[WantedOutput, ...]:
        if not isinstance(entries, list):
            raise ProtocolError("`outputs` must be a list")
        wanted: dict[int, WantedOutput] = {}
        for entry in entries:
            name = entry.get("name") if isinstance(entry, dict) else None
            index = self._index_of.get(name) if isinstance(name, str) else None
            if index is None:
                raise ProtocolError(f"unknown output {shown(name)}; the model has {', '.join(self._index_of)}")
            if index in wanted:
                raise ProtocolError(f"output {name} is requested twice")
            parameters = _parameters(entry, f"output {name}")
            if "classification" in parameters or "shared_memory_region" in parameters:
                raise ProtocolError(f"output {name}: classification and shared memory are not supported")
            binary = _flag(parameters, "binary_data", f"output {name}", binary_default)
            wanted[index] = WantedOutput(index=index, binary=binary)
        return tuple(wanted.values())


def _entry(name: str, tensor: Tensor, binary: bool) -> dict[str, Any]:
    """One output in a reply's JSON."""
    entry: dict[str, Any] = {"name": name, "datatype": DATATYPE_OF[tensor.dtype], "shape": tensor.shape}
    if binary:
        return {**entry, "parameters": {"binary_data_size": tensor.nbytes}}
    return {**entry, "data": tensor.reshape(-1)}


def _parameters(entry: dict[str, Any], where: str) -> dict[str, Any]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise ProtocolError(f"{where}: `parameters` must be a JSON object")
    return parameters


def _flag(parameters: dict[str, Any], name: str, where: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise ProtocolError(f"{where}: {name} must be true or false")
    return value


def _request_id(document: dict[str, Any]) -> str | None:
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str):
        raise ProtocolError("`id` must be a string")
    return identity


def contiguous(outputs: Sequence[Any], expected: int) -> list[Tensor]:
    """What a session returned as C-contiguous arrays. Raises TypeError for another number of outputs than `expected`, or a
    dtype the protocol does not have."""
    if len(outputs) != expected:
        raise TypeError(f"the model returned {len(outputs)} outputs instead of {expected}")
    tensors: list[Tensor] = [np.asarray(output, order="C") for output in outputs]
    for tensor in tensors:
        if tensor.dtype not in DATATYPE_OF:
            raise TypeError(f"the model returned dtype {tensor.dtype}, which the protocol cannot carry")
    return tensors
