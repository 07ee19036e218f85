"""What makes and runs a bundle, decided from what is here: fakes for the machine, the real compiler for its messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compilers.edge import toolchain as tools
from compilers.edge.device import address
from compilers.interface import CannotCompile
from compilers.targets import resolve
from compilers.targets.reach import Here, look
from harness.errors import UsageError


def here(programs: str = "", modules: str = "tvm") -> Here:
    return Here(
        host=replace(resolve("zen3"), name="host"),
        has_program=programs.split().__contains__,
        has_module=modules.split().__contains__,
        cuda=None,
    )


@pytest.mark.parametrize(
    ("target", "machine", "why"),
    [
        ("rasp4b", here("aarch64-linux-gnu-g++"), None),
        ("rasp3b", here(modules="tvm ziglang"), None),
        ("host", here("g++"), None),
        ("rasp4b", here("g++"), "needs a linker: apt install g++-aarch64-linux-gnu, or pip install ziglang"),
        ("rasp4b", here("aarch64-linux-gnu-g++", ""), "needs TVM (pip install 'loadstone[tvm]')"),
        ("qcs605", here("g++"), "needs a linker: install the Android NDK"),
        (
            "x86_win64",
            here(modules="tvm ziglang"),
            "TVM makes the code, but the bundle's runtime is written for Linux and Android; windows",
        ),
        ("sm_80", here("g++"), "a bundle is CPU code, and sm_80 is not a CPU target"),
        ("amba_cv22", here("g++"), "CVflow needs Ambarella's CNN toolchain"),
        ("coreml", here("g++"), "Core ML models come from"),
    ],
)
def test_why_no_bundle(target: str, machine: Here, why: str | None) -> None:
    found = tools.why_no_bundle(resolve(target), machine)
    assert (found is None) if why is None else str(found).startswith(why)


@pytest.mark.parametrize(
    ("target", "triple"),
    [
        ("rasp4b", "aarch64-linux-gnu.2.28"),
        ("rasp3b", "arm-linux-gnueabihf.2.28"),
        ("linux-armel", "arm-linux-gnueabi.2.28"),
        ("haswell", "x86_64-linux-gnu.2.28"),
    ],
)
def test_zig_is_told_the_target_and_an_old_c_library(target: str, triple: str) -> None:
    assert tools.zig_triple(resolve(target)) == triple


@pytest.mark.parametrize(
    ("target", "machine", "root", "found"),
    [
        ("haswell", here(), Path("/"), ()),
        ("rasp4b", here("qemu-aarch64"), Path("/x"), ("qemu-aarch64", "-L", "/x")),
        ("zen5", here("qemu-x86_64"), Path("/"), "this machine's CPU (znver3) lacks avx512"),
        ("rasp4b", here(), Path("/x"), "qemu-aarch64 would run it (apt install qemu-user)"),
        ("rasp4b", here("qemu-aarch64"), None, "would run it with the target's C library (apt install libc6-arm64-cross)"),
        ("rasp3b", here("qemu-arm"), None, "(apt install libc6-armhf-cross)"),
        ("qcs605", here("qemu-aarch64"), Path("/x"), "it runs on android arm64"),
        ("sm_80", here("qemu-aarch64"), Path("/x"), "it runs on an NVIDIA GPU (sm_80) only"),
    ],
)
def test_what_runs_it(
    target: str, machine: Here, root: Path | None, found: tuple[str, ...] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "look", lambda: machine)
    monkeypatch.setattr(tools, "sysroot", lambda _target: root)
    runs = tools.runner(resolve(target))
    if isinstance(found, str):
        assert isinstance(runs, str)
        assert found in runs
        assert "\n" not in runs
    else:
        assert isinstance(runs, tools.Runner)
        assert runs.prefix == found
        assert runs.emulated == bool(found)


def test_a_compiler_that_refuses_is_quoted_in_one_line(tmp_path: Path) -> None:
    found = tools.why_no_bundle(resolve("host"), look())
    if found is not None:
        pytest.skip(found)
    host = tools.toolchain(resolve("host"))
    (tmp_path / "wrong.cpp").write_text("int main( {}", encoding="utf-8")
    with pytest.raises(CannotCompile, match=r"failed: wrong\.cpp:1:\d+: error: ") as refused:
        host.compile(tmp_path / "wrong.cpp", tmp_path / "wrong.o")
    assert "\n" not in str(refused.value)
    (tmp_path / "sort.cpp").write_text('extern "C" int TVMFFIFunctionCall(); int f() { return TVMFFIFunctionCall(); }')
    host.compile(tmp_path / "sort.cpp", tmp_path / "sort.o")
    (tmp_path / "exports.map").write_text("{ global: *; };")
    with pytest.raises(CannotCompile, match="a kernel calls TVMFFIFunctionCall, which is TVM's runtime and not in a bundle"):
        host.link_library([tmp_path / "sort.o"], tmp_path / "libsort.so", tmp_path / "exports.map")


def test_a_compiler_that_is_gone_is_said(tmp_path: Path) -> None:
    gone = tools.Toolchain(command=("/nowhere/g++",), version="g++ 1")
    with pytest.raises(CannotCompile, match=r"g\+\+ 1 does not run"):
        gone.compile(tmp_path / "a.cpp", tmp_path / "a.o")


@pytest.mark.parametrize(
    ("text", "want"), [("pi.local:9090", ("pi.local", 9090)), ("[::1]:1", ("::1", 1)), ("10.0.0.7:65535", ("10.0.0.7", 65535))]
)
def test_addresses(text: str, want: tuple[str, int]) -> None:
    assert address(text) == want


@pytest.mark.parametrize("text", ["pi", ":90", "pi:", "pi:0", "pi:65536", "pi:9090:1", "pi 90:1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="is not HOST:PORT"):
        address(text)
