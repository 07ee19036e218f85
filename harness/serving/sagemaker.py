"""The SageMaker container contract's `POST /invocations`: which content types carry what. Pure.

Source: "Custom Inference Code with Hosting Services" in the SageMaker developer guide; the row format is TensorFlow
Serving's `instances` / `predictions`, and `application/vnd.sagemaker-triton.binary+json;json-header-size=N` is how Triton's
SageMaker clients send the binary tensor extension where only the content type reaches the container.
"""

from __future__ import annotations

import io
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from harness.nouns import ModelSpec
from harness.serving.protocol import JSON, OCTETS, Codec, InferRequest, Reply, parse_header_length, parse_json
from harness.serving.tensors import ProtocolError, Tensor, from_bytes, from_json, shown

NPY = b"application/x-npy"
TRITON = b"application/vnd.sagemaker-triton.binary+json"

_SIZE_PARAMETER = b"json-header-size="
_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

_NPY_ERRORS = (ValueError, KeyError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError, EOFError)
"""What numpy's reader lets through from the tokenizer and the literal parser under it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One decoded invocation. `request` is set when it is to be answered in the Open Inference Protocol; otherwise `accept`
    is the media type of the answer."""

    inputs: dict[str, Tensor]
    accept: bytes
    request: InferRequest | None = None
    triton: bool = False


class Contract:
    """Invocations of one model."""

    def __init__(self, spec: ModelSpec, codec: Codec) -> None:
        self._codec = codec
        self._batch_axis = spec.batch_axis

    def decode(self, body: memoryview, headers: dict[bytes, bytes]) -> Invocation:
        """Raises ProtocolError: 415 for an unknown content type, 406 when no accepted type can be answered, 400 otherwise."""
        content_type, _, parameters = headers.get(b"content-type", JSON).partition(b";")
        kind = content_type.strip().lower()
        header_length = parse_header_length(headers.get(b"inference-header-content-length"))
        if kind == TRITON:
            return self._protocol(body, _json_header_size(parameters), triton=True)
        if kind == OCTETS:
            if header_length is not None:
                return self._protocol(body, header_length)
            return Invocation(inputs=self._codec.only_input(body), accept=_accepted(headers, OCTETS))
        if kind == NPY:
            return Invocation(inputs=self._from_npy(body), accept=_accepted(headers, NPY))
        if kind != JSON:
            takes = b", ".join((JSON, OCTETS, NPY, TRITON)).decode()
            raise ProtocolError(
                f"Content-Type {shown(kind.decode('latin-1'))} is not supported; send one of {takes}", status=415
            )
        document = None if header_length is not None else parse_json(body)
        if isinstance(document, dict) and "instances" in document:
            return Invocation(inputs=self._from_rows(document["instances"]), accept=_accepted(headers, JSON))
        return self._protocol(body, header_length)

    def encode(self, invocation: Invocation, outputs: Sequence[Tensor]) -> Reply:
        """The answer to `invocation`: raw bytes and .npy carry the first output, JSON carries all."""
        if invocation.request is not None:
            reply = self._codec.encode(invocation.request, outputs)
            if invocation.triton and reply.header_length is not None:
                content_type = TRITON + b";" + _SIZE_PARAMETER + b"%d" % reply.header_length
                return Reply(content_type=content_type, body=reply.body)
            return reply
        if invocation.accept == OCTETS:
            return Reply(content_type=OCTETS, body=outputs[0].tobytes())
        if invocation.accept == NPY:
            file = io.BytesIO()
            np.lib.format.write_array(file, outputs[0], allow_pickle=False)
            return Reply(content_type=NPY, body=file.getvalue())
        document = {"predictions": self._rows(outputs)}
        return Reply(content_type=JSON, body=orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))

    def _protocol(self, body: memoryview, header_length: int | None, triton: bool = False) -> Invocation:
        request = self._codec.decode(body, header_length)
        return Invocation(inputs=request.inputs, accept=JSON, request=request, triton=triton)

    def _from_rows(self, instances: object) -> dict[str, Tensor]:
        """One row per item of the batch; a model without a batch axis takes a single row."""
        only = self._codec.single_input()
        rows = only.shape[0] if self._batched() else 1
        if not isinstance(instances, list) or len(instances) != rows:
            given = len(instances) if isinstance(instances, list) else shown(instances)
            raise ProtocolError(f"instances must be a list of exactly {rows} rows (the model's static batch), not {given}")
        if not self._batched():
            return {only.name: from_json(only, instances[0] if only.shape else instances)}
        return {only.name: from_json(only, instances)}

    def _batched(self) -> bool:
        return self._batch_axis == 0 and bool(self._codec.single_input().shape)

    def _rows(self, outputs: Sequence[Tensor]) -> Any:
        """One prediction per row where every output has the batch in front, else one prediction in all."""
        names = [port.name for port in self._codec.outputs]
        batched = self._batch_axis == 0 and all(output.ndim and len(output) == len(outputs[0]) for output in outputs)
        if len(outputs) == 1:
            return outputs[0] if batched else [outputs[0]]
        if not batched:
            return [dict(zip(names, outputs, strict=True))]
        return [{name: output[row] for name, output in zip(names, outputs, strict=True)} for row in range(len(outputs[0]))]

    def _from_npy(self, body: memoryview) -> dict[str, Tensor]:
        """The header is read by numpy, the data are viewed in place: a header that lies about its size allocates nothing."""
        only = self._codec.single_input()
        file = io.BytesIO(body[: 16 * 1024])
        try:
            version = np.lib.format.read_magic(file)
            shape, fortran_order, dtype = _NPY_HEADERS[version](file)
        except _NPY_ERRORS as error:
            raise ProtocolError("the body is not a readable .npy file of format 1.0 or 2.0") from error
        if dtype != only.dtype or shape != only.shape:
            wrong = f"the .npy array is {shown(str(dtype))} {shown(list(shape))}"
            raise ProtocolError(f"{wrong}; input {only.name} takes {only.dtype} {only.shape_list}")
        data = body[file.tell() :]
        if len(data) != only.size_bytes:
            raise ProtocolError(f"the .npy data have {len(data)} bytes, shape and dtype need {only.size_bytes}")
        tensor = from_bytes(only, data)
        if fortran_order:
            tensor = np.ascontiguousarray(tensor.reshape(only.shape[::-1]).T)
        return {only.name: tensor}


def _json_header_size(parameters: bytes) -> int:
    for parameter in parameters.split(b";"):
        name = parameter.strip().lower()
        if name.startswith(_SIZE_PARAMETER) and name[len(_SIZE_PARAMETER) :].isdigit() and len(name) < 32:
            return int(name[len(_SIZE_PARAMETER) :])
    raise ProtocolError(f"Content-Type {TRITON.decode()} needs ;json-header-size=N")


def _accepted(headers: dict[bytes, bytes], default: bytes) -> bytes:
    """The first media type of Accept that can be answered; `default` (the request's own) when Accept is absent or open."""
    accept = headers.get(b"accept")
    if accept is None:
        return default
    for item in accept.lower().split(b","):
        kind = item.partition(b";")[0].strip()
        if kind in (JSON, OCTETS, NPY):
            return kind
        if kind in (b"*/*", b"application/*", b""):
            return default
    raise ProtocolError(
        f"Accept {shown(accept.decode('latin-1'))}: only {JSON.decode()}, {OCTETS.decode()}, {NPY.decode()}", status=406
    )
