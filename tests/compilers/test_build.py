from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from compilers import build as builds
from compilers import cache, interface, spec_io
from compilers.build import build, load_session
from compilers.interface import Unchecked
from compilers.registry import backend
from compilers.spec_io import PreparedModel
from compilers.targets.host import detect
from harness.errors import Interrupted, UsageError
from harness.nouns import Artifact, CompileOptions, Failure, Skipped


def make(
    model: PreparedModel, folder: Path, name: str = "ort", *, precision: str = "fp32", **limits: Any
) -> Artifact | Unchecked | Skipped | Failure:
    options = CompileOptions(backend=name, precision=precision)
    return build(options, model, folder / "cache", log=folder / "log", **limits)


@pytest.fixture(scope="module")
def built(prepared: PreparedModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Path]:
    folder = tmp_path_factory.mktemp("built")
    made = make(prepared, folder)
    assert isinstance(made, Artifact), made
    return made, folder


@pytest.fixture
def copy(prepared: PreparedModel, tmp_path: Path) -> PreparedModel:
    """A prepared model that a test may spoil."""
    shutil.copytree(prepared.folder, tmp_path / "model")
    return spec_io.read_prepared(tmp_path / "model")


def test_an_artifact_is_compiled_compared_and_served(built: tuple[Artifact, Path], prepared: PreparedModel) -> None:
    artifact, _ = built
    assert not artifact.cached
    assert artifact.compile_s > 0
    assert artifact.parity.payloads == 32
    assert artifact.parity.max_rel < 1e-4
    assert artifact.parity.top1_agreement == 1.0
    assert artifact.details["packages"] == {"onnxruntime": metadata.version("onnxruntime")}
    assert artifact.size_bytes == sum(p.stat().st_size for p in artifact.path.iterdir() if p.name != "manifest.json")
    session = load_session("ort", artifact.path, prepared.folder, 1)
    (output,) = session.run(spec_io.read_payloads(prepared.folder)[3])
    np.testing.assert_allclose(output, spec_io.read_reference(prepared.folder)[3][0], rtol=1e-3, atol=1e-4)


