"""Every rule against ONNX Runtime on shapes that divide nothing, and the code it becomes for other processors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.compilers.tvm.cases import CASES

pytest.importorskip("tvm")


@pytest.fixture(scope="module")
def answer() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.compilers.tvm.compile_cases"], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_is_right_and_made_by_its_rule(answer: dict[str, Any], name: str) -> None:
    got, wanted = answer["cases"][name], CASES[name][1]
    assert "crashed" not in got, got["crashed"]
    assert got["shapes"][0] == got["shapes"][1]
    assert got["finite"]
    # F(4,3) loses a digit; everything else is as exact as fp32 sums in another order.
    assert got["error"] < (2e-5 if name.startswith("F(4,3)") else 2e-6)
    assert wanted <= set(got["rules"])
    if "fallback" not in wanted:
        assert got["reasons"] == []


def test_work_is_counted_by_the_definition(answer: dict[str, Any]) -> None:
    cases = answer["cases"]
    assert cases["1x1"]["flops"] == 2 * 24 * 40 * 7 * 9
    assert cases["depthwise"]["flops"] == 2 * 2 * 24 * 15 * 17 * 9
    assert cases["F(4,3), ragged"]["flops"] == 2 * 32 * 48 * 30 * 29 * 9
    assert cases["dense, batch"]["flops"] == 2 * 15 * 64 * 96
    # The three projections share one kernel, which is counted once.
    projection, heads = 2 * 2 * 13 * 72 * 72, 4 * 2 * 3 * 13 * 13 * 24
    assert cases["attention, ragged, batch 2"]["flops"] == projection + heads


@pytest.mark.parametrize(
    ("target", "multiply", "register", "store"),
    [
        ("haswell", r"vfmadd\w+", r"%ymm", r"vmov\w+\s+%[xyz]mm\d+, .*\("),
        ("skylake-avx512", r"vfmadd\w+", r"%zmm", r"vmov\w+\s+%[xyz]mm\d+, .*\("),
        ("rasp4b", r"fmla", r"v\d+\.4s", r"\bst[rp]\s+q"),
    ],
)
def test_the_inner_loop_keeps_its_sums_in_registers(
    answer: dict[str, Any], target: str, multiply: str, register: str, store: str
) -> None:
    loops = [body for body in inner_loops(answer["assembly"][target]) if len(re.findall(rf"\b{multiply}\s", body)) >= 8]
    assert loops
    for body in loops:
        products = [line for line in body.splitlines() if re.search(rf"\b{multiply}\s", line)]
        assert all(re.search(register, line) for line in products)
        # On AArch64 a whole vector of each row is loaded, and LLVM may set one aside now and then.
        assert len(re.findall(store, body)) <= (len(products) // 20 if target == "rasp4b" else 0)


def inner_loops(assembly: str) -> list[str]:
    """The code between each label and a jump back to it that has no other label in it."""
    found, label, begun = [], "", 0
    lines = assembly.splitlines()
    for at, line in enumerate(lines):
        if (named := re.match(r"(\.?\w+):", line)) is not None:
            label, begun = named.group(1), at
        elif label and re.match(rf"\s+(j\w+|b\.?\w*|cbn?z\s.*|tbn?z\s.*)\s+{re.escape(label)}\b", line):
            found.append("\n".join(lines[begun:at]))
    return found
