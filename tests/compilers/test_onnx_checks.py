from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compilers import onnx_checks, onnx_shapes
from harness.errors import UsageError
from tests.compilers.graphs import cnn, embedding, model, save_with_external, value, weight

SOURCE = Path("model.onnx")


def check(proto: Any) -> None:
    parsed = onnx_checks.parse(proto.SerializeToString(), SOURCE)
    onnx_checks.check_structure(parsed, SOURCE, {"Gelu"})


def refused(proto: Any) -> str:
    with pytest.raises(UsageError) as caught:
        check(proto)
    assert "\n" not in str(caught.value)
    assert str(SOURCE) in str(caught.value)
    return str(caught.value)


def test_a_sound_model_passes() -> None:
    check(cnn())
    check(embedding())


@pytest.mark.parametrize("keep", [0, 1, 10, 100, 1000])
def test_a_cut_file_is_refused(keep: int) -> None:
    with pytest.raises(UsageError, match="not an ONNX model"):
        onnx_checks.parse(cnn().SerializeToString()[:keep], SOURCE)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused(seed: int) -> None:
    with pytest.raises(UsageError, match="not an ONNX model"):
        onnx_checks.parse(random.Random(seed).randbytes(500), SOURCE)


def test_a_cycle_is_refused() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    assert "invalid ONNX" in refused(model(nodes, [value("x", [1])], [value("b", [1])]))


def test_a_missing_input_is_refused() -> None:
    assert "invalid ONNX" in refused(
        model([helper.make_node("Relu", ["nowhere"], ["y"])], [value("x", [1])], [value("y", [1])])
    )


def test_custom_domains_are_refused_with_operator_domain_and_node() -> None:
    node = helper.make_node("Secret", ["x"], ["y"], name="here", domain="my.company")
    message = refused(model([node], [value("x", [1])], [value("y", [1])], domains=["my.company"]))
    assert "my.company.Secret" in message
    assert "'here'" in message


def test_unknown_standard_operators_are_refused() -> None:
    message = refused(model([helper.make_node("Invented", ["x"], ["y"], name="here")], [value("x", [1])], [value("y", [1])]))
    assert "no operator Invented in ai.onnx version 18" in message
    assert "'here'" in message


def test_operators_hidden_in_a_branch_are_found() -> None:
    branch = helper.make_graph([helper.make_node("Invented", ["x"], ["t"], name="deep")], "then", [], [value("t", [1])])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    proto = model([node], [value("x", [1]), value("c", [], TensorProto.BOOL)], [value("y", [1])])
    assert "'deep'" in refused(proto)


def test_contrib_operators_are_allowed_when_known() -> None:
    def proto(kind: str) -> Any:
        node = helper.make_node(kind, ["x"], ["y"], domain="com.microsoft")
        return model([node], [value("x", [1])], [value("y", [1])], domains=["com.microsoft"])

    check(proto("Gelu"))
    assert "com.microsoft.Madeup" in refused(proto("Madeup"))


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    path = save_with_external(cnn(), tmp_path / "m.onnx", "blob.bin")
    parsed = onnx_checks.parse(path.read_bytes(), path)
    assert onnx_checks.embed_external_data(parsed, path) == ["blob.bin"]
    for got, want in zip(parsed.graph.initializer, cnn().graph.initializer, strict=True):
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(got), onnx.numpy_helper.to_array(want))


def embed(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        onnx_checks.embed_external_data(onnx_checks.parse(path.read_bytes(), path), path)
    return str(caught.value)


@pytest.mark.parametrize("location", ["../blob.bin", "/etc/passwd", "a/../../blob.bin", "", "..\\blob.bin", "."])
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "blob.bin").write_bytes(bytes(100_000))
    assert "external data" in embed(save_with_external(cnn(), tmp_path / "inner" / "m.onnx", location))


def test_links_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(100_000))
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "soft.bin").symlink_to(secret)
    assert "cannot be opened" in embed(save_with_external(cnn(), folder / "m.onnx", "soft.bin"))
    os.link(secret, folder / "hard.bin")
    assert "hard link" in embed(save_with_external(cnn(), folder / "m.onnx", "hard.bin"))
    (folder / "way").symlink_to(tmp_path)
    assert "cannot be opened" in embed(save_with_external(cnn(), folder / "m.onnx", "way/blob.bin"))


