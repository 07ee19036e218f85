"""Batches of any size against the reference of their items, and searches, by the real backend in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("tvm")

from compilers.onnx_batch import chunks


@pytest.fixture(scope="module")
def answer() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.compilers.tvm.batch_cases"], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@pytest.mark.parametrize("case", ["network", "attention", "alone", "token", "gathered"])
@pytest.mark.parametrize("batch", ["1", "3", "8"])
def test_a_batch_gives_what_its_items_give(answer: dict[str, Any], case: str, batch: str) -> None:
    assert answer[case]["errors"][batch] < 2e-6


def test_each_size_has_code_of_its_own(answer: dict[str, Any]) -> None:
    assert answer["network"]["files"] == ["model-batch-4.so", "model-batch-8.so", "model.so"]
    assert answer["alone"]["files"] == ["model.so"]
    for case in ("token", "gathered"):
        assert answer[case]["files"] == ["model-batch-4.so", "model.so"]
    assert "fallback" not in answer["network"]["rules"]


def test_a_model_whose_batch_is_fixed_is_refused_with_the_reason(answer: dict[str, Any]) -> None:
    assert answer["fixed"].startswith("no batch of 4: ")
    assert answer["fixed"].endswith("does not follow a batch of 4; its batch is fixed to 1")


def test_a_search_is_done_once(answer: dict[str, Any]) -> None:
    first, second, third = answer["search"]["details"]
    assert first["from_records"] == 0
    assert first["tried"] > 2 * (first["kernels"] - first["left_out"])
    assert first["spent_s"] < 20
    assert second["from_records"] == first["kernels"] - first["left_out"]
    assert "tried" not in third
    assert answer["search"]["lines"] == third["from_records"] > 0


@pytest.mark.parametrize(
    ("batch", "sizes", "want"), [(3, (1,), [1, 1, 1]), (8, (1, 3), [3, 3, 1, 1]), (9, (8, 4, 1), [8, 1]), (4, (4, 1), [4])]
)
def test_a_batch_is_a_sum_of_sizes(batch: int, sizes: tuple[int, ...], want: list[int]) -> None:
    assert chunks(batch, sizes) == want
