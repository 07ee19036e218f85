from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compilers import intake, spec_io
from compilers.intake import resolve
from compilers.spec_io import PreparedModel
from harness.errors import Interrupted, UsageError
from tests.compilers.graphs import CNN_FLOPS, cnn, embedding, model, save, save_with_external, value, weight


def refuse(source: str | Path, tmp_path: Path, **options: object) -> str:
    with pytest.raises(UsageError) as caught:
        resolve(str(source), tmp_path / "cache", log=tmp_path / "log", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    leftovers = list((tmp_path / "cache").rglob("*")) if (tmp_path / "cache").exists() else []
    assert [path for path in leftovers if path.name != "models"] == []
    return str(caught.value)


def no_child(*args: object, **kwargs: object) -> None:
    raise AssertionError("a child was started")


def test_an_onnx_file_is_prepared(prepared: PreparedModel) -> None:
    spec = prepared.spec
    assert (spec.name, spec.weights, spec.has_program, spec.batch_axis) == ("cnn", "file", False, 0)
    assert spec.inputs[0].shape == (1, 3, 16, 16)
    assert spec.outputs[0].shape == (1, 8)
    assert spec.flops == CNN_FLOPS
    assert spec.parameters == 16 * 3 * 9 + 16 * 9 + 8 * 16
    assert "ONNX Runtime" in spec.reference
    payloads, reference = spec_io.read_payloads(prepared.folder), spec_io.read_reference(prepared.folder)
    assert len(payloads) == len(reference) == 32
    assert len({result[0].tobytes() for result in reference}) == 32
    assert spec_io.read_prepared(prepared.folder) == prepared


def test_the_second_call_starts_no_child(prepared: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "run_bounded", no_child)
    path = save(cnn("batch"), tmp_path / "cnn.onnx")
    assert resolve(str(path), prepared.folder.parents[1], log=tmp_path / "log") == prepared


def test_payloads_of_the_user_come_first(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    np.save(given / "a.npy", np.full((1, 3, 16, 16), 0.25, np.float32))
    made = resolve(str(save(cnn(), tmp_path / "m.onnx")), tmp_path / "cache", payload_dir=given, log=tmp_path / "log")
    payloads = spec_io.read_payloads(made.folder)
    assert len(payloads) == 32
    assert (payloads[0]["image"] == 0.25).all()


def test_token_inputs_stay_inside_their_table(tmp_path: Path) -> None:
    path = save(embedding(), tmp_path / "m.onnx")
    assert "--shape ids=1x128" in refuse(path, tmp_path)
    made = resolve(str(path), tmp_path / "cache", shapes={"ids": (1, 40)}, log=tmp_path / "log")
    ids = np.concatenate([payload["ids"] for payload in spec_io.read_payloads(made.folder)])
    assert ids.shape == (32, 40)
    assert 45 < ids.max() < 50


def test_external_data_is_part_of_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_with_external(cnn(), tmp_path / "m.onnx", "blob.bin")
    first = resolve(str(path), tmp_path / "cache", log=tmp_path / "log")
    with monkeypatch.context() as patch:
        patch.setattr(intake, "run_bounded", no_child)
        assert resolve(str(path), tmp_path / "cache", log=tmp_path / "log") == first
    blob = tmp_path / "blob.bin"
    blob.write_bytes(blob.read_bytes()[::-1].replace(b"\xff", b"\x00"))
    monkeypatch.setattr(intake, "run_bounded", no_child)
    with pytest.raises(AssertionError, match="a child"):
        resolve(str(path), tmp_path / "cache", log=tmp_path / "log")


def test_sizes_that_the_graph_computes_become_constants(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["n"], name="length"),
        helper.make_node("Concat", ["minus", "n"], ["target"], axis=0),
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["t", "target"], ["r"]),
        helper.make_node("Expand", ["w", "n"], ["e"]),
        helper.make_node("MatMul", ["r", "e"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1]), "one"),
        numpy_helper.from_array(np.array([-1]), "minus"),
        weight("w", 1),
    ]
    proto = model([*nodes], [value("x", ["batch", "n", 4])], [value("y", ["a", "b", "c"])], constants)
    made = resolve(str(save(proto, tmp_path / "m.onnx")), tmp_path / "cache", shapes={"x": (1, 6, 4)}, log=tmp_path / "log")
    kept = {node.op_type for node in onnx.load(made.folder / "model.onnx").graph.node}
    assert "Shape" not in kept
    assert made.spec.flops == 2 * 4 * 6


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("m.onnx", b"", "the file is empty"),
        ("m.onnx", b"garbage" * 50, "not an ONNX model"),
        ("m.onnx", cnn().SerializeToString()[:800], "not an ONNX model"),
        ("m.pt2", b"garbage", "not a torch.export archive"),
        ("m.pth", b"garbage", "other formats are not read"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert reason in refuse(tmp_path / name, tmp_path)


def test_names_and_paths_that_lead_nowhere(tmp_path: Path) -> None:
    assert "did you mean resnet50" in refuse("resnet", tmp_path)
    assert "No such file" in refuse(tmp_path / "missing.onnx", tmp_path)
    assert "not a regular file" in refuse(tmp_path, tmp_path)
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "not a regular file" in refuse(tmp_path / "pipe.onnx", tmp_path)
    assert "takes Nx3x224x224" in refuse("resnet50", tmp_path, shapes={"pixel_values": (1, 3, 8, 8)})
    assert "no such input" in refuse("resnet50", tmp_path, shapes={"image": (8, 3, 224, 224)})
    two = {"input_ids": (2, 128), "attention_mask": (4, 128)}
    assert "one batch size" in refuse("bert_base", tmp_path, shapes=two)


def test_a_file_larger_than_protocol_buffers_allow_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "m.onnx").open("wb") as file:
        file.truncate((2 << 30) + 1)  # sparse: takes no disk
    assert "larger than 2 GiB" in refuse(tmp_path / "m.onnx", tmp_path)


