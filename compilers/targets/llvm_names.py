"""Writes `llvm.json`, the CPUs and features that the installed LLVM knows: `python -m compilers.targets.llvm_names [FILE]`.

It is stored, and not asked at run time, so that a name can be checked at once and where TVM is not installed; a test keeps
it equal to what TVM says.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compilers.targets.isa import TELLING

TRIPLES = {
    "x86_64": "x86_64-linux-gnu",
    "x86": "i686-linux-gnu",
    "arm64": "aarch64-linux-gnu",
    "armv7": "armv7l-linux-gnueabihf",
}
_FILE = Path(__file__).with_name("llvm.json")
_OLDEST = {"x86_64": "i386", "x86": "i386", "arm64": "generic", "armv7": "arm7tdmi"}
"""A CPU that has as little as there is."""

_BEYOND = {
    "x86_64": ("soft-float",),
    "x86": ("soft-float",),
    "arm64": ("crypto", "sve2p1", "sme2p2"),
    "armv7": ("soft-float", "crypto", "fp16"),
}
"""Features that no CPU has by itself and that people give."""


def collect() -> dict[str, Any]:
    """Per architecture, with features space-separated: `cpus`, each with its telling features; `adds`, every feature with
    the telling ones it brings; `removes`, every feature with those that go with it."""
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # tvm would import it, to exchange tensors
    from tvm.target import Target, codegen

    def features(arch: str, mcpu: str, mattr: Sequence[str] = ()) -> set[str]:
        described = {"kind": "llvm", "mtriple": TRIPLES[arch], "mcpu": mcpu, "mattr": list(mattr)}
        return set(codegen.llvm_get_cpu_features(Target(described)))

    found: dict[str, Any] = {}
    for arch, triple in TRIPLES.items():
        names = sorted(codegen.llvm_get_cpu_archlist(Target({"kind": "llvm", "mtriple": triple})))
        of = {name: features(arch, name) for name in names}
        bare = _OLDEST[arch]
        known = sorted(
            set().union(*of.values(), (more for more in _BEYOND[arch] if more in features(arch, bare, [f"+{more}"])))
        )
        none, every = [f"-{each}" for each in TELLING[arch]], [f"+{each}" for each in TELLING[arch]]
        full = features(arch, bare, every)
        found[arch] = {
            "cpus": {name: _told(arch, have) for name, have in of.items()},
            "adds": {name: _told(arch, features(arch, bare, [*none, f"+{name}"])) for name in known},
            "removes": {name: _told(arch, full - features(arch, bare, [*every, f"-{name}"])) for name in known},
        }
    return found


def _told(arch: str, features: set[str]) -> str:
    return " ".join(each for each in TELLING[arch] if each in features)


def main(argv: list[str]) -> int:
    path = Path(argv[1]) if len(argv) > 1 else _FILE
    path.write_text(json.dumps(collect(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
