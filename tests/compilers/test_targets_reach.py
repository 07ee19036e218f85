from __future__ import annotations

from dataclasses import replace

import pytest

from compilers.interface import must_run_here
from compilers.targets import resolve
from compilers.targets.reach import Here, look, reach, why_not_here
from harness.nouns import CompileOptions


def here(host: str = "zen3", programs: str = "", modules: str = "tvm", cuda: str | None = None) -> Here:
    return Here(
        host=replace(resolve("linux-x86_64", {"mcpu": host}) if host.startswith("x86-64") else resolve(host), name="host"),
        has_program=programs.split().__contains__,
        has_module=modules.split().__contains__,
        cuda=cuda,
    )


@pytest.mark.parametrize(
    ("name", "machine", "builds", "runs"),
    [
        ("haswell", here(programs="g++"), "yes", "here"),
        ("haswell", here(), "needs a linker: apt install g++", "here"),
        ("haswell", here(modules=""), "needs TVM (pip install 'loadstone[tvm]'); and a linker: apt install g++", "here"),
        ("zen5", here(programs="g++"), "yes", "on the device"),
        ("zen5", here(programs="g++ qemu-x86_64"), "yes", "on the device"),  # QEMU has no AVX-512
        ("haswell", here("x86-64-v2", programs="g++ qemu-x86_64"), "yes", "under qemu-x86_64"),
        (
            "rasp4b",
            here(programs="g++"),
            "needs a linker: apt install g++-aarch64-linux-gnu, or pip install ziglang",
            "on the device",
        ),
        ("rasp4b", here(programs="aarch64-linux-gnu-g++ qemu-aarch64"), "yes", "under qemu-aarch64"),
        ("rasp4b", here(modules="tvm ziglang"), "yes", "on the device"),
        ("rasp4b", here("graviton3", programs="g++"), "yes", "here"),
        ("graviton4", here("graviton3", programs="g++"), "yes", "on the device"),
        ("rasp3b", here(programs="arm-linux-gnueabihf-g++"), "yes", "on the device"),
        (
            "linux-armel",
            here(programs="arm-linux-gnueabihf-g++"),
            "needs a linker: apt install g++-arm-linux-gnueabi",
            "on the device",
        ),
        ("qcs605", here(programs="aarch64-linux-android24-clang++"), "yes", "on the device"),
        ("qcs605", here(modules="tvm ziglang"), "needs a linker: install the Android NDK", "on the device"),
        ("sm_90", here(programs="g++"), "needs nvcc of CUDA 11.8 or later", "on the device"),
        ("sm_90", here(programs="g++", cuda="11.7"), "needs nvcc of CUDA 11.8 or later (here is 11.7)", "on the device"),
        ("sm_90", here(programs="g++", cuda="13.0"), "yes", "on the device"),
        ("ml_p3", here(programs="g++", cuda="13.0"), "needs nvcc of CUDA 9.0 to 12.9 (here is 13.0)", "on the device"),
        ("x86_win64", here(modules="tvm ziglang"), "no: TVM makes the code, but", ""),
        ("inf2", here(), "needs torch-neuronx and neuronx-cc", "on the device"),
        ("inf2", here(modules="torch_neuronx neuronxcc"), "yes", "on the device"),
        ("ml_inf1", here(modules="torch_neuronx neuronxcc"), "no: the current Neuron SDK dropped", ""),
        ("coreml", here(), "no: Core ML models come from", ""),
    ],
)
def test_what_it_takes(name: str, machine: Here, builds: str, runs: str) -> None:
    found = reach(resolve(name), machine)
    assert found.builds.startswith(builds)
    assert found.runs == runs


def test_an_api_level_chooses_its_own_linker() -> None:
    machine = here(programs="aarch64-linux-android28-clang++")
    assert reach(resolve("qcs605", {"ANDROID_PLATFORM": 28}), machine).linker == "aarch64-linux-android28-clang++"
    assert reach(resolve("qcs605"), machine).linker is None


def test_why_not_here_names_what_the_cpu_lacks() -> None:
    zen3 = resolve("zen3")
    assert why_not_here(resolve("haswell"), zen3) is None
    assert why_not_here(zen3, zen3) is None
    assert "avx512f" in str(why_not_here(resolve("skylake-avx512"), zen3))
    assert why_not_here(resolve("skylake-avx512", {"mattr": "-avx512f"}), zen3) is None
    assert "this machine is linux x86_64" in str(why_not_here(resolve("graviton3"), zen3))
    assert "GPU (sm_80)" in str(why_not_here(resolve("a100"), zen3))


def test_this_machine_runs_what_is_compiled_for_it() -> None:
    found = look()
    assert reach(found.host, found).runs == "here"
    assert must_run_here(CompileOptions(backend="tvm")) is None
    reason = must_run_here(CompileOptions(backend="tvm", target="sm_90"))
    assert reason == "cannot be compared with the reference on this machine: it runs on an NVIDIA GPU (sm_90) only"
