"""The highest rate of fp32 arithmetic that one core of this machine reaches: a chain of fused multiply-adds in registers.

A kernel's rate means something only beside it. The loop is C with the compiler's vector types, built for this CPU and run
in this process; nothing of it touches memory.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compilers.targets.host import detect

_BUILD_S = 30.0
_RUN_S = 0.02
_RUNS = 12
"""The best of so many short runs: one that a neighbour disturbs does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """fp32 GFLOP/s of one core, or None with the reason."""

    gflop_per_s: float | None
    reason: str | None = None


def measure(*, compiler: str | None = None, clock_ns: Callable[[], int] = time.perf_counter_ns) -> Peak:
    """Build and run the loop on the calling thread's CPU; raises nothing."""
    command = compiler or os.environ.get("CC", "cc")
    if shutil.which(command) is None:
        return Peak(gflop_per_s=None, reason=f"the peak is measured by a C loop, and {command!r} is not there: apt install gcc")
    here = detect()
    # Two units with a latency of four cycles need eight chains; three quarters of the registers leave room for the factors.
    chains = max(4, here.vector_registers * 3 // 4)
    with tempfile.TemporaryDirectory() as scratch:
        code, library = Path(scratch) / "peak.c", Path(scratch) / "peak.so"
        code.write_text(source(here.lanes, chains, here.arch), encoding="utf-8")
        build = [command, "-O2", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC", "-o", str(library), str(code)]
        try:
            done = subprocess.run(build, capture_output=True, text=True, timeout=_BUILD_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Peak(gflop_per_s=None, reason=f"{command} could not build the loop: {error}")
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            return Peak(gflop_per_s=None, reason=f"{command} could not build the loop: {said}")
        chain = ctypes.CDLL(str(library)).chain
    chain.argtypes, chain.restype = [ctypes.c_long, ctypes.c_float, ctypes.c_float], ctypes.c_float
    return Peak(gflop_per_s=_best(chain, 2 * here.lanes * chains, clock_ns))


def source(lanes: int, chains: int, arch: str) -> str:
    """`chains` independent accumulators of `lanes` floats, each multiplied and added to once per turn."""
    register = "w" if arch.startswith("arm") else "v"  # how an asm constraint spells a vector register
    names = [f"a{at}" for at in range(chains)]
    return "\n".join(
        [
            f"typedef float vector __attribute__((vector_size({4 * lanes})));",
            "float chain(long turns, float factor, float term) {",
            "  vector f = (vector){0} + factor, t = (vector){0} + term;",
            *(f"  vector {name} = t * {at + 1}.0f;" for at, name in enumerate(names)),
            "  for (long turn = 0; turn < turns; turn++) {",
            *(f"    {name} = {name} * f + t;" for name in names),
            # Without it the compiler may join the turns or keep the chains elsewhere than in registers.
            *(f'    __asm__ volatile("" : "+{register}"({name}));' for name in names),
            "  }",
            f"  vector sum = {' + '.join(names)};",
            "  float total = 0;",
            f"  for (int lane = 0; lane < {lanes}; lane++) total += sum[lane];",
            "  return total;",
            "}",
            "",
        ]
    )


def _best(chain: Callable[[int, float, float], float], flops_per_turn: int, clock_ns: Callable[[], int]) -> float:
    """GFLOP/s of the fastest of some runs, each long enough for the clock and the frequency."""
    turns, spent_ns = 1 << 14, 0
    while spent_ns < _RUN_S * 1e9 and turns < 1 << 40:
        turns *= 2
        spent_ns = _timed(chain, turns, clock_ns)
    return max(turns * flops_per_turn / _timed(chain, turns, clock_ns) for _ in range(_RUNS))


def _timed(chain: Callable[[int, float, float], float], turns: int, clock_ns: Callable[[], int]) -> int:
    begun = clock_ns()
    chain(turns, 0.999, 0.001)
    return max(1, clock_ns() - begun)
