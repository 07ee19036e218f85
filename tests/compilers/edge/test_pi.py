"""A bundle for a Raspberry Pi under QEMU: compiled, compared and used here, where nothing of it could run by itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compilers import spec_io
from compilers.build import load_session
from compilers.edge.bundle import MANIFEST, RUNNER
from compilers.edge.toolchain import Runner, runner, toolchain
from compilers.interface import CannotRun
from compilers.spec_io import PreparedModel
from compilers.targets import resolve
from harness.nouns import Artifact
from tests.compilers.edge.conftest import PI, require_emulation
from tests.compilers.edge.test_bundle import CLIENT
from tests.compilers.tvm.cases import CASES

QUICK = (
    "1x1, stride 2, batch 2", "3x3, unequal borders", "image", "grouped", "depthwise, 5x5, stride 2", "F(4,3), ragged",
    "F(2,3), ragged, batch 2", "3x3 with residual", "max pool", "mean", "dense, ragged rows", "dense with GELU", "layer norm",
    "softmax", "attention, ragged, batch 2", "attention, causal",
)  # fmt: skip
"""A case of every rule; the others run with `make slow`."""


@pytest.fixture
def emulator() -> Runner:
    require_emulation(PI)
    found = runner(resolve(PI))
    assert isinstance(found, Runner)
    return found


def test_it_was_compared_under_the_emulator_and_has_no_times(pi: Artifact) -> None:
    assert pi.parity.payloads >= 2
    assert pi.parity.max_rel < 1e-5
    assert pi.details["checked"].startswith("qemu-aarch64")
    assert pi.details["latency_ms"] is None
    assert "emulated" in pi.details["latency_reason"]
    manifest = json.loads((pi.path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["needs"]["machine"] == "EM_AARCH64 64-bit"
    assert manifest["target"]["mcpu"] == "cortex-a72"


def test_its_runner_and_a_users_program_run_under_the_emulator(
    pi: Artifact, emulator: Runner, prepared: PreparedModel, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(pi.path, tmp_path / "bundle"))
    checked = subprocess.run([*emulator.prefix, str(bundle / RUNNER), "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(", ok") == 2
    link = [*toolchain(resolve(PI)).command, str(CLIENT), f"-I{bundle}", f"-L{bundle}", "-lmodel", "-Wl,-rpath,$ORIGIN"]
    built = subprocess.run([*link, "-o", str(bundle / "client")], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (given,) = spec_io.read_payloads(prepared.folder)[2].values()
    (want,) = spec_io.read_reference(prepared.folder)[2]
    done = subprocess.run([*emulator.prefix, str(bundle / "client")], input=given.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0
    np.testing.assert_allclose(np.frombuffer(done.stdout, "f").reshape(want.shape), want, rtol=1e-4, atol=1e-5)


def test_it_is_not_served_here(pi: Artifact, prepared: PreparedModel) -> None:
    with pytest.raises(CannotRun, match="a server runs what this machine can"):
        load_session("tvm-bundle", pi.path, prepared.folder, 1)


def check_cases(target: str, names: tuple[str, ...]) -> None:
    """Every case right, and made by its rule for four lanes."""
    require_emulation(target)
    done = subprocess.run(
        [sys.executable, "-m", "tests.compilers.edge.arm_cases", target, *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    assert answer.keys() == set(names)
    for name, got in answer.items():
        assert "crashed" not in got, f"{name}: {got['crashed']}"
        assert got["finite"], name
        assert got["error"] < (2e-5 if name.startswith("F(4,3)") else 2e-6), f"{name}: {got['error']}"
        assert CASES[name][1] <= set(got["rules"]), name


def test_every_rule_is_right_with_four_lanes() -> None:
    check_cases(PI, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("target", [PI, "rasp3b"])
def test_every_case_is_right_on_64_and_32_bit_boards(target: str) -> None:
    check_cases(target, tuple(CASES))
