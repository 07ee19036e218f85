from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from compilers import backend_neuron
from compilers.build import build
from compilers.intake import resolve
from compilers.interface import Unchecked
from compilers.neuron import coverage
from compilers.spec_io import PreparedModel
from harness.nouns import Artifact, CompileOptions, Failure, Skipped

CNN = [("Conv", "conv1"), ("Relu", "relu1"), ("CumSum", "sum"), ("OneHot", "hot"), ("MatMul", "fc")]


def make(
    model: PreparedModel, folder: Path, target: str = "ml_inf2", precision: str = "fp32"
) -> Artifact | Unchecked | Skipped | Failure:
    options = CompileOptions(backend="neuron", target=target, precision=precision)
    return build(options, model, folder / "cache", log=folder / "log")


def fake_toolchain(monkeypatch: pytest.MonkeyPatch, folder: Path, trace: str, *, device: bool = True) -> None:
    """A `torch_neuronx` whose `trace` has the body `trace`, and a device, for our children."""
    (folder / "torch_neuronx").mkdir(parents=True)
    (folder / "torch_neuronx" / "__init__.py").write_text(trace)
    (folder / "neuron0").touch()
    devices = folder / ("neuron*" if device else "nothing*")
    (folder / "sitecustomize.py").write_text(
        textwrap.dedent(
            f"""
            import importlib.util
            if importlib.util.find_spec("compilers") is not None:
                from compilers import backend_neuron
                backend_neuron.DEVICES = {str(devices)!r}
            """
        )
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))


WORKING = """
import json, pathlib, torch
def trace(program, example, compiler_args=None, compiler_workdir=None):
    pathlib.Path(compiler_workdir).joinpath("arguments.json").write_text(json.dumps(compiler_args))
    return torch.jit.trace(program, example)
"""

REFUSING = """
import torch
def trace(program, example, compiler_args=None, compiler_workdir=None):
    if example[0].dim() > 2:
        raise RuntimeError("NCC_EVRF009: no cumsum")
    return torch.jit.trace(program, example)
"""


def test_what_falls_back_is_named_with_its_node() -> None:
    first = coverage.check(CNN, generation=1)
    assert (first.nodes, first.listed, first.predecessor) == (5, 4, 0)
    assert first.fallen_back == ("CumSum 'sum'",)
    assert first.limited == ("OneHot 'hot'",)
    assert "4 of 5 nodes would run on the accelerator" in first.words
    assert "1 would fall back: CumSum 'sum'" in first.words


def test_the_second_generation_has_a_list_of_its_own_and_what_its_predecessor_took() -> None:
    second = coverage.check(CNN, generation=2)
    assert (second.listed, second.predecessor) == (1, 3)  # relu is lowered explicitly; Conv and MatMul go through XLA
    assert second.fallen_back == ("CumSum 'sum'",)


def test_many_of_a_kind_are_counted() -> None:
    words = coverage.check([("CumSum", f"n{at}") for at in range(9)], generation=1).words
    assert words.endswith("9 would fall back: 9 CumSum")


def test_the_table_is_whole() -> None:
    rows = coverage._rows()
    assert len(rows) == 147
    assert {row["status"] for row in rows} == {"supported", "limited", "not listed"}
    assert all(row["source"] for row in rows)
    assert {row["date"] for row in rows if row["list"] == "torch-neuronx"} == {coverage.DATE}


@pytest.mark.parametrize("target", ["ml_inf1", "ml_inf2", "ml_trn1"])
def test_without_the_toolchain_the_row_is_skipped_with_the_coverage(
    prepared: PreparedModel, tmp_path: Path, target: str
) -> None:
    made = make(prepared, tmp_path, target)
    assert isinstance(made, Skipped), made
    assert "no working torch_neuron" in made.reason
    assert "No module named" in made.reason
    assert "7 of 7 nodes would run on the accelerator" in made.reason
    assert "\n" not in made.reason
    assert list((tmp_path / "cache" / "artifacts").iterdir()) == [], (
        "nothing is remembered: the toolchain may be there tomorrow"
    )


def test_a_placeholder_package_is_found_out_by_compiling(
    prepared: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_toolchain(monkeypatch, tmp_path / "site", "__version__ = '0.0.1'\n")
    made = make(prepared, tmp_path)
    assert isinstance(made, Skipped), made
    assert "AttributeError: module 'torch_neuronx' has no attribute 'trace'" in made.reason


def test_an_onnx_file_has_no_program_to_compile(
    prepared: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_toolchain(monkeypatch, tmp_path / "site", WORKING)
    made = make(prepared, tmp_path)
    assert isinstance(made, Skipped), made
    assert "an ONNX file has none" in made.reason


@pytest.mark.e2e
def test_a_working_toolchain_compiles_compares_and_fails_by_name(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = resolve(str(program), tmp_path / "cache", log=tmp_path / "prepare.log")
    with monkeypatch.context() as patched:
        fake_toolchain(patched, tmp_path / "works", WORKING)
        made = make(model, tmp_path, precision="bf16")
        assert isinstance(made, Artifact), made
        assert made.details["toolchain"] == "torch_neuronx"
        assert made.details["compiler_arguments"] == "--auto-cast all --auto-cast-type bf16"
        assert made.details["coverage"]["fallen_back"] == []
        assert made.parity.max_rel < 1e-5
    with monkeypatch.context() as patched:
        fake_toolchain(patched, tmp_path / "absent", WORKING, device=False)
        made = make(model, tmp_path, "ml_trn1")
        assert isinstance(made, Skipped), made
        assert "compile on the instance itself" in made.reason
    with monkeypatch.context() as patched:
        fake_toolchain(patched, tmp_path / "refuses", REFUSING)
        made = make(model, tmp_path)
        assert isinstance(made, Failure), made
        assert made.reason == "torch_neuronx: RuntimeError: NCC_EVRF009: no cumsum"


def test_other_targets_and_precisions_are_refused_without_trying(prepared: PreparedModel) -> None:
    neuron = backend_neuron.Neuron()
    assert "give --target ml_inf2" in str(neuron.why_not(prepared.spec, CompileOptions(backend="neuron")))
    options = CompileOptions(backend="neuron", target="ml_inf2", precision="int8")
    assert "not int8" in str(neuron.why_not(prepared.spec, options))