def test_missing_and_irregular_files_are_refused(tmp_path: Path) -> None:
    assert "cannot be opened" in embed(save_with_external(cnn(), tmp_path / "m.onnx", "missing.bin"))
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in embed(save_with_external(cnn(), tmp_path / "m.onnx", "pipe"))
    (tmp_path / "folder").mkdir()
    assert "not a regular file" in embed(save_with_external(cnn(), tmp_path / "m.onnx", "folder"))


def test_ranges_outside_the_file_are_refused(tmp_path: Path) -> None:
    path = save_with_external(cnn(), tmp_path / "m.onnx", "blob.bin")
    (tmp_path / "blob.bin").write_bytes(b"short")
    assert "outside the file of 5 bytes" in embed(path)


@pytest.mark.parametrize(("key", "text"), [("offset", "-1"), ("offset", "x"), ("length", "-5"), ("length", "1e3")])
def test_damaged_ranges_are_refused(tmp_path: Path, key: str, text: str) -> None:
    path = save_with_external(cnn(), tmp_path / "m.onnx", "blob.bin")
    proto = onnx.ModelProto.FromString(path.read_bytes())
    entries = proto.graph.initializer[0].external_data
    next(entry for entry in entries if entry.key == key).value = text
    path.write_bytes(proto.SerializeToString())
    assert "external data 'blob.bin'" in embed(path)


def fixed(proto: Any, **shapes: tuple[int, ...]) -> Any:
    onnx_shapes.fix_shapes(proto, shapes, SOURCE)
    return onnx_shapes.infer(proto, SOURCE)


def test_a_symbolic_batch_becomes_one() -> None:
    proto = fixed(cnn("batch"))
    assert onnx_shapes.input_specs(proto)[0].shape == (1, 3, 16, 16)
    assert [dim.dim_value for dim in proto.graph.output[0].type.tensor_type.shape.dim] == [1, 8]


def test_other_open_dimensions_must_be_given() -> None:
    with pytest.raises(UsageError, match=r"'ids' has the open shape batchxsequence; give it, such as --shape ids=1x128"):
        fixed(embedding())
    proto = fixed(embedding(), ids=(2, 12))
    assert [dim.dim_value for dim in proto.graph.output[0].type.tensor_type.shape.dim] == [2, 12, 4]


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"other": (1, 2)}, "has no such input; it takes image"),
        ({"image": (1, 3, 8, 8)}, "the model's input has shape"),
        ({"image": (1, 3)}, "the model's input has shape"),
        ({"image": (0, 3, 16, 16)}, "the model's input has shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: dict[str, tuple[int, ...]], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        fixed(cnn("batch"), **shapes)


def test_inputs_that_are_not_numbers_are_refused_by_name() -> None:
    identity = [helper.make_node("Identity", ["x"], ["y"])]
    text = model(identity, [value("x", [1], TensorProto.STRING)], [value("y", [1], TensorProto.STRING)])
    with pytest.raises(UsageError, match="'x' holds strings"):
        fixed(text)
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1]))
    sequence = model(identity, [helper.make_value_info("x", kind)], [helper.make_value_info("y", kind)])
    with pytest.raises(UsageError, match="'x' is a sequence"):
        fixed(sequence)
    half = model(identity, [value("x", [1], TensorProto.BFLOAT16)], [value("y", [1], TensorProto.BFLOAT16)])
    with pytest.raises(UsageError, match="'x' holds bfloat16"):
        fixed(half)


def test_a_model_without_inputs_is_refused() -> None:
    proto = model([helper.make_node("Relu", ["w"], ["y"])], [], [value("y", [2])], [weight("w", 2)])
    with pytest.raises(UsageError, match="takes no input"):
        fixed(proto)


def test_facts_read_off_the_graph() -> None:
    assert onnx_shapes.parameter_count(cnn()) == 16 * 3 * 9 + 16 * 9 + 8 * 16
    assert onnx_shapes.index_limits(embedding()) == {"ids": 50}
    assert onnx_shapes.index_limits(cnn()) == {}
