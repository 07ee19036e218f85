from __future__ import annotations

import json
from pathlib import Path

import pytest

from compilers import compile_report
from compilers.build import build
from compilers.spec_io import PreparedModel
from harness.nouns import Artifact, CompileOptions
from tests.compilers.graphs import CNN_FLOPS


def made(prepared: PreparedModel, folder: Path, name: str) -> tuple[Artifact, CompileOptions]:
    options = CompileOptions(backend=name)
    artifact = build(options, prepared, folder / "cache", log=folder / "log")
    assert isinstance(artifact, Artifact), artifact
    return artifact, options


def test_a_report_is_measured_once_and_lies_beside_the_artifact(
    prepared: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, options = made(prepared, tmp_path, "ort")
    monkeypatch.setattr(compile_report, "SECONDS", 0.2)
    told = compile_report.with_report(artifact, options, prepared, cpus=[0], log=tmp_path / "report.log")
    report = told.details["report"]
    assert report["digest"] == artifact.digest
    assert report["latency_ms"]["artifact"]["rounds"] >= 3
    assert report["latency_ms"]["onnxruntime"]["p50"] > 0
    assert report["latency_ms"]["eager"] is None
    assert report["reasons"]["latency_ms.eager"] == "an ONNX file has no torch program"
    assert report["times_as_fast_as"].keys() == {"onnxruntime"}
    assert report["load_s"] > 0
    assert report["first_inference_ms"] > 0
    assert report["compile_peak_bytes"] > 10 << 20
    assert report["artifact_bytes"] == artifact.size_bytes
    assert report["parity"]["bar"] == {"max_rel": 1e-3, "top1_agreement": 0.97}
    assert report["operators"]["fallen_back"] == 0
    assert report["operators"]["covered"] == len(report["layers"]) >= 4
    done = sum(layer["gflop_per_s"] * layer["time_ms"] * 1e6 for layer in report["layers"] if layer["gflop_per_s"])
    assert done == pytest.approx(CNN_FLOPS, rel=0.2), "the layers' arithmetic adds up to the model's (times are whole µs)"
    assert json.loads((artifact.path.parent / "report-1.json").read_text()) == report

    def no_child(*args: object, **kwargs: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(compile_report, "run_bounded", no_child)
    again = compile_report.with_report(artifact, options, prepared, cpus=[0], log=tmp_path / "report.log")
    assert again.details["report"] == report
    with pytest.raises(AssertionError, match="a child"):  # of another digest: a rebuilt artifact is measured anew
        compile_report.with_report(
            Artifact(
                path=artifact.path,
                digest="other",
                size_bytes=1,
                compile_s=1.0,
                parity=artifact.parity,
                cached=False,
            ),
            options,
            prepared,
            cpus=[0],
            log=tmp_path / "report.log",
        )


def test_a_child_that_ends_badly_leaves_a_report_with_the_reason(
    prepared: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, options = made(prepared, tmp_path, "ort")
    monkeypatch.setattr(compile_report, "_LIMIT_S", 0.05)
    report = compile_report.with_report(artifact, options, prepared, cpus=[0], log=tmp_path / "l").details["report"]
    assert report["latency_ms"] is None
    assert report["reasons"]["latency_ms"] == "the child that measures took longer than 0.05 s"
    assert report["compile_s"] == artifact.compile_s


def test_null_has_nothing_to_report(prepared: PreparedModel, tmp_path: Path) -> None:
    artifact, options = made(prepared, tmp_path, "null")
    assert compile_report.with_report(artifact, options, prepared, cpus=[0], log=tmp_path / "l") == artifact


@pytest.mark.e2e
def test_tvm_and_openvino_tell_of_their_layers(prepared: PreparedModel, tmp_path: Path) -> None:
    for name in ("tvm", "openvino"):
        artifact, options = made(prepared, tmp_path, name)
        report = compile_report.with_report(artifact, options, prepared, cpus=[0], log=tmp_path / "l").details["report"]
        assert report["operators"]["covered"] >= 3, (name, report["reasons"])
        assert any(layer["of_peak"] for layer in report["layers"]), name
        assert report["peak_gflop_per_s"] > 1
