from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compilers import spec_io
from compilers.models import builtin
from harness.errors import UsageError
from harness.nouns import ModelSpec, Tolerance

SPEC = ModelSpec(
    name="m", digest="d", inputs=builtin("bert_base").inputs, outputs=builtin("bert_base").outputs, parameters=None, flops=7,
    weights="file", weights_note="n", reference="r", batch_axis=None, has_program=True, tolerance=Tolerance(max_rel=0.5),
)  # fmt: skip


def test_a_spec_survives_the_file(tmp_path: Path) -> None:
    spec_io.write_spec(tmp_path, SPEC)
    assert spec_io.read_spec(tmp_path) == SPEC


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"inputs": 3}', '{"name": 1, "inputs": [], "outputs": [], "tolerance": {}}']
)
def test_a_damaged_spec_is_a_usage_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "spec.json").write_text(content)
    with pytest.raises(UsageError, match="not a prepared model"):
        spec_io.read_spec(tmp_path)


def test_payloads_and_reference_survive(tmp_path: Path) -> None:
    payloads = [{"file": np.full((1, 2), i), "a/b": np.array(i, np.float32)} for i in range(3)]
    spec_io.write_payloads(tmp_path, payloads)
    back = spec_io.read_payloads(tmp_path)
    assert [list(payload) for payload in back] == [["file", "a/b"]] * 3
    assert [int(payload["a/b"]) for payload in back] == [0, 1, 2]
    outputs = [[np.full((1, 4), i, np.float32), np.array(i)] for i in range(12)]
    spec_io.write_reference(tmp_path, outputs)
    again = spec_io.read_reference(tmp_path)
    assert all(np.array_equal(a, b) for one, two in zip(outputs, again, strict=True) for a, b in zip(one, two, strict=True))
