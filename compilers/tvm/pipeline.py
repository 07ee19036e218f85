"""The compile pass from a Relax module to an executable, and which rule made each of its kernels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import tvm
from tvm import relax, s_tir, tirx

from compilers.targets import Target
from compilers.tvm import cuts
from compilers.tvm.attention import fuse_attention
from compilers.tvm.cuts import Choose
from compilers.tvm.fold import fold_moves
from compilers.tvm.layouts import block_convolutions
from compilers.tvm.legalise import legalise
from compilers.tvm.schedules.dispatch import schedule_kernel
from compilers.tvm.schedules.epilogue import blocks_of
from compilers.tvm.schedules.fallback import schedule_fallback
from compilers.tvm.schedules.generic import FALLBACK, SCALAR

SERIAL = "serial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One compiled function: `rule` is what scheduled it; `reason` why not a better one, empty when it is the right one."""

    name: str
    rule: str
    flops: int | None = None
    """Of one call, by the definition of its main operator; None where no rule counted them."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    executable: Any
    kernels: tuple[Kernel, ...]


def compile_module(module: Any, target: Target, tvm_target: Any, *, winograd: int, choose: Choose | None = None) -> Compiled:
    """Compile `module` (a Relax main function of constants and inputs) for `target`; raises what tvm raises.

    `winograd` is the largest Winograd tile allowed: 4, 2 (smaller rounding errors) or 0 for none. `choose` says how kernels are
    cut; by default, it follows from their shapes and the target.
    """
    module, kernels = lower(module, target, tvm_target, winograd=winograd, choose=choose)
    with tvm_target, tvm.transform.PassContext(opt_level=3):
        return Compiled(executable=tvm.compile(module, target=tvm_target), kernels=kernels)


def lower(
    module: Any, target: Target, tvm_target: Any, *, winograd: int, choose: Choose | None = None
) -> tuple[Any, tuple[Kernel, ...]]:
    """`module` as calls of scheduled TensorIR functions, and what scheduled each."""
    chosen = choose or partial(cuts.default, target=target, winograd=winograd)
    with tvm_target, tvm.transform.PassContext(opt_level=3):
        module = fuse_attention(module, target)
        module = fold_moves(block_convolutions(target.lanes)(module))
        module = tvm.transform.Sequential(_graph_passes(target, chosen))(module)
        return schedule_module(module, target.lanes)


def _graph_passes(target: Target, choose: Choose) -> list[Any]:
    passes = relax.transform
    return [
        passes.Normalize(),
        passes.CanonicalizeBindings(),
        legalise(target, choose),
        passes.DeadCodeElimination(),
        passes.AnnotateTIROpPattern(),
        passes.FoldConstant(),
        passes.EliminateCommonSubexpr(),
        passes.DeadCodeElimination(),
        passes.FuseOps(),
        passes.FuseTIR(),
        passes.DeadCodeElimination(),
    ]


def schedule_module(module: Any, lanes: int) -> tuple[Any, tuple[Kernel, ...]]:
    """Every TensorIR function of `module` scheduled, with the rule of each."""
    kernels = []
    for variable, function in list(module.functions_items()):
        if not isinstance(function, tirx.PrimFunc) or function.attrs.get("tirx.is_scheduled"):
            continue
        scheduled, rule, reason = _schedule(function, lanes)
        module.update_func(variable, scheduled.with_attr("tirx.is_scheduled", True))
        kernels.append(Kernel(name=str(variable.name_hint), rule=rule, flops=flops_of(function), reason=reason))
    return module, tuple(sorted(kernels, key=lambda kernel: kernel.name))


def _schedule(function: Any, lanes: int) -> tuple[Any, str, str]:
    """A rule's schedule; where it does not apply the safe one; where even that fails the function as it is."""
    schedule = s_tir.Schedule(function)
    try:
        rule = schedule_kernel(schedule, lanes)
        return schedule.mod["main"], rule, SCALAR if rule == FALLBACK else ""
    except Exception as error:  # noqa: BLE001 - tvm refuses by exceptions of many kinds; the kernel stays correct
        reason = first_line(error)
    schedule = s_tir.Schedule(function)
    try:
        schedule_fallback(schedule)
        return schedule.mod["main"], FALLBACK, reason
    except Exception as error:  # noqa: BLE001
        return function, SERIAL, f"{reason}; {first_line(error)}"


def flops_of(function: Any) -> int | None:
    """What the rules noted at their main stages, summed; None if there is none."""
    schedule = s_tir.Schedule(function)
    notes = [schedule.get(block).annotations.get("flops") for block in blocks_of(schedule)]
    found = [int(note) for note in notes if note is not None]
    return sum(found) if found else None


def first_line(error: Exception) -> str:
    """TVM puts its trace first and the message last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
