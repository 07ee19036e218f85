"""What a linked file needs from the system it runs on, read from its ELF headers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

_GLIBC = re.compile(r"GLIBC_(\d+(?:\.\d+)+)")


def needs(files: Iterable[Path]) -> dict[str, Any]:
    """Machine, shared libraries, and the oldest glibc that has every function called; None for one that is not glibc."""
    machines, libraries, versions = set(), set(), set()
    for path in files:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            machines.add(f"{elf['e_machine']} {elf.elfclass}-bit")
            for section in elf.iter_sections():
                if isinstance(section, DynamicSection):
                    libraries |= {str(tag.needed) for tag in section.iter_tags("DT_NEEDED")}  # type: ignore[attr-defined]
                elif isinstance(section, GNUVerNeedSection):
                    versions |= {_version(entry.name) for _, entries in section.iter_versions() for entry in entries}
    newest = max((version for version in versions if version is not None), default=None)
    return {
        "machine": ", ".join(sorted(machines)),
        "libraries": sorted(libraries),
        "glibc": ".".join(map(str, newest)) if newest else None,
    }


def _version(name: str) -> tuple[int, ...] | None:
    found = _GLIBC.fullmatch(name)
    return tuple(int(part) for part in found[1].split(".")) if found else None
