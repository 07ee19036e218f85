"""Requests and replies of the Open Inference Protocol, without a server."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness.nouns import ModelSpec, TensorSpec
from harness.serving.protocol import Codec, InferRequest, contiguous, parse_header_length
from harness.serving.tensors import NUMPY_OF, ProtocolError, Tensor
from tests.harness.serving.fake_models import AFFINE, spec_of

AFFINE_INPUT = {"name": "x", "shape": [2, 512], "datatype": "FP32"}
SMALL = spec_of(
    "small",
    [TensorSpec(name="a", dtype="int32", shape=(2, 2)), TensorSpec(name="b", dtype="float32", shape=(3,))],
    [TensorSpec(name="c", dtype="float32", shape=(3,))],
)
A: dict[str, Any] = {"name": "a", "shape": [2, 2], "datatype": "INT32", "data": [1, 2, 3, 4]}
B: dict[str, Any] = {"name": "b", "shape": [3], "datatype": "FP32", "data": [1, 2.5, 3]}


def document(*inputs: object, **fields: object) -> bytes:
    return json.dumps({"inputs": list(inputs), **fields}).encode()


def decode(spec: ModelSpec, body: bytes, header_length: int | None = None) -> InferRequest:
    return Codec(spec).decode(memoryview(body), header_length)


def refusal(spec: ModelSpec, body: bytes, header_length: int | None = None) -> str:
    with pytest.raises(ProtocolError) as caught:
        decode(spec, body, header_length)
    assert caught.value.status == 400
    return str(caught.value)


def identity(tensor: Tensor) -> ModelSpec:
    spec = TensorSpec(name="t", dtype=tensor.dtype.name, shape=tensor.shape)
    return spec_of("identity", [spec], [spec])


def tensors(*, finite: bool) -> st.SearchStrategy[Tensor]:
    shapes = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    names = st.sampled_from(sorted(NUMPY_OF.values()))

    def arrays(name: str) -> st.SearchStrategy[Tensor]:
        return npst.arrays(
            np.dtype(name), shapes, elements=npst.from_dtype(np.dtype(name), allow_nan=not finite, allow_infinity=not finite)
        )

    return names.flatmap(arrays)


@given(tensors(finite=False), st.integers(0, 40))
def test_binary_round_trip_is_exact_at_any_alignment(tensor: Tensor, padding: int) -> None:
    codec = Codec(identity(tensor))
    port = codec.inputs[0]
    entry = {"name": "t", "shape": tensor.shape, "datatype": port.datatype, "parameters": {"binary_data_size": tensor.nbytes}}
    head = document(entry, parameters={"binary_data_output": True}, id="n") + b" " * padding
    request = codec.decode(memoryview(bytearray(head + tensor.tobytes())), len(head))
    np.testing.assert_array_equal(request.inputs["t"], tensor, strict=True)
    assert request.inputs["t"].flags.aligned
    reply = codec.encode(request, [tensor])
    assert reply.header_length is not None
    answer = json.loads(reply.body[: reply.header_length])
    assert answer["id"] == "n"
    assert answer["outputs"][0]["parameters"]["binary_data_size"] == tensor.nbytes
    assert reply.body[reply.header_length :] == tensor.tobytes()


@given(tensors(finite=True), st.booleans())
def test_json_round_trip_is_exact(tensor: Tensor, nested: bool) -> None:
    codec = Codec(identity(tensor))
    data = tensor.tolist() if nested and tensor.ndim else tensor.ravel().tolist()
    entry = {"name": "t", "shape": tensor.shape, "datatype": codec.inputs[0].datatype, "data": data}
    request = codec.decode(memoryview(document(entry)), None)
    np.testing.assert_array_equal(request.inputs["t"], tensor, strict=True)
    reply = codec.encode(request, [tensor])
    assert reply.header_length is None
    output = json.loads(reply.body)["outputs"][0]
    np.testing.assert_array_equal(np.array(output["data"], tensor.dtype).reshape(output["shape"]), tensor, strict=True)


@given(st.binary(max_size=200), st.none() | st.integers(0, 250))
def test_arbitrary_bytes_are_refused_and_nothing_else(body: bytes, header_length: int | None) -> None:
    refusal(AFFINE, body, header_length)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner), max_leaves=9
)


@given(st.sampled_from(["name", "shape", "datatype", "data", "parameters"]), ANYTHING)
def test_any_field_may_be_anything(field: str, value: object) -> None:
    body = document({**A, field: value}, B)
    try:
        request = decode(SMALL, body)
    except ProtocolError:
        return  # any other exception fails the test
    assert request.inputs["a"].dtype == np.int32
    assert request.inputs["a"].shape == (2, 2)


def test_float_32_is_rounded_to_nearest() -> None:
    request = decode(SMALL, document(A, {**B, "data": [0.1, 1, -3e-5]}))
    np.testing.assert_array_equal(request.inputs["b"], np.array([0.1, 1, -3e-5], np.float32), strict=True)


def test_all_outputs_without_id_use_the_prepared_head() -> None:
    codec = Codec(AFFINE)
    outputs: list[Tensor] = [np.ones((2, 512), np.float32), np.ones(2)]
    body = np.zeros((2, 512), np.float32).tobytes()
    prepared = codec.encode(codec.decode(memoryview(bytearray(body)), 0), outputs)
    head = document(
        {**AFFINE_INPUT, "parameters": {"binary_data_size": 4096}},
        outputs=[{"name": "y"}, {"name": "total"}],
        parameters={"binary_data_output": True},
    )
    built = codec.encode(codec.decode(memoryview(bytearray(head + body)), len(head)), outputs)
    assert prepared == built


def test_requested_outputs_in_the_order_asked_and_mixed_encoding() -> None:
    codec = Codec(AFFINE)
    wanted = [{"name": "total", "parameters": {"binary_data": False}}, {"name": "y"}]
    body = document({**AFFINE_INPUT, "data": [0.0] * 1024}, outputs=wanted, parameters={"binary_data_output": True})
    outputs: list[Tensor] = [np.ones((2, 512), np.float32), np.array([7.0, 8.0])]
    reply = codec.encode(codec.decode(memoryview(body), None), outputs)
    assert reply.header_length is not None
    total, y = json.loads(reply.body[: reply.header_length])["outputs"]
    assert (total["name"], total["data"]) == ("total", [7.0, 8.0])
    assert (y["name"], y["parameters"]["binary_data_size"]) == ("y", 4096)


def test_not_a_number_is_null_in_json() -> None:
    codec = Codec(SMALL)
    reply = codec.encode(codec.decode(memoryview(document(A, B)), None), [np.array([1, np.nan, 2], np.float32)])
    assert json.loads(reply.body)["outputs"][0]["data"] == [1.0, None, 2.0]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"inputs": [NaN]}', "not valid JSON"),
        (b"[]", "JSON object"),
        (b'{"inputs": {}}', "`inputs`"),
        (document(), "`inputs`"),
        (document(7), "JSON object"),
        (document(A), "input b is missing"),
        (document(A, A), "given twice"),
        (document(A, B, id=7), "`id`"),
        (document(A, {**B, "name": "z" * 10_000}), "unknown input"),
        (document(A, {**B, "name": ["b"]}), "unknown input"),
        (document(A, {**B, "shape": [4]}), "the model takes [3]"),
        (document(A, {**B, "shape": [-3]}), "the model takes [3]"),
        (document(A, {**B, "datatype": "BYTES"}), "does not support"),
        (document(A, {**B, "datatype": "BF16"}), "does not support"),
        (document(A, {**B, "datatype": "FP64"}), "the model takes FP32"),
        (document(A, {**B, "data": [1, 2]}), "2 values"),
        (document(A, {**B, "data": "abc"}), "must be a list"),
        (document(A, {**B, "data": [1, 2, "3"]}), "holds '3'"),
        (document(A, {**B, "data": [1, 2, None]}), "holds None"),
        (document(A, {**B, "data": [1, 2, True]}), "holds True"),
        (document(A, {**B, "data": [1, 2, 1e39]}), "out of the range"),
        (document({**A, "data": [1, 2, 3, 2**31]}, B), "out of the range"),
        (document({**A, "data": [1, 2, 3, 1.5]}, B), "holds 1.5"),
        (document({**A, "data": [[1, 2], [3]]}, B), "nested data"),
        (document({**A, "data": [[1, 2], 3, 4]}, B), "nested data"),
        (document({**A, "data": [[[1], [2]], [[3], [4]]]}, B), "holds [1]"),
        (document({**A, "data": [1, [2], 3, 4]}, B), "holds [2]"),
        (document(A, {**B, "parameters": 3}), "`parameters`"),
        (document(A, {**B, "parameters": {"shared_memory_region": "r"}}), "shared memory"),
        (document(A, {**B, "parameters": {"binary_data_size": 11}}), "has 12"),
        (document(A, {**B, "parameters": {"binary_data_size": -12}}), "has 12"),
        (document(A, {**B, "parameters": {"binary_data_size": True}}), "has 12"),
        (document(A, {**B, "parameters": {"binary_data_size": 12}}), "lacks 12 bytes"),
        (document(A, B, parameters={"sequence_id": 1}), "sequences"),
        (document(A, B, parameters={"binary_data_output": "yes"}), "true or false"),
        (document(A, B, outputs=7), "`outputs`"),
        (document(A, B, outputs=[{"name": "d"}]), "unknown output"),
        (document(A, B, outputs=[{"name": "c"}] * 2), "requested twice"),
        (document(A, B, outputs=[{"name": "c", "parameters": {"classification": 3}}]), "classification"),
    ],
)
def test_refused_with_the_reason(body: bytes, says: str) -> None:
    message = refusal(SMALL, body)
    assert says in message
    assert len(message) < 600
    assert "\n" not in message


def test_binary_sizes_must_add_up() -> None:
    head = document(A, {**B, "parameters": {"binary_data_size": 12}})
    assert decode(SMALL, head + bytes(12), len(head)).inputs["b"].sum() == 0
    assert "lacks 1 bytes" in refusal(SMALL, head + bytes(11), len(head))
    assert "1 bytes too many" in refusal(SMALL, head + bytes(13), len(head))
    assert "has only" in refusal(SMALL, head, len(head) + 1)
    assert "one input" in refusal(SMALL, head, 0)


def test_raw_body_must_have_the_input_s_size() -> None:
    assert "exactly 4096" in refusal(AFFINE, bytes(4095), 0)


def test_bool_bytes_are_zero_or_one() -> None:
    spec = identity(np.zeros(3, np.bool_))
    assert decode(spec, b"\x01\x00\x01", 0).inputs["t"].tolist() == [True, False, True]
    assert "neither 0 nor 1" in refusal(spec, b"\x01\x00\x02", 0)


@pytest.mark.parametrize("value", [b"-1", b"1e3", b"", b" 7", b"7" * 13, b"\xff"])
def test_header_length_is_a_number(value: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_header_length(value)


def test_models_the_protocol_cannot_carry() -> None:
    with pytest.raises(ValueError, match="complex64"):
        Codec(identity(np.zeros(3, np.complex64)))
    with pytest.raises(ValueError, match="static"):
        Codec(spec_of("m", [TensorSpec(name="t", dtype="float32", shape=(-1, 3))], []))


def test_outputs_of_a_session_are_checked() -> None:
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    [output] = contiguous([transposed], 1)
    assert output.flags.c_contiguous
    assert output.shape == (3, 2)
    with pytest.raises(TypeError, match="2 outputs instead of 1"):
        contiguous([transposed, transposed], 1)
    with pytest.raises(TypeError, match="complex128"):
        contiguous([np.zeros(1, np.complex128)], 1)


def binary(*values: float, **fields: object) -> tuple[bytes, int]:
    """A request to SMALL with both tensors in binary: the body, and the length of its JSON."""
    a = {**A, "parameters": {"binary_data_size": 16}}
    b = {**B, "parameters": {"binary_data_size": 12}}
    head = document({k: v for k, v in a.items() if k != "data"}, {k: v for k, v in b.items() if k != "data"}, **fields)
    return head + np.arange(4, dtype=np.int32).tobytes() + np.array(values, np.float32).tobytes(), len(head)


def test_a_request_like_one_before_differs_in_its_tensors_alone() -> None:
    codec = Codec(SMALL)
    for values in ((1, 2, 3), (4, 5, 6)):
        body, header_length = binary(*values)
        request = codec.decode(memoryview(body), header_length)
        assert request.inputs["a"].tolist() == [[0, 1], [2, 3]]
        assert request.inputs["b"].tolist() == list(values)


def test_one_with_an_id_keeps_its_own() -> None:
    codec = Codec(SMALL)
    for name in ("one", "two"):
        body, header_length = binary(1, 2, 3, id=name)
        assert codec.decode(memoryview(body), header_length).id == name


@pytest.mark.parametrize("more", [b"x", b"\0" * 4])
def test_a_known_head_does_not_excuse_a_wrong_body(more: bytes) -> None:
    codec = Codec(SMALL)
    body, header_length = binary(1, 2, 3)
    codec.decode(memoryview(body), header_length)
    with pytest.raises(ProtocolError, match="bytes too many"):
        codec.decode(memoryview(body + more), header_length)
    with pytest.raises(ProtocolError, match="lacks 1 bytes"):
        codec.decode(memoryview(body[:-1]), header_length)


def test_strangers_cannot_fill_the_memory_of_heads() -> None:
    codec = Codec(SMALL)
    for number in range(200):
        body, header_length = binary(1, 2, 3, note=number)
        codec.decode(memoryview(body), header_length)
    assert len(codec._layouts) <= 16