def test_limits_and_interruption_leave_nothing(tmp_path: Path) -> None:
    path = save(cnn(), tmp_path / "m.onnx")
    assert "took longer than 0.1 s" in refuse(path, tmp_path, timeout_s=0.1)
    assert "more than 1 MiB of memory" in refuse(path, tmp_path, memory_bytes=1 << 20)
    with pytest.raises(Interrupted):
        resolve(str(path), tmp_path / "cache", log=tmp_path / "log", cancelled=lambda: True)
    assert list((tmp_path / "cache" / "models").iterdir()) == []


@pytest.mark.e2e
def test_a_program_is_prepared(program: Path, tmp_path: Path) -> None:
    made = resolve(str(program), tmp_path / "cache", log=tmp_path / "log")
    assert made.spec.has_program
    assert made.spec.reference == "eager torch, fp32"
    assert [tensor.shape for tensor in made.spec.inputs] == [(1, 3, 8, 8), (1,)]
    assert [tensor.shape for tensor in made.spec.outputs] == [(1, 8, 8, 8), (1, 5)] or [
        tensor.shape for tensor in made.spec.outputs
    ] == [(1, 5), (1, 8, 8, 8)]
    assert made.spec.parameters == 8 * 27 + 8 + 16 + 45


@pytest.mark.e2e
def test_a_pickle_in_a_program_is_not_run(program: Path, tmp_path: Path) -> None:
    import pickle

    from tests.compilers.test_pt2_checks import rewrite

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    evil = rewrite(program, tmp_path / "evil.pt2", extra={"data/sample_inputs/model.pt": pickle.dumps(Evil())})
    assert "torch cannot load" in refuse(evil, tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
def test_a_builtin_model_matches_its_published_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compilers.models import builtin

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    made, facts = resolve("resnet50", tmp_path / "cache", log=tmp_path / "log"), builtin("resnet50")
    assert (made.spec.inputs, made.spec.outputs, made.spec.parameters) == (facts.inputs, facts.outputs, facts.parameters)
    assert made.spec.flops == pytest.approx(facts.flops, rel=0.02)
    assert made.spec.weights == "seeded-random"
    assert "HF_HUB_OFFLINE" in made.spec.weights_note
    top1 = {int(result[0].argmax()) for result in spec_io.read_reference(made.folder)}
    assert len(top1) > 4
    shutil.rmtree(tmp_path / "cache")


def test_another_batch_of_a_built_in_model_is_another_job() -> None:
    plain = intake._job("bert_base", None, {})
    assert intake._job("bert_base", None, {"input_ids": (1, 128)})["key"] == plain["key"]
    eight = intake._job("bert_base", None, {"input_ids": (8, 128)})
    assert eight["key"] != plain["key"]
    # The other inputs follow.
    assert {shape[0] for shape in eight["shapes"].values()} == {8}
    assert len(eight["shapes"]) > 1
