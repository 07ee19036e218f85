"""What a cubin says of itself: checked on headers made here, field by field."""

from __future__ import annotations

import struct

import pytest

from compilers.gpu.cubin import Contents, read, read_ptx, why_not_for
from compilers.interface import CannotCompile


def elf(*, machine: int = 190, flags: int = 0, abi: int = 7, sections: tuple[str, ...] = ()) -> bytes:
    """A 64-bit ELF file of empty sections with these names."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    ident = b"\x7fELF" + bytes([2, 1, 1, 0x33, abi]) + bytes(7)
    table = 64 + len(names)
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, 0, 0, table, flags, 64, 0, 0, 64, len(sections) + 2, len(sections) + 1
    )
    entries, at = [bytes(64)], 1
    for name in (*sections, ".shstrtab"):
        is_names = name == ".shstrtab"
        kind, offset, size = (3, 64, len(names)) if is_names else (1, 64, 0)
        entries.append(struct.pack("<IIQQQQIIQQ", at, kind, 0, 0, offset, size, 0, 0, 1, 0))
        at += len(name) + 1
    return header + names + b"".join(entries)


@pytest.mark.parametrize(
    ("flags", "abi", "arch"),
    [(0x4B054B, 7, "sm_75"), (0x5A055A, 7, "sm_90"), (0x6005A02, 8, "sm_90"), (0x6007802, 8, "sm_120")],
)
def test_architecture_and_kernels(flags: int, abi: int, arch: str) -> None:
    contents = read(elf(flags=flags, abi=abi, sections=(".text.dense_kernel", ".nv.info", ".text.add_kernel")))
    assert contents == Contents(arch=arch, kernels=("add_kernel", "dense_kernel"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no cubin"),
        (b"\x7fELF", "no cubin"),
        (b"PK\x03\x04" * 20, "no cubin"),
        (elf(machine=62), "EM_X86_64, not for a GPU"),
    ],
)
def test_what_is_no_cubin(content: bytes, said: str) -> None:
    with pytest.raises(CannotCompile, match=said):
        read(content)


def test_ptx_says_the_same() -> None:
    text = b".version 8.8\n.target sm_86\n.address_size 64\n\n.visible .entry b_kernel(\n)\n.visible .entry a_kernel(\n"
    assert read_ptx(text) == Contents(arch="sm_86", kernels=("a_kernel", "b_kernel"))
    with pytest.raises(CannotCompile, match="without a target"):
        read_ptx(b"// empty")


def test_code_for_another_gpu_or_without_a_kernel_is_refused() -> None:
    made = Contents(arch="sm_80", kernels=("a", "b"))
    assert why_not_for(made, "sm_80", frozenset({"a"})) is None
    assert why_not_for(made, "sm_90", frozenset()) == "the code is for sm_80 and not for sm_90"
    assert why_not_for(made, "sm_80", frozenset({"a", "c"})) == "the code has no kernel c"
