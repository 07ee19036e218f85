"""One piece of hardware as a compiler sees it: a frozen value, fully resolved, and how TVM and a cache key spell it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """An NVIDIA GPU by its architecture; the limits are those a kernel must keep to."""

    arch: str
    """The compute capability as the compiler names it, such as `sm_86`."""
    max_threads_per_block: int
    warp_threads: int
    shared_memory_per_block_bytes: int
    """Static shared memory; more needs an opt-in at launch."""
    registers_per_block: int
    cuda_first: str
    """The first CUDA release whose compiler knows it."""
    cuda_last: str | None = None
    """The last one, None while it is still supported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What code is made for. The CPU fields describe the processor that runs the model or, with `gpu`, that drives it.

    None means that the fact is not known or, for `num_cores`, not the target's to say; a compiler then has its own default.
    """

    name: str
    """The row of the table it came from, or `host`."""
    builder: str
    """What makes its code: `tvm`, `neuron`, or empty when nothing here can; `why_not` then says what would be needed."""
    os: str
    """linux, android, windows …"""
    arch: str
    """x86_64, x86, arm64, or armv7 (32-bit ARM)."""
    processor: str
    """The processor in words, for people."""
    mtriple: str
    """As LLVM spells it, such as aarch64-linux-gnu."""
    mcpu: str
    mattr: tuple[str, ...] = ()
    """LLVM features beyond or against those of `mcpu`, each with its sign: +neon."""
    float_abi: str | None = None
    """`hard` or `soft` where the architecture has both (32-bit ARM)."""
    lanes: int
    """fp32 values in one vector register."""
    vector_registers: int
    """Architectural vector registers, which bound an accumulator tile."""
    num_cores: int | None = None
    cache_line_bytes: int = 64
    l1d_bytes: int | None = None
    """First-level data cache of one core."""
    l2_bytes: int | None = None
    """Second-level cache of one core; its share of a cluster's where cores have one together."""
    precisions: tuple[str, ...] = ("fp32",)
    """What it computes in natively, fp32 first: fp16, bf16, int8 (a dot-product instruction of 8-bit integers)."""
    gpu: Gpu | None = None
    options: tuple[tuple[str, str], ...] = ()
    """Options that no field expresses: a CUDA or TensorRT version, the input's dtype, a Neuron command line."""
    why_not: str | None = None
    """Why nothing here builds for it and what would be needed; None when `builder` can."""
    note: str = ""
    """What is worth knowing: parts of the device that stay unused, facts that were assumed."""


def tvm_target(target: Target) -> dict[str, Any]:
    """The JSON that `tvm.target.Target` takes. With a GPU the CPU becomes its host.

    Only what is known is in it: TVM rejects a null.
    """
    cpu: dict[str, Any] = {"kind": "llvm", "mtriple": target.mtriple, "mcpu": target.mcpu}
    if target.mattr:
        cpu["mattr"] = list(target.mattr)
    if target.float_abi is not None:
        cpu["mfloat-abi"] = target.float_abi
    if target.num_cores is not None:
        cpu["num-cores"] = target.num_cores
    if target.gpu is None:
        return cpu
    return {
        "kind": "cuda",
        "arch": target.gpu.arch,
        "max_threads_per_block": target.gpu.max_threads_per_block,
        "thread_warp_size": target.gpu.warp_threads,
        "max_shared_memory_per_block": target.gpu.shared_memory_per_block_bytes,
        "registers_per_block": target.gpu.registers_per_block,
        "host": cpu,
    }


def identity(target: Target) -> dict[str, Any]:
    """All of a target that code may depend on, as JSON values: two names for the same hardware have one identity."""
    fields = asdict(target)
    for told_to_people in ("name", "processor", "why_not", "note"):
        del fields[told_to_people]
    return fields
