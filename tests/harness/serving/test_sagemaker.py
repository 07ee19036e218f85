"""Content types of the SageMaker contract, without a server."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from harness.nouns import ModelSpec, TensorSpec
from harness.serving.protocol import Codec, Reply
from harness.serving.sagemaker import Contract
from harness.serving.tensors import ProtocolError, Tensor
from tests.harness.serving.fake_models import AFFINE, EVERY, spec_of

ONE = spec_of(
    "one", [TensorSpec(name="x", dtype="float32", shape=(2, 3))], [TensorSpec(name="y", dtype="float32", shape=(2, 3))]
)
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def contract(spec: ModelSpec) -> Contract:
    return Contract(spec, Codec(spec))


def answer_with(spec: ModelSpec, body: bytes, outputs: list[Tensor], **headers: str) -> tuple[dict[str, Tensor], Reply]:
    """What the model gets, and the reply when it returns `outputs`."""
    served = contract(spec)
    named = {name.replace("_", "-").encode(): text.encode() for name, text in headers.items()}
    call = served.decode(memoryview(bytearray(body)), named)
    return call.inputs, served.encode(call, outputs or list(call.inputs.values()))


def answer(spec: ModelSpec, body: bytes, **headers: str) -> tuple[dict[str, Tensor], Reply]:
    """What the model gets, and the reply when it returns just that."""
    return answer_with(spec, body, [], **headers)


def refusal(spec: ModelSpec, body: bytes, status: int = 400, **headers: str) -> str:
    with pytest.raises(ProtocolError) as caught:
        answer(spec, body, **headers)
    assert caught.value.status == status
    return str(caught.value)


def npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def test_rows_in_predictions_out() -> None:
    inputs, reply = answer(ONE, json.dumps({"instances": X.tolist()}).encode(), content_type="application/json; charset=utf-8")
    np.testing.assert_array_equal(inputs["x"], X, strict=True)
    assert reply.content_type == b"application/json"
    assert json.loads(reply.body) == {"predictions": X.tolist()}


def test_rows_of_several_outputs_are_named() -> None:
    outputs: list[Tensor] = [np.zeros((2, 512), np.float32), np.array([3.0, 4.0])]
    _, reply = answer_with(AFFINE, json.dumps({"instances": [[0.0] * 512] * 2}).encode(), outputs)
    predictions = json.loads(reply.body)["predictions"]
    assert [row["total"] for row in predictions] == [3.0, 4.0]
    assert predictions[1]["y"] == [0.0] * 512


def test_a_model_without_batch_axis_takes_one_row() -> None:
    spec = spec_of("flat", ONE.inputs, ONE.outputs, batch_axis=None)
    inputs, reply = answer(spec, json.dumps({"instances": [X.tolist()]}).encode())
    np.testing.assert_array_equal(inputs["x"], X, strict=True)
    assert json.loads(reply.body) == {"predictions": [X.tolist()]}
    assert "exactly 1 rows" in refusal(spec, json.dumps({"instances": X.tolist()}).encode())


@pytest.mark.parametrize(
    "rows", [[], X.tolist()[:1], X.tolist() * 2, 7, None, "ab", [[1, 2, 3], [1, 2]], [[1, 2, 3], "abc"], [{}, {}]]
)
def test_wrong_rows_are_refused(rows: object) -> None:
    refusal(ONE, json.dumps({"instances": rows}).encode())


def test_rows_need_a_single_input() -> None:
    assert "one input" in refusal(EVERY, b'{"instances": [1, 2]}')


def test_json_without_rows_is_the_open_inference_protocol() -> None:
    entry = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": X.tolist()}
    inputs, reply = answer(ONE, json.dumps({"id": "7", "inputs": [entry]}).encode())
    np.testing.assert_array_equal(inputs["x"], X, strict=True)
    assert json.loads(reply.body)["id"] == "7"


def test_raw_bytes() -> None:
    inputs, reply = answer(ONE, X.tobytes(), content_type="application/octet-stream")
    np.testing.assert_array_equal(inputs["x"], X, strict=True)
    assert (reply.content_type, reply.body) == (b"application/octet-stream", X.tobytes())
    assert "exactly 24" in refusal(ONE, bytes(23), content_type="application/octet-stream")


def binary() -> tuple[bytes, int]:
    entry = {"name": "x", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    return head + X.tobytes(), len(head)


def test_binary_tensors_by_header() -> None:
    body, length = binary()
    inputs, reply = answer(ONE, body, content_type="application/octet-stream", inference_header_content_length=str(length))
    np.testing.assert_array_equal(inputs["x"], X, strict=True)
    assert reply.header_length is not None
    assert reply.body[reply.header_length :] == X.tobytes()


def test_binary_tensors_by_content_type() -> None:
    kind = "application/vnd.sagemaker-triton.binary+json"
    body, length = binary()
    inputs, reply = answer(ONE, body, content_type=f"{kind};json-header-size={length}")
    np.testing.assert_array_equal(inputs["x"], X, strict=True)
    answered, _, size = reply.content_type.decode().partition(";json-header-size=")
    assert answered == kind
    assert reply.body[int(size) :] == X.tobytes()
    assert "json-header-size" in refusal(ONE, body, content_type=kind)
    assert "json-header-size" in refusal(ONE, body, content_type=f"{kind};json-header-size=x")


@pytest.mark.parametrize("array", [X, np.asfortranarray(X)], ids=["row-major", "column-major"])
def test_npy(array: Tensor) -> None:
    inputs, reply = answer(ONE, npy(array), content_type="application/x-npy")
    np.testing.assert_array_equal(inputs["x"], X, strict=True)
    assert inputs["x"].flags.c_contiguous
    np.testing.assert_array_equal(np.load(io.BytesIO(reply.body), allow_pickle=False), X, strict=True)


def lying_npy(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(118 - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00" + bytes(200),
        npy(X)[:-1],
        npy(X) + b"x",
        npy(X[:1]),
        npy(X.astype(np.float64)),
        npy(X.astype(">f4")),
        npy(np.array([{}, []], object), allow_pickle=True),
        lying_npy("(1000000000000, 3)"),
        lying_npy("(2, -3)"),
        lying_npy("(" * 90),
        lying_npy("__import__('os').getpid()"),
    ],
)
def test_wrong_npy_is_refused(body: bytes) -> None:
    refusal(ONE, body, content_type="application/x-npy")


def test_accept_chooses_the_answer() -> None:
    raw = {"content_type": "application/octet-stream"}
    assert answer(ONE, X.tobytes(), **raw, accept="application/x-npy")[1].content_type == b"application/x-npy"
    assert answer(ONE, X.tobytes(), **raw, accept="text/html, */*;q=0.1")[1].content_type == b"application/octet-stream"
    assert json.loads(answer(ONE, X.tobytes(), **raw, accept="application/json")[1].body) == {"predictions": X.tolist()}
    assert "Accept" in refusal(ONE, X.tobytes(), 406, **raw, accept="text/html")


def test_unknown_content_type() -> None:
    assert "text/csv" in refusal(ONE, b"1,2", 415, content_type="text/csv")
