"""What a backend is: it compiles a model into a folder in one process and loads that folder in another.

A backend is one file, `backend_<name>.py`, with a class that satisfies `Backend`, and one line in `registry.py`. Both halves
run in child processes of their own (`worker.py` for compile, the model server for load), so a backend may crash, leak or
hang without harming anything but its own candidate. Its library is imported inside the methods, never at import time.

A backend that can time its layers has a method `profile(artifact, model, threads, payload)` that returns them as `Layer`s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from compilers.targets import resolve
from compilers.targets.host import detect
from compilers.targets.reach import why_not_here
from harness.nouns import CompileOptions, ModelSpec


class CannotCompile(Exception):
    """The backend cannot take this model; the message is the reason shown in the candidate's row."""


class CannotRun(Exception):
    """Nothing here runs what was compiled, so it stays unchecked; the message says why and what would run it."""


class Unavailable(Exception):
    """What the backend needs is not on this machine, as only trying could show; the candidate is skipped for this reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One step of a compiled model in one inference; `flops` by its operator's definition, None where that is not known."""

    name: str
    kind: str
    time_ns: int
    flops: int | None
    fallen_back: bool
    """Whether a reference implementation runs it, because no kernel was made for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchecked:
    """A compiled model that nothing here can run, and `reason` why: shown, never compared and so never ranked."""

    path: Path
    digest: str
    size_bytes: int
    compile_s: float
    reason: str
    cached: bool
    details: dict[str, Any] = field(default_factory=dict)
    parity: None = None


class Session(Protocol):
    """A loaded model: not thread-safe, one call at a time.

    One whose `run` never lets go of the interpreter says so with an attribute `keeps_gil = True`, so that the server sends an
    answer before it begins the next inference instead of after.
    """

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        """Outputs in the order of ModelSpec.outputs, C-contiguous, owned by the caller.

        `inputs` are valid only during the call: the server reuses their memory.
        """
        ...


@runtime_checkable
class CheckSession(Session, Protocol):
    """A session only for the comparison with the reference: under an emulator, or on another machine."""

    where: str
    """What runs it, in words."""
    emulated: bool
    """Whether an emulator does, whose times say nothing of the device."""

    def close(self) -> None: ...


@runtime_checkable
class Timed(Protocol):
    """A CheckSession on a real device, whose times count."""

    def latency_ms(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, float]:
        """p50, low, high and n of single inferences, as the device measures them."""
        ...


@runtime_checkable
class BuildsForOthers(Protocol):
    """What a backend has as well when its artifacts may be for another machine."""

    def tools(self, options: CompileOptions) -> Mapping[str, str]:
        """The programs that the artifact and its check depend on, by what they do; part of its key. Cheap."""
        ...

    def load_to_check(self, artifact: Path, model: ModelSpec, options: CompileOptions) -> CheckSession:
        """What compile left, where it can run; raises CannotRun when nothing here runs it."""
        ...


class Backend(Protocol):
    name: str
    packages: tuple[str, ...]
    """The distributions it needs; their versions are part of the artifact's key."""
    extra: str
    """The optional dependency of loadstone that installs them, or empty when they always come with it."""
    computes: bool
    """False for a backend without a model, whose outputs are not compared with the reference."""
    threads_matter: bool
    """Whether the artifact, and not only its loading, depends on the number of threads."""
    reads_onnx: bool
    """Whether it compiles model.onnx, so that a failure can be cut down to the smallest graph that shows it."""

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        """A reason to skip this model known without trying (no program, wrong precision), or None. Cheap, no imports."""
        ...

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        """Compile `folder`/model.onnx or model.pt2 into the empty folder `out`; return details worth showing.

        Raises CannotCompile with a one-line reason.
        """
        ...

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> Session:
        """Load what compile left, ready to run on `threads` threads of the CPUs this process is pinned to."""
        ...


def other_precision(options: CompileOptions, precisions: Sequence[str]) -> str | None:
    """The reason of a backend that compiles in `precisions` only."""
    if options.precision not in precisions:
        return f"{options.backend} is built for {', '.join(precisions)} here, not {options.precision}"
    return None


def not_native(options: CompileOptions, precision: str) -> str | None:
    """The reason of a backend that computes in `precision` only where the CPU has instructions for it."""
    here = resolve(options.target, options.target_options)
    if options.precision == precision and precision not in here.precisions:
        return f"this CPU ({here.mcpu}) has no instructions for {precision}, so it would only be slower"
    return None


def must_run_here(options: CompileOptions) -> str | None:
    """The reason of a backend that compiles for any target, of which only those that this machine can run are kept: an
    artifact counts when its outputs were compared with the reference."""
    target = resolve(options.target, options.target_options)
    reason = target.why_not or why_not_here(target, detect())
    return f"cannot be compared with the reference on this machine: {reason}" if reason is not None else None


def only_on_host(options: CompileOptions, precisions: Sequence[str]) -> str | None:
    """The reason of a backend that compiles in `precisions` for the machine it runs on, and for nothing else."""
    if options.target != "host":
        return f"{options.backend} compiles for this host only, not for target {options.target}"
    return other_precision(options, precisions)


def needs_program(model: ModelSpec) -> str | None:
    """The reason of a backend that runs the original program."""
    if not model.has_program:
        return "needs the torch program, and an ONNX file has none; give a .pt2 or a built-in model"
    return None
