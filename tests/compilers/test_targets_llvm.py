"""The target table against the LLVM and the CUDA code generator of the installed TVM."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from typing import Any

import pytest

from compilers.targets import resolve
from compilers.targets.table import rows


@pytest.fixture(scope="module")
def said() -> tuple[dict[str, Any], str]:
    """TVM's answers, and what it printed on the way."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.compilers.tvm_targets"], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout), done.stderr


def test_the_stored_names_are_llvms(said: tuple[dict[str, Any], str]) -> None:
    stored = json.loads(resources.files("compilers.targets").joinpath("llvm.json").read_text(encoding="utf-8"))
    assert said[0]["snapshot"] == stored, "run: python -m compilers.targets.llvm_names"


def test_attributes_change_a_cpu_as_in_llvm(said: tuple[dict[str, Any], str]) -> None:
    assert said[0]["attributes"] == []


def test_every_row_compiles_to_vectors_of_its_lanes(said: tuple[dict[str, Any], str]) -> None:
    answers, log = said
    assert "not a recognized" not in log, "LLVM ignored a CPU or a feature of some row"
    expected = {name for name, row in rows().items() if row.target.builder == "tvm"} | {"host"}
    assert set(answers["rows"]) == expected
    for name, answer in answers["rows"].items():
        target = resolve(name)
        want = {"kernel": True} if target.gpu is not None else {"vectors": True, "wider": []}
        assert answer == want, f"{name}: {target.mcpu} was said to have {target.lanes} lanes"


def test_the_host_is_what_llvm_takes_it_for(said: tuple[dict[str, Any], str]) -> None:
    host = resolve("host")
    if host.mcpu.startswith(("x86-64", "generic")):
        pytest.skip(f"the table does not list this CPU: {host.mcpu}")
    assert host.mcpu == said[0]["host_cpu"]
