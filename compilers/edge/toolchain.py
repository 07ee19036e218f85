"""What compiles and links C++ for a target, and what runs the target's programs on this machine."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from compilers.interface import CannotCompile
from compilers.targets import Target
from compilers.targets.reach import Here, emulator_of, look, reach, why_never

ZIG = "ziglang"
_GLIBC = "2.28"
"""What ziglang links against: Debian 10 and anything since."""
_COMMON = ("-std=c++17", "-O2", "-fPIC", "-fno-exceptions", "-fno-rtti")
_TIMEOUT_S = 300.0
_UNDEFINED = re.compile(r"undefined (?:reference to|symbol:) [`']?(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A C++ compiler for one target: its command, and its name with the version."""

    command: tuple[str, ...]
    version: str

    def compile(self, source: Path, out: Path) -> None:
        """`source` as an object file; raises CannotCompile with what the compiler said."""
        self._run([*_COMMON, "-c", source.name, "-o", str(out)], source.parent)

    def link_library(self, objects: Sequence[Path], out: Path, exports: Path) -> None:
        """A shared library of `objects` that shows only what `exports` lists and needs only the C library."""
        flags = ["-shared", "-s", "-Wl,-z,defs", "-Wl,-z,noexecstack", "-Wl,--as-needed", "-Wl,--gc-sections"]
        names = [str(path) for path in objects]
        self._run([*flags, *self._gcc(), f"-Wl,--version-script={exports}", *names, "-o", str(out), *_LIBRARIES], out.parent)

    def link_module(self, objects: Sequence[Path | str], out: Path) -> None:
        """A shared library that TVM's runtime loads, and which calls it."""
        names = [str(Path(each).absolute()) for each in objects]
        self._run(["-shared", "-fPIC", "-s", *self._gcc(), *names, "-o", str(out.absolute()), *_LIBRARIES], out.parent)

    def link_program(self, source: Path, out: Path) -> None:
        flags = [*_COMMON, "-s", "-Wl,--as-needed", *self._gcc()]
        self._run([*flags, source.name, "-o", str(out), *_LIBRARIES], source.parent)

    def _gcc(self) -> list[str]:
        # zig brings its own builtins; GCC's would otherwise be a library of their own on 32-bit ARM.
        return [] if ZIG in self.command else ["-static-libgcc", "-Wl,--build-id=none"]

    def _run(self, arguments: Sequence[str], folder: Path) -> None:
        try:
            done = subprocess.run(
                [*self.command, *arguments], cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotCompile(f"{self.version} does not run: {error}") from error
        if done.returncode == 0:
            return
        missing = _UNDEFINED.search(done.stderr)
        if missing:
            raise CannotCompile(f"a kernel calls {missing[1]}, which is TVM's runtime and not in a bundle")
        said = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines() or ["nothing"]
        raise CannotCompile(f"{self.version} failed: {said[0][:300]}")


_LIBRARIES = ("-ldl", "-lpthread", "-lm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """How a program for the target runs here: `prefix` before its command line, empty when this machine runs it itself."""

    prefix: tuple[str, ...]
    name: str
    """`this machine`, or the emulator with its version."""

    @property
    def emulated(self) -> bool:
        return bool(self.prefix)


def why_no_bundle(target: Target, here: Here) -> str | None:
    """Why no bundle can be made for `target` on this machine, and what would be needed; None when it can."""
    never = why_never(target)
    if never is not None:
        return never
    if target.gpu is not None or target.builder != "tvm":
        return f"a bundle is CPU code, and {target.name} is not a CPU target"
    found = reach(target, here)
    missing = [each for each in (found.code_needs, found.link_needs) if each is not None]
    return f"needs {'; and '.join(missing)}" if missing else None


def toolchain(target: Target) -> Toolchain:
    """The C++ compiler for `target`; raises CannotCompile when this machine has none."""
    here = look()
    linker = reach(target, here).linker
    if linker is None:
        raise CannotCompile(why_no_bundle(target, here) or f"there is no linker for {target.name}")
    if linker == ZIG:
        command = (sys.executable, "-m", ZIG, "cc", "-target", zig_triple(target))
        return Toolchain(command=command, version=f"zig {_said((sys.executable, '-m', ZIG, 'version'))}")
    return Toolchain(command=(linker,), version=f"{linker} {_said((linker, '-dumpfullversion', '-dumpversion'))}")


def zig_triple(target: Target) -> str:
    """The target as zig spells it, with the C library it links against."""
    machine = {"arm64": "aarch64", "armv7": "arm"}.get(target.arch, target.arch)
    return f"{machine}-{target.mtriple.split('-', 1)[1]}.{_GLIBC}"


def runner(target: Target) -> Runner | str:
    """What runs `target`'s programs here, or why nothing does and what would."""
    here = look()
    run_needs, emulator = reach(target, here).run_needs, emulator_of(target)
    if run_needs is None:
        return Runner(prefix=(), name="this machine")
    if emulator is None:
        return run_needs
    if not here.has_program(emulator):
        return f"{run_needs}; {emulator} would run it (apt install qemu-user)"
    root = sysroot(target)
    if root is None:
        return f"{run_needs}; {emulator} would run it with the target's C library (apt install {_cross_library(target)})"
    return Runner(prefix=(emulator, "-L", str(root)), name=_first_line((emulator, "--version")))


def sysroot(target: Target) -> Path | None:
    """The folder with the C library of a foreign target, as Debian's cross packages place it; `/` for this architecture."""
    if target.arch == {"aarch64": "arm64", "x86_64": "x86_64"}.get(platform.machine()):
        return Path("/")
    triple = target.mtriple.replace("armv7l-", "arm-")
    root = Path("/usr") / triple
    return root if any((root / "lib").glob("ld-linux*")) else None


def _cross_library(target: Target) -> str:
    by_abi = {"hard": "armhf", "soft": "armel"}
    by_arch = {"x86": "i386", "x86_64": "amd64"}
    return f"libc6-{by_abi.get(target.float_abi or '') or by_arch.get(target.arch, target.arch)}-cross"


@cache
def _said(command: tuple[str, ...]) -> str:
    return _first_line(command) or "of an unknown version"


@cache
def _first_line(command: tuple[str, ...]) -> str:
    """The first line that a program prints; empty when it does not run."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    return (done.stdout.splitlines() or [""])[0].strip()
