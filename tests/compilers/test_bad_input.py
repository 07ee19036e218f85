"""What is wrong with a model, an artifact or the disk, as the commands say it: one line, exit code 2 or 3, and no residue."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from compilers import backend_null, cache, registry, worker
from compilers.build import build
from compilers.interface import CannotCompile
from compilers.spec_io import PreparedModel
from harness.errors import InfrastructureError
from harness.nouns import Artifact, CompileOptions, Failure
from tests.compilers.graphs import cnn, embedding, model, save, save_with_external, value


def compile_it(folder: Path, *arguments: str, module: str = "harness.cli") -> subprocess.CompletedProcess[str]:
    env = os.environ | {"LOADSTONE_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env, check=False)


def custom(folder: Path) -> str:
    node = helper.make_node("Frobnicate", ["x"], ["y"], name="odd", domain="acme")
    return str(save(model([node], [value("x", [1, 4])], [value("y", [1, 4])], domains=["acme"]), folder / "m.onnx"))


def words(folder: Path) -> str:
    node = helper.make_node("Identity", ["x"], ["y"], name="same")
    kind = onnx.TensorProto.STRING
    return str(save(model([node], [value("x", [1, 4], kind)], [value("y", [1, 4], kind)]), folder / "m.onnx"))


def unrunnable(folder: Path) -> str:
    """A convolution of bfloat16, which that operator's version does not take."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="halves")
    kind = onnx.TensorProto.BFLOAT16
    cast = [
        helper.make_node("Cast", ["a"], ["x"], name="down", to=kind),
        helper.make_node("Cast", ["b"], ["w"], name="w", to=kind),
    ]
    up = helper.make_node("Cast", ["y"], ["z"], name="up", to=onnx.TensorProto.FLOAT)
    inputs = [value("a", [1, 1, 4, 4]), value("b", [1, 1, 3, 3])]
    return str(save(model([*cast, node, up], inputs, [value("z", [1, 1, 2, 2])]), folder / "m.onnx"))


def outside(folder: Path) -> str:
    inner = folder / "inner"
    inner.mkdir()
    (folder / "secret.bin").write_bytes(b"x" * 10_000)
    return str(save_with_external(cnn(1), inner / "m.onnx", "../secret.bin"))


@pytest.mark.parametrize(
    ("source", "arguments", "said"),
    [
        (lambda folder: str(save(cnn(1), folder / "m.onnx")), ["--shape", "image=1x3x8x8"], "input has shape 1x3x16x16"),
        (lambda folder: str(save(cnn(1), folder / "m.onnx")), ["--shape", "picture=1x3x8x8"], "no such input"),
        (
            lambda folder: str(save(embedding(), folder / "m.onnx")),
            [],
            "'ids' has the open shape batchxsequence; give it",
        ),
        (lambda folder: str(save(cnn(1), folder / "m.onnx")), ["--precisions", "int4"], "did you mean int8"),
        (custom, [], "custom operator acme.Frobnicate (node 'odd')"),
        (words, [], "'x' holds strings"),
        (unrunnable, [], "node name: halves"),
        (outside, [], "outside the model's folder"),
    ],
    ids=["shape", "input", "open axis", "precision", "operator", "strings", "dtype", "external data"],
)
def test_one_line_and_exit_code_2(source: Callable[[Path], str], arguments: list[str], said: str, tmp_path: Path) -> None:
    done = compile_it(tmp_path, "compile", source(tmp_path), "--backend", "ort", *arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.parent.name != "logs"]
    assert left == []


def test_a_corrupt_or_foreign_artifact_is_not_served(prepared: PreparedModel, tmp_path: Path) -> None:
    made = build(CompileOptions(backend="ort"), prepared, tmp_path / "cache", log=tmp_path / "log")
    assert isinstance(made, Artifact)
    with (made.path / "model.onnx").open("r+b") as file:
        file.seek(50)
        file.write(b"\xff\xff")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    shutil.copyfile(prepared.folder / "model.onnx", foreign / "model.onnx")
    for folder, said in ((made.path, "model.onnx was altered"), (foreign, "manifest.json is missing")):
        options = ["--backend=ort", f"--artifact={folder}", f"--model-folder={prepared.folder}", "--port=0"]
        done = compile_it(tmp_path, *options, module="harness.serving")
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert "compile it again" in done.stderr


