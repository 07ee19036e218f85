from __future__ import annotations

from pathlib import Path

from harness.candidates import enumerate_candidates
from tests.harness.fakes import fake_model
from tests.harness.test_bench import INSTANCE


def test_a_candidate_is_a_backend_in_a_precision_on_an_instance(tmp_path: Path) -> None:
    spec = fake_model(tmp_path / "model").spec
    made = enumerate_candidates(spec, ["ort", "tvm"], [INSTANCE], ["fp32", "int8"])
    assert [each.id for each in made] == ["ort@local-1", "ort-int8@local-1", "tvm@local-1", "tvm-int8@local-1"]
    assert len({each.key for each in made}) == 4
    assert [each.options.precision for each in made] == ["fp32", "int8", "fp32", "int8"]
    assert made[0] == enumerate_candidates(spec, ["ort"], [INSTANCE])[0]