def test_the_second_build_comes_from_the_cache(
    built: tuple[Artifact, Path], prepared: PreparedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, folder = built

    def no_child(*args: object, **kwargs: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(builds, "run_bounded", no_child)
    again = make(prepared, folder)
    assert isinstance(again, Artifact)
    assert again.cached
    assert (again.digest, again.parity, again.compile_s) == (artifact.digest, artifact.parity, artifact.compile_s)
    monkeypatch.setattr(cache, "cpu_identity", lambda: "another")  # another CPU is another artifact
    with pytest.raises(AssertionError, match="a child"):
        make(prepared, folder)


def test_a_damaged_artifact_is_rebuilt_with_a_warning(prepared: PreparedModel, tmp_path: Path) -> None:
    first = make(prepared, tmp_path)
    assert isinstance(first, Artifact)
    with (first.path / "model.onnx").open("r+b") as file:
        file.seek(100)
        file.write(b"\x00\x01\x02")
    again = make(prepared, tmp_path)
    assert isinstance(again, Artifact)
    assert not again.cached
    assert "model.onnx was altered" in again.details["warning"]
    third = make(prepared, tmp_path)
    assert isinstance(third, Artifact)
    assert third.cached
    assert "warning" not in third.details


def test_two_builds_of_one_key_do_not_disturb_each_other(prepared: PreparedModel, tmp_path: Path) -> None:
    made: list[Artifact | Unchecked | Skipped | Failure] = []
    threads = [Thread(target=lambda: made.append(make(prepared, tmp_path, "null"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(one, Artifact) for one in made), made
    (entry,) = (tmp_path / "cache" / "artifacts").iterdir()
    assert cache.damage(entry / "artifact") is None


def test_null_answers_zeros_and_is_not_judged(prepared: PreparedModel, tmp_path: Path) -> None:
    made = make(prepared, tmp_path, "null")
    assert isinstance(made, Artifact)
    assert made.parity.max_rel == 1.0  # zeros are as far off as the largest value
    (output,) = load_session("null", made.path, prepared.folder, 1).run({})
    assert output.shape == (1, 8)
    assert not output.any()


def test_a_parity_failure_has_figures_and_is_remembered(
    copy: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = spec_io.read_reference(copy.folder)
    reference[5][0] = reference[5][0] + 0.5
    spec_io.write_reference(copy.folder, reference)
    made = make(copy, tmp_path)
    assert isinstance(made, Failure)
    assert made.stage == "parity"
    assert "relative error" in made.reason
    assert made.parity is not None
    assert made.parity.max_rel > 1e-3
    monkeypatch.setattr(builds, "run_bounded", None)  # the second answer needs no child
    again = make(copy, tmp_path)
    assert isinstance(again, Failure)
    assert (again.stage, again.reason, again.parity) == (made.stage, made.reason, made.parity)
    assert again.log is not None
    assert again.log.exists()


def test_what_the_backend_refuses_is_a_failure_of_the_compile_stage(copy: PreparedModel, tmp_path: Path) -> None:
    (copy.folder / "model.onnx").write_bytes(b"garbage")
    made = make(copy, tmp_path)
    assert isinstance(made, Failure)
    assert made.stage == "compile"
    assert "ONNX Runtime cannot optimise the model" in made.reason
    assert "\n" not in made.reason
    assert made.operator is None
    assert made.reduction is not None


@pytest.mark.parametrize(
    ("limit", "reason"),
    [({"timeout_s": 0.1}, "took longer than 0.1 s"), ({"memory_bytes": 1 << 20}, "more memory than allowed")],
)
def test_limits_are_failures_and_are_not_remembered(
    prepared: PreparedModel, tmp_path: Path, limit: dict[str, Any], reason: str
) -> None:
    made = make(prepared, tmp_path, "ort", **limit)
    assert isinstance(made, Failure)
    assert reason in made.reason
    assert list((tmp_path / "cache" / "artifacts").iterdir()) == []


def test_interruption_leaves_nothing(prepared: PreparedModel, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        make(prepared, tmp_path, cancelled=lambda: True)
    assert list((tmp_path / "cache" / "artifacts").iterdir()) == []


def test_what_cannot_be_tried_is_skipped_with_the_way_out(
    prepared: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "needs the torch program" in str(make(prepared, tmp_path, "torch"))
    assert "built for fp32, int8, int8-dynamic here, not bf16" in str(make(prepared, tmp_path, "ort", precision="bf16"))

    def missing(packages: tuple[str, ...]) -> dict[str, str]:
        error = metadata.PackageNotFoundError()
        error.args = (packages[0],)
        raise error

    monkeypatch.setattr(cache, "package_versions", missing)
    skipped = make(prepared, tmp_path, "openvino")
    assert isinstance(skipped, Skipped)
    assert skipped.reason == "openvino is not installed: pip install 'loadstone[openvino]'"
    with pytest.raises(UsageError, match="unknown backend"):
        make(prepared, tmp_path, "tensorrt")


def test_threads_share_an_artifact_unless_it_depends_on_them(prepared: PreparedModel) -> None:
    def key(name: str, threads: int) -> str:
        options = CompileOptions(backend=name, threads=threads)
        return cache.content_key(builds._key(backend(name), options, prepared, {}))

    assert key("ort", 1) == key("ort", 2)
    assert key("inductor", 1) != key("inductor", 2)


@pytest.mark.parametrize(("name", "precision"), [("ort", "int8"), ("ort", "int8-dynamic"), ("openvino", "int8")])
def test_eight_bits_are_near_but_not_equal(prepared: PreparedModel, tmp_path: Path, name: str, precision: str) -> None:
    made = make(prepared, tmp_path, name, precision=precision)
    assert isinstance(made, Artifact), made
    assert 1e-4 < made.parity.max_rel < 0.1  # further off than fp32 may be, and than fp32 is
    assert [path.name for path in made.path.glob("quantised*")] == []
    if precision == "int8":
        assert made.details["calibration"] == "128 seeded payloads, none of them compared"
    (output,) = load_session(name, made.path, prepared.folder, 1).run(spec_io.read_payloads(prepared.folder)[3])
    reference = spec_io.read_reference(prepared.folder)[3][0]
    assert np.abs(output - reference).max() < 0.1 * np.abs(reference).max()


def test_a_bar_of_its_own_rejects_with_the_figures(copy: PreparedModel, tmp_path: Path) -> None:
    reference = [[10 * output for output in outputs] for outputs in spec_io.read_reference(copy.folder)]
    spec_io.write_reference(copy.folder, reference)
    made = make(copy, tmp_path, "ort", precision="int8")
    assert isinstance(made, Failure)
    assert made.parity is not None
    assert made.parity.max_rel > 0.15
    assert "is above 0.15" in made.reason


@pytest.mark.e2e
@pytest.mark.skipif("bf16" not in detect().precisions, reason="this CPU does not compute in bfloat16")
def test_bfloat16_is_near_but_not_equal(prepared: PreparedModel, program: Path, tmp_path: Path) -> None:
    from compilers.intake import resolve

    model = resolve(str(program), tmp_path / "cache", log=tmp_path / "log")
    for name, subject in (("openvino", prepared), ("torch", model)):
        made = make(subject, tmp_path, name, precision="bf16")
        assert isinstance(made, Artifact), (name, made)
        assert 1e-5 < made.parity.max_rel < 0.05, name


def test_a_precision_without_instructions_for_it_is_skipped(
    prepared: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interface, "resolve", lambda *_: replace(detect(), mcpu="haswell", precisions=("fp32",)))
    skipped = make(prepared, tmp_path, "openvino", precision="bf16")
    assert skipped == Skipped(reason="this CPU (haswell) has no instructions for bf16, so it would only be slower")


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["openvino", "tvm"])
def test_other_backends_take_the_onnx_file(prepared: PreparedModel, tmp_path: Path, name: str) -> None:
    made = make(prepared, tmp_path, name)
    assert isinstance(made, Artifact), made
    assert made.parity.max_rel < 1e-4
    for threads in (1, 2):
        session = load_session(name, made.path, prepared.folder, threads)
        (output,) = session.run(spec_io.read_payloads(prepared.folder)[0])
        np.testing.assert_allclose(output, spec_io.read_reference(prepared.folder)[0][0], rtol=1e-3, atol=1e-4)
        assert output.flags.c_contiguous


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("ort", "openvino", "torch", "tvm"), marks=pytest.mark.e2e, id="quick compilers"),
        pytest.param(("inductor",), marks=pytest.mark.slow, id="inductor"),
    ],
)
def test_every_backend_takes_a_program(program: Path, tmp_path: Path, names: tuple[str, ...]) -> None:
    from compilers.intake import resolve

    model = resolve(str(program), tmp_path / "cache", log=tmp_path / "log")
    for name in names:
        made = make(model, tmp_path, name)
        assert isinstance(made, Artifact), (name, made)
        assert made.parity.max_rel < 1e-4, name
        assert made.parity.payloads == 32
        assert ("not_reproducible" in made.details) == (name == "inductor")