def test_an_artifact_put_in_the_place_of_another_is_rebuilt(prepared: PreparedModel, tmp_path: Path) -> None:
    """Whole in itself, its manifest too, but not the one whose outputs were compared."""
    made = build(CompileOptions(backend="ort"), prepared, tmp_path / "cache", log=tmp_path / "log")
    assert isinstance(made, Artifact)
    (made.path / "model.onnx").write_bytes((prepared.folder / "model.onnx").read_bytes())
    cache.write_manifest(made.path)
    again = build(CompileOptions(backend="ort"), prepared, tmp_path / "cache", log=tmp_path / "log")
    assert isinstance(again, Artifact)
    assert not again.cached
    assert "another than the one that was compared" in again.details["warning"]
    assert again.digest == made.digest


def test_an_unreadable_outcome_is_rebuilt(prepared: PreparedModel, tmp_path: Path) -> None:
    made = build(CompileOptions(backend="null"), prepared, tmp_path / "cache", log=tmp_path / "log")
    assert isinstance(made, Artifact)
    for spoiled in ("{", "[]", '{"digest": "x"}'):
        (made.path.parent / "outcome.json").write_text(spoiled)
        again = build(CompileOptions(backend="null"), prepared, tmp_path / "cache", log=tmp_path / "log")
        assert isinstance(again, Artifact)
        assert not again.cached


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 192 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(folder)], capture_output=True, check=False)
    if mount.returncode != 0:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_nothing_half_written(prepared: PreparedModel, small_disk: Path, tmp_path: Path) -> None:
    options = CompileOptions(backend="ort")
    (small_disk / "filler").write_bytes(b"x" * (188 << 10))
    with pytest.raises(InfrastructureError, match="No space left"):
        build(options, prepared, small_disk / "cache", log=tmp_path / "log")
    (small_disk / "filler").write_bytes(b"x" * (180 << 10))
    with pytest.raises(InfrastructureError, match="No space left"):
        build(options, prepared, small_disk / "cache", log=tmp_path / "log")
    assert [path for path in (small_disk / "cache").rglob("*") if path.is_file()] == []
    (small_disk / "filler").unlink()
    assert isinstance(build(options, prepared, small_disk / "cache", log=tmp_path / "log"), Artifact)


def test_a_refusal_on_a_full_disk_is_not_held_against_the_model(
    prepared: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses(backend_null.Null):
        def compile(self, *_: Any, **__: Any) -> Any:
            raise CannotCompile("cannot write: No space left on device")

    monkeypatch.setattr(worker, "backend", lambda _: Refuses())
    monkeypatch.setattr(worker, "die_with_parent", lambda: None)
    (tmp_path / "artifact").mkdir()
    job = {"options": {"backend": "null"}, "model": str(prepared.folder), "timeout_s": 10}
    cache.write_json(tmp_path / "job.json", job)
    for free, final in ((1 << 30, True), (1 << 20, False)):
        usage = shutil._ntuple_diskusage(1 << 40, 0, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        assert worker.main(["worker", str(tmp_path / "job.json")]) == 0
        outcome: Any = cache.read_json(tmp_path / "outcome.json")
        assert outcome["final"] is final


def test_every_backend_of_the_registry_says_whether_it_reads_onnx() -> None:
    assert {name for name in registry.BACKENDS if registry.backend(name).reads_onnx} >= {"ort", "openvino", "tvm"}
    assert not isinstance(registry.backend("torch").reads_onnx, str)
    assert Failure(stage="compile", reason="x").reproducer is None
