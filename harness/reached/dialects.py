"""The ways to put one payload to an endpoint and to read its answer. Pure.

An endpoint is asked in the first dialect that it answers well: binary tensors before JSON, whose digits cost more to write and
to read than many models to run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import remote
from harness.nouns import TensorSpec
from harness.remote import Answer
from harness.requestset import encode
from harness.serving.sagemaker import TRITON
from harness.serving.tensors import DATATYPE_OF, NUMPY_OF

Payload = Mapping[str, np.ndarray]
Outputs = list[np.ndarray]

_SIZE = re.compile(r"json-header-size=(\d+)")


class Unreadable(Exception):
    """An answer that is not one in this dialect; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """`encode` gives the headers and the body of a request; `decode` the outputs in the model's order. Raises Unreadable."""

    name: str
    encode: Callable[[Payload], tuple[dict[str, str], bytes]]
    read: Callable[[Answer, Sequence[TensorSpec]], Outputs]

    def decode(self, answer: Answer, outputs: Sequence[TensorSpec]) -> Outputs:
        try:
            return self.read(answer, outputs)
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise Unreadable(f"{error or type(error).__name__}") from error


def of(protocol: str) -> tuple[Dialect, ...]:
    """The dialects of a protocol, in the order to be tried."""
    return {remote.OIP: (BINARY, TENSORS), remote.SAGEMAKER: (TRITON_BINARY, TENSORS, INSTANCES)}[protocol]


def _binary(payload: Payload) -> tuple[dict[str, str], bytes]:
    header_length, body = encode(payload)
    return {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(header_length)}, body


def _triton(payload: Payload) -> tuple[dict[str, str], bytes]:
    header_length, body = encode(payload)
    return {"Content-Type": f"{TRITON.decode()};json-header-size={header_length}"}, body


def _tensors(payload: Payload) -> tuple[dict[str, str], bytes]:
    inputs = [
        {"name": name, "shape": list(value.shape), "datatype": DATATYPE_OF[value.dtype], "data": value.ravel().tolist()}
        for name, value in payload.items()
    ]
    return {"Content-Type": "application/json"}, json.dumps({"inputs": inputs}, separators=(",", ":")).encode()


def _instances(payload: Payload) -> tuple[dict[str, str], bytes]:
    """Rows of the only input; an endpoint of a model with several would need to be told their names."""
    if len(payload) != 1:
        raise Unreadable("a model with several inputs has no rows of `instances`")
    rows = next(iter(payload.values())).tolist()
    return {"Content-Type": "application/json"}, json.dumps({"instances": rows}, separators=(",", ":")).encode()


def _read_tensors(answer: Answer, outputs: Sequence[TensorSpec]) -> Outputs:
    """Open Inference Protocol outputs, binary ones behind the JSON, by name or, where names differ, in their order."""
    said = _SIZE.search(answer.content_type)
    at = answer.header_length if answer.header_length is not None else int(said[1]) if said else None
    document = json.loads(answer.body if at is None else answer.body[:at])
    found: dict[str, np.ndarray] = {}
    for entry in document["outputs"]:
        dtype, size = np.dtype(NUMPY_OF[entry["datatype"]]), entry.get("parameters", {}).get("binary_data_size")
        if size is None:
            flat = np.asarray(entry["data"], dtype=dtype).ravel()
        elif at is None:
            raise Unreadable("binary tensors without the length of the JSON before them")
        else:
            flat = np.frombuffer(answer.body[at : at + int(size)], dtype)
            at += int(size)
        found[entry["name"]] = flat.reshape(entry["shape"])
    names = [tensor.name for tensor in outputs]
    return [found[name] for name in names] if set(names) <= set(found) else list(found.values())


def _read_predictions(answer: Answer, outputs: Sequence[TensorSpec]) -> Outputs:
    document: Any = json.loads(answer.body)
    if len(outputs) != 1:
        raise Unreadable("a model with several outputs has no rows of `predictions`")
    only = outputs[0]
    return [np.asarray(document["predictions"], dtype=np.dtype(only.dtype)).reshape(only.shape)]


BINARY = Dialect(name="open inference protocol, binary tensors", encode=_binary, read=_read_tensors)
TENSORS = Dialect(name="open inference protocol, JSON", encode=_tensors, read=_read_tensors)
TRITON_BINARY = Dialect(name="Triton's binary tensors", encode=_triton, read=_read_tensors)
INSTANCES = Dialect(name="instances and predictions, JSON", encode=_instances, read=_read_predictions)
