"""What a cubin holds, read from its ELF headers: the proof that code was made for the GPU that was asked for."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from compilers.interface import CannotCompile

_MACHINE = "EM_CUDA"
_TARGET = re.compile(rb"^\.target\s+(sm_\d+)", re.MULTILINE)
_ENTRY = re.compile(rb"^\s*\.visible\s+\.entry\s+(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    arch: str
    """As sm_90."""
    kernels: tuple[str, ...]


def read(content: bytes) -> Contents:
    """The architecture and the kernels of a cubin; raises CannotCompile for what is none."""
    try:
        elf = ELFFile(io.BytesIO(content))
        machine, flags, abi = elf["e_machine"], int(elf["e_flags"]), int(elf["e_ident"]["EI_ABIVERSION"])
        names = [section.name for section in elf.iter_sections()]
    except (ELFError, ValueError, KeyError) as error:
        raise CannotCompile(f"CUDA's compiler left no cubin: {error}") from error
    if machine != _MACHINE:
        raise CannotCompile(f"CUDA's compiler left an ELF file for {machine}, not for a GPU")
    # From version 8 of NVIDIA's ABI on (CUDA 12.8's for Blackwell), the architecture is in the second byte.
    number = flags >> 8 & 0xFF if abi >= 8 else flags & 0xFF
    kernels = sorted(name.removeprefix(".text.") for name in names if name.startswith(".text."))
    return Contents(arch=f"sm_{number}", kernels=tuple(kernels))


def read_ptx(content: bytes) -> Contents:
    """The same of PTX text."""
    target = _TARGET.search(content)
    if target is None:
        raise CannotCompile("CUDA's compiler left PTX without a target")
    return Contents(arch=target[1].decode(), kernels=tuple(sorted(name.decode() for name in _ENTRY.findall(content))))


def why_not_for(contents: Contents, arch: str, wanted: frozenset[str]) -> str | None:
    """Why code is not what was asked for: another GPU's, or kernels missing; None when it is."""
    if contents.arch != arch:
        return f"the code is for {contents.arch} and not for {arch}"
    missing = sorted(wanted - set(contents.kernels))
    return f"the code has no kernel {missing[0]}" if missing else None
