"""CUDA artifacts made with no GPU: real code for named GPUs, its proof, and the reason why nothing here ran it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from compilers import registry
from compilers.build import build
from compilers.gpu import cubin, session, toolkit
from compilers.interface import CannotCompile, CannotRun, Unchecked
from compilers.spec_io import PreparedModel
from compilers.targets import resolve
from compilers.targets.reach import Here, look, reach
from harness.nouns import Artifact, CompileOptions, Failure, Skipped
from tests.compilers.gpu.test_cubin import elf


def make(model: PreparedModel, folder: Path, target: str) -> Artifact | Unchecked | Skipped | Failure:
    return build(CompileOptions(backend="tvm-cuda", target=target), model, folder / "cache", log=folder / "log")


def here(cuda: str | None = None, nvrtc: str | None = None) -> Here:
    return Here(
        host=replace(resolve("zen3"), name="host"),
        has_program="g++".__eq__,
        has_module="tvm".__eq__,
        cuda=cuda,
        nvrtc=nvrtc,
    )


def require_compiler(target: str) -> None:
    found = reach(resolve(target), look())
    if found.builds != "yes":
        pytest.skip(found.builds)


@pytest.mark.parametrize(
    ("target", "machine", "tool", "builds"),
    [
        ("sm_90", here("13.0"), "nvcc", "yes"),
        ("sm_90", here(nvrtc="12.9"), "nvrtc", "yes"),
        ("ml_p3", here("13.0", "12.9"), "nvrtc", "yes"),
        ("sm_110", here(nvrtc="12.9"), None, "needs nvcc of CUDA 13.0 or later (here is 12.9)"),
        ("ml_p3", here("13.0"), None, "needs nvcc of CUDA 9.0 to 12.9 (here is 13.0), or pip install 'loadstone[cuda]'"),
        ("sm_75", here(), None, "needs nvcc of CUDA 10.0 or later, or pip install 'loadstone[cuda]'"),
        ("ml_p2", here("13.0", "12.9"), None, "needs nvcc of CUDA 6.5 to 11.8 (here is 13.0)"),
        ("haswell", here("13.0"), None, "yes"),
    ],
)
def test_which_compiler(target: str, machine: Here, tool: str | None, builds: str) -> None:
    assert toolkit.choose(resolve(target), machine) == tool
    assert reach(resolve(target), machine).builds == builds


@pytest.mark.parametrize(
    ("arch", "gpus", "why"),
    [
        ("sm_80", ("sm_80",), None),
        ("sm_80", ("sm_75", "sm_86"), None),  # upwards within a generation
        ("sm_86", ("sm_80",), "it runs on an NVIDIA GPU of sm_86, and here is sm_80"),
        ("sm_80", ("sm_90",), "it runs on an NVIDIA GPU of sm_80, and here is sm_90"),
        ("sm_86", ("sm_87",), "it runs on an NVIDIA GPU of sm_86, and here is sm_87"),
        ("sm_80", (), "no GPU here: it runs on an NVIDIA GPU of sm_80"),
    ],
)
def test_where_code_runs(arch: str, gpus: tuple[str, ...], why: str | None) -> None:
    assert session.why_not_run(arch, gpus) == why


@pytest.mark.parametrize("target", ["sm_75", "sm_90"])
def test_an_artifact_is_proven_to_be_for_its_gpu_and_says_that_nothing_ran_it(
    target: str, prepared: PreparedModel, tmp_path: Path
) -> None:
    require_compiler(target)
    made = make(prepared, tmp_path, target)
    assert isinstance(made, Artifact | Unchecked), made
    contents = cubin.read((made.path / "kernels.cubin").read_bytes())
    assert contents.arch == target
    source = (made.path / "kernels.cu").read_text(encoding="utf-8")
    written = set(re.findall(r'extern "C" __global__ void __launch_bounds__\(\d+\) (\w+)\(', source))
    assert written
    assert written == set(contents.kernels)
    assert source.encode() in (made.path / "model.so").read_bytes(), "the library and the cubin are of one source"
    assert made.details["gpu"]["kernels"] == len(contents.kernels)
    if session.capabilities():
        pytest.skip("a GPU is here")
    assert isinstance(made, Unchecked)
    assert made.parity is None
    assert made.reason == f"no GPU here: it runs on an NVIDIA GPU of {target}"
    assert made.details["latency_ms"] is None
    for arch, tool in (("sm_70", "nvrtc"), ("sm_121", "nvrtc")):
        assert set(cubin.read(toolkit.compile_source(source, arch, tool).cubin).kernels) == written
    again = make(prepared, tmp_path, target)
    assert isinstance(again, Unchecked)
    assert again.cached


def test_nvrtc_alone_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nvidia.cuda_nvrtc")
    source = 'extern "C" __global__ void __launch_bounds__(32) k(float* x) { x[threadIdx.x] = expf(x[threadIdx.x]); }'
    for arch in ("sm_70", "sm_86", "sm_120"):
        code = toolkit.compile_source(source, arch, "nvrtc")
        assert cubin.read(code.cubin) == cubin.Contents(arch=arch, kernels=("k",))
        assert cubin.read_ptx(code.ptx) == cubin.Contents(arch=arch, kernels=("k",))
    with pytest.raises(CannotCompile, match=r"NVRTC does not compile TVM's CUDA source: .*error"):
        toolkit.compile_source("int k( {", "sm_86", "nvrtc")
    with pytest.raises(CannotCompile, match="NVRTC"):
        toolkit.compile_source(source, "sm_37", "nvrtc")
    monkeypatch.setattr(toolkit, "nvrtc_folders", lambda: [])
    with pytest.raises(CannotCompile, match=r"pip install 'loadstone\[cuda\]'"):
        toolkit.compile_source(source, "sm_86", "nvrtc")


def test_the_name_tvm_means_the_form_that_the_target_needs() -> None:
    assert registry.for_target("tvm", resolve("host")) == "tvm"
    assert registry.for_target("tvm", resolve("rasp3b")) == "tvm-bundle"
    assert registry.for_target("tvm", resolve("ml_g4dn")) == "tvm-cuda"
    assert registry.for_target("ort", resolve("rasp4b")) == "ort"


def test_it_is_not_for_cpus(prepared: PreparedModel, tmp_path: Path) -> None:
    made = make(prepared, tmp_path, "host")
    assert isinstance(made, Skipped)
    assert "--target sm_80" in made.reason


def test_without_its_gpu_it_is_not_served(prepared: PreparedModel, tmp_path: Path) -> None:
    if session.capabilities():
        pytest.skip("a GPU is here")
    (tmp_path / "kernels.cubin").write_bytes(elf(flags=0x50, sections=(".text.k",)))
    with pytest.raises(CannotRun, match="no GPU here: it runs on an NVIDIA GPU of sm_80"):
        session.OnGpu(tmp_path / "model.so", tmp_path / "kernels.cubin", prepared.spec)
