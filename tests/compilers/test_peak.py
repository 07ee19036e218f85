from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from compilers import peak
from compilers.targets.host import detect


def test_a_core_multiplies_and_adds_at_a_plausible_rate() -> None:
    found = peak.measure()
    assert found.reason is None
    assert found.gflop_per_s is not None
    # At the very least one vector of multiply-adds a nanosecond, at most four of them at 6 GHz.
    assert 2 * detect().lanes * 0.25 < found.gflop_per_s < 2 * detect().lanes * 4 * 6


def test_the_rate_is_the_work_over_the_time_of_the_fastest_run() -> None:
    """With a clock that gives every run as many nanoseconds as it has turns, a turn of 100 FLOPs makes 100 GFLOP/s."""
    now = 0

    def chain(turns: int, factor: float, term: float) -> float:
        nonlocal now
        now += turns
        return 0.0

    assert peak._best(chain, 100, lambda: now) == 100.0


def test_without_a_compiler_the_peak_is_unknown_and_says_why() -> None:
    found = peak.measure(compiler="no-such-compiler")
    assert found.gflop_per_s is None
    assert "apt install gcc" in str(found.reason)


def test_a_compiler_that_refuses_is_a_reason(tmp_path: Path) -> None:
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'peak.c:1: cannot' >&2\nexit 1\n")
    broken.chmod(0o755)
    found = peak.measure(compiler=str(broken))
    assert found.gflop_per_s is None
    assert "peak.c:1: cannot" in str(found.reason)


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="needs a cross compiler")
def test_the_loop_is_fused_multiply_adds_on_arm_too(tmp_path: Path) -> None:
    code = tmp_path / "peak.c"
    code.write_text(peak.source(4, 24, "arm64"))
    command = ["aarch64-linux-gnu-gcc", "-O2", "-ffp-contract=fast", "-S", "-o", "-", str(code)]
    assembly = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert assembly.count("fmla") >= 24
