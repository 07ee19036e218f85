"""CUDA C++ to machine code of one architecture, by nvcc from the PATH or by NVRTC from PyPI. Neither needs a GPU."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compilers.interface import CannotCompile
from compilers.targets import Target
from compilers.targets.options import out_of_range
from compilers.targets.reach import Here

_PREAMBLE = """\
namespace cuda { namespace std {
typedef signed char int8_t; typedef short int16_t; typedef int int32_t; typedef long long int64_t;
typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
template <class A, class B> struct is_same { static constexpr bool value = false; };
template <class A> struct is_same<A, A> { static constexpr bool value = true; };
template <class A, class B> inline constexpr bool is_same_v = is_same<A, B>::value;
template <class T> struct is_floating_point { static constexpr bool value = is_same_v<T, float> || is_same_v<T, double>; };
template <class T> struct is_signed { static constexpr bool value = T(-1) < T(0); };
template <class T> struct is_unsigned { static constexpr bool value = T(0) < T(-1); };
template <class T> struct is_integral { static constexpr bool value = !is_floating_point<T>::value; };
template <bool, class T = void> struct enable_if {};
template <class T> struct enable_if<true, T> { typedef T type; };
template <bool, class A, class B> struct conditional { typedef A type; };
template <class A, class B> struct conditional<false, A, B> { typedef B type; };
} }
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
"""
"""What TVM's source takes from CUDA's C++ library, which NVRTC's package does not bring; for the scalars that kernels use."""
_LIBRARY_HEADER = "#include <cuda/std/"
_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A module of kernels: its source, machine code for one GPU, and PTX that later ones can be made from."""

    source: str
    cubin: bytes
    ptx: bytes


def choose(target: Target, here: Here) -> str | None:
    """`nvcc` or `nvrtc`, whichever is here and knows the target's GPU; None for neither."""
    if target.gpu is None:
        return None
    for name, release in (("nvcc", here.cuda), ("nvrtc", here.nvrtc)):
        if release is not None and out_of_range(target.gpu.cuda_first, target.gpu.cuda_last, release) is None:
            return name
    return None


def compile_source(source: str, arch: str, tool: str) -> Code:
    """`source` compiled for `arch` (sm_…) with exact arithmetic; raises CannotCompile with what the compiler said."""
    cubin, ptx = (_nvcc if tool == "nvcc" else _nvrtc)(source, arch)
    return Code(source=source, cubin=cubin, ptx=ptx)


def _nvcc(source: str, arch: str) -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory(prefix="loadstone-cuda-") as name:
        folder = Path(name)
        (folder / "kernels.cu").write_text(source, encoding="utf-8")
        for kind in ("cubin", "ptx"):
            command = ["nvcc", f"-{kind}", f"-arch={arch}", "-O3", "-std=c++17", "kernels.cu", "-o", f"kernels.{kind}"]
            try:
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise CannotCompile(f"nvcc does not run: {error}") from error
            if done.returncode != 0:
                said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or [""]
                raise CannotCompile(f"nvcc does not compile TVM's CUDA source: {said[0][:300]}")
        return (folder / "kernels.cubin").read_bytes(), (folder / "kernels.ptx").read_bytes()


def _nvrtc(source: str, arch: str) -> tuple[bytes, bytes]:
    library = _library()
    kept = "\n".join(line for line in source.splitlines() if not line.strip().startswith(_LIBRARY_HEADER))
    program = ctypes.c_void_p()
    text = (_PREAMBLE + kept).encode()
    _check(library, library.nvrtcCreateProgram(ctypes.byref(program), text, b"kernels.cu", 0, None, None))
    try:
        options = [f"--gpu-architecture={arch}".encode(), b"--std=c++17"]
        given = (ctypes.c_char_p * len(options))(*options)
        if library.nvrtcCompileProgram(program, len(options), given) != 0:
            said = _bytes(library, program, "nvrtcGetProgramLog").decode("utf-8", "replace")
            lines = [line for line in said.splitlines() if "error" in line] or said.splitlines() or [""]
            raise CannotCompile(f"NVRTC does not compile TVM's CUDA source: {lines[0][:300]}")
        return _bytes(library, program, "nvrtcGetCUBIN"), _bytes(library, program, "nvrtcGetPTX")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _bytes(library: Any, program: ctypes.c_void_p, name: str) -> bytes:
    size = ctypes.c_size_t()
    _check(library, getattr(library, f"{name}Size")(program, ctypes.byref(size)))
    room = ctypes.create_string_buffer(size.value)
    _check(library, getattr(library, name)(program, room))
    return room.raw


def _check(library: Any, result: int) -> None:
    if result != 0:
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise CannotCompile(f"NVRTC failed: {library.nvrtcGetErrorString(result).decode()}")


def _library() -> Any:
    """The library in NVIDIA's package. One half of it loads the other by name, so that is loaded first."""
    for path in nvrtc_folders():
        found = sorted(path.glob("libnvrtc.so.*"))
        if found:
            for helper in sorted(path.glob("libnvrtc-builtins.so.*")):
                ctypes.CDLL(str(helper), mode=ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(str(found[0]))
    raise CannotCompile("NVRTC's library is missing: pip install 'loadstone[cuda]'")


def nvrtc_folders() -> Sequence[Path]:
    """Where NVIDIA's packages put it."""
    spec = importlib.util.find_spec("nvidia")
    roots = [Path(root) for root in (spec.submodule_search_locations or [])] if spec is not None else []
    return [root / name / "lib" for root in roots for name in ("cuda_nvrtc", "cu13")]
