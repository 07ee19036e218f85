"""What a CPU's vector unit holds and computes, from LLVM's names for its features; pure.

The features of every CPU LLVM knows are in `llvm.json`, which `llvm_names.py` writes from LLVM itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources

_X86 = (
    *("sse2", "sse3", "ssse3", "sse4.1", "sse4.2", "sse4a", "popcnt", "lzcnt", "bmi", "bmi2", "movbe", "adx", "sha", "gfni"),
    *("avx", "avx2", "fma", "f16c", "fma4", "xop", "tbm", "vaes", "vpclmulqdq", "avxvnni"),
    *("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx512vnni", "avx512bf16", "avx512fp16", "avx512ifma"),
    *("avx512vbmi", "avx512vbmi2", "avx512bitalg", "avx512vpopcntdq", "amx-int8", "amx-bf16", "amx-fp16"),
)
TELLING = {
    "x86_64": _X86,
    "x86": _X86,
    "arm64": ("neon", "crc", "lse", "rcpc", "fullfp16", "dotprod", "i8mm", "bf16", "sve", "sve2", "sme"),
    "armv7": ("neon", "vfp4", "hwdiv", "hwdiv-arm", "fullfp16", "dotprod", "i8mm", "bf16"),
}
"""Per architecture, the features that decide lanes, registers and precisions, or whether a CPU can run another's code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorUnit:
    """`lanes` fp32 values in each of `registers` registers, and the precisions it computes in."""

    lanes: int
    registers: int
    precisions: tuple[str, ...]


def vector_unit(arch: str, features: Iterable[str]) -> VectorUnit:
    """The unit of a CPU of `arch` with LLVM's `features` (no signs).

    Widths and counts are the architecture manuals': Intel SDM volume 1 (8, 16 or 32 registers of 128, 256 or 512 bits),
    Arm ARM (32 of 128 bits; 16 in the 32-bit state). SVE counts as NEON: code for a fixed vector length does not use more.
    """
    have = set(features)
    lanes, registers = _x86(arch, have) if arch in ("x86_64", "x86") else _arm(arch, have)
    natively = {
        "fp16": {"avx512fp16", "amx-fp16", "fullfp16"},
        "bf16": {"avx512bf16", "amx-bf16", "bf16"},
        "int8": {"avx512vnni", "avxvnni", "amx-int8", "dotprod", "i8mm"},
    }
    more = tuple(precision for precision, enough in natively.items() if have & enough)
    return VectorUnit(lanes=lanes, registers=registers, precisions=("fp32", *more))


def _x86(arch: str, have: set[str]) -> tuple[int, int]:
    registers = 8 if arch == "x86" else 16
    if "avx512f" in have:
        return 16, registers if arch == "x86" else 32
    if "avx" in have:
        return 8, registers
    return (4, registers) if "sse2" in have else (1, registers)


def _arm(arch: str, have: set[str]) -> tuple[int, int]:
    if "neon" not in have:
        return 1, 32
    return (4, 32) if arch == "arm64" else (4, 16)


def cpu_names(arch: str) -> tuple[str, ...]:
    """Every CPU that LLVM has code generation for, sorted."""
    return tuple(_llvm()[arch]["cpus"])


def cpu_features(arch: str, mcpu: str) -> frozenset[str]:
    """The telling features of a CPU by its LLVM name; KeyError when LLVM does not know it."""
    return frozenset(_llvm()[arch]["cpus"][mcpu].split())


def feature_names(arch: str) -> frozenset[str]:
    """Every feature that `mattr` may name."""
    return frozenset(_llvm()[arch]["adds"])


def with_attributes(arch: str, features: Iterable[str], mattr: Iterable[str]) -> frozenset[str]:
    """The telling ones of `features` after `mattr` in its order: adding one adds those it is built on, taking one away takes
    those built on it. Raises KeyError for a name LLVM does not know."""
    have = set(features)
    for signed in mattr:
        sign, name = signed[0], signed[1:]
        if sign == "+":
            have |= set(_llvm()[arch]["adds"][name].split())
        else:
            have -= set(_llvm()[arch]["removes"][name].split())
    return frozenset(have)


@cache
def _llvm() -> dict[str, dict[str, dict[str, str]]]:
    text = resources.files("compilers.targets").joinpath("llvm.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, dict[str, str]]] = json.loads(text)
    return found
