from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compilers import backend_ort_cuda, backend_torch_cuda, cuda
from compilers.build import build
from compilers.interface import Unavailable
from compilers.registry import backend
from compilers.spec_io import PreparedModel
from harness.nouns import CompileOptions, Skipped

NO_CARD = not any(Path("/dev").glob("nvidia[0-9]*"))


def test_a_card_is_seen_by_its_device(tmp_path: Path) -> None:
    assert "no NVIDIA GPU here" in str(cuda.why_no_gpu(tmp_path))
    (tmp_path / "nvidiactl").touch()
    assert cuda.why_no_gpu(tmp_path) is not None, "the control device alone is a driver without a card"
    (tmp_path / "nvidia0").touch()
    assert cuda.why_no_gpu(tmp_path) is None


def test_the_package_that_is_needed_is_named_exactly() -> None:
    def has(**found: str) -> Any:
        return lambda name: found.get(name.replace("-", "_"))

    assert cuda.why_no_onnxruntime(has(onnxruntime_gpu="1.31.1")) is None
    assert "pip uninstall onnxruntime && pip install onnxruntime-gpu==1.31.1" in str(
        cuda.why_no_onnxruntime(has(onnxruntime="1.31.1"))
    )
    assert str(cuda.why_no_onnxruntime(has())).endswith("pip install onnxruntime-gpu")
    assert cuda.why_no_torch(has(torch="2.13.0+cu128")) is None
    assert cuda.why_no_torch(has(torch="2.13.0")) is None
    assert "torch==2.13.0 --index-url" in str(cuda.why_no_torch(has(torch="2.13.0+cpu")))
    assert "not installed" in str(cuda.why_no_torch(has()))


@pytest.mark.skipif(not NO_CARD, reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["ort-cuda", "torch-cuda"])
def test_without_a_card_the_row_is_skipped_with_all_that_is_missing(prepared: PreparedModel, tmp_path: Path, name: str) -> None:
    if name == "torch-cuda":
        prepared = replace(prepared, spec=replace(prepared.spec, has_program=True))
    made = build(CompileOptions(backend=name), prepared, tmp_path / "cache", log=tmp_path / "log")
    assert isinstance(made, Skipped), made
    assert "no NVIDIA GPU here" in made.reason
    assert "pip install" in made.reason
    assert "\n" not in made.reason


class FakeSession:
    """What `onnxruntime.InferenceSession` is to the backend, with or without a GPU that starts."""

    starts = True

    def __init__(self, path: str, settings: Any, providers: Any) -> None:
        assert Path(path).is_file()
        self.providers = providers

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"] if self.starts else ["CPUExecutionProvider"]

    def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [np.full((1, 8), float(len(inputs)), np.float32) for _ in names]


def fake_onnxruntime(monkeypatch: pytest.MonkeyPatch, *, provider: bool = True, starts: bool = True) -> None:
    session = type("Session", (FakeSession,), {"starts": starts})
    module = SimpleNamespace(
        __version__="1.31.1",
        SessionOptions=lambda: SimpleNamespace(),
        InferenceSession=session,
        get_available_providers=lambda: ["CUDAExecutionProvider"] if provider else ["CPUExecutionProvider"],
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", module)


def test_onnx_runtime_compiles_and_serves_where_the_provider_starts(
    prepared: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_onnxruntime(monkeypatch)
    chosen = backend_ort_cuda.OnnxRuntimeCuda()
    details = chosen.compile(prepared.spec, prepared.folder, CompileOptions(backend="ort-cuda"), tmp_path)
    assert details["provider"] == "CUDAExecutionProvider"
    session = chosen.load(tmp_path, prepared.spec, 1)
    assert session._session.providers[0] == ("CUDAExecutionProvider", {"use_tf32": "0"})
    (output,) = session.run({"image": np.zeros((1, 3, 16, 16), np.float32)})
    assert output.shape == (1, 8)


@pytest.mark.parametrize(
    ("how", "said"), [({"provider": False}, "has no CUDAExecutionProvider"), ({"starts": False}, "does not start here")]
)
def test_onnx_runtime_that_would_quietly_use_the_cpu_is_skipped(
    prepared: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, bool], said: str
) -> None:
    fake_onnxruntime(monkeypatch, **how)
    options = CompileOptions(backend="ort-cuda")
    with pytest.raises(Unavailable, match=said):
        backend_ort_cuda.OnnxRuntimeCuda().compile(prepared.spec, prepared.folder, options, tmp_path)


def test_torch_without_a_usable_gpu_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(__version__="2.13.0+cu128", cuda=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "torch", fake)
    with pytest.raises(Unavailable, match="finds no GPU that it can use"):
        backend_torch_cuda._gpu()


def test_torch_with_one_keeps_fp32_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    switches = SimpleNamespace(
        cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True)), cudnn=SimpleNamespace(allow_tf32=True)
    )
    gpu = SimpleNamespace(is_available=lambda: True, get_device_name=lambda _: "a card")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="2.13.0", cuda=gpu, backends=switches))
    assert backend_torch_cuda._gpu() == "a card"
    assert (switches.cuda.matmul.allow_tf32, switches.cudnn.allow_tf32) == (False, False)


def test_both_say_what_they_do_not_compute_in(prepared: PreparedModel) -> None:
    for name in ("ort-cuda", "torch-cuda"):
        spec = replace(prepared.spec, has_program=True)
        assert "not int8" in str(backend(name).why_not(spec, CompileOptions(backend=name, precision="int8")))
