from __future__ import annotations

from pathlib import Path

from harness import failed_build
from harness.nouns import Failure, Parity, Skipped
from tests.harness.fakes import FakeServer, FakeWorld, constant
from tests.harness.test_bench import run

FAR = Parity(max_abs=3.0, max_rel=0.6, top1_agreement=0.2, payloads=32)
NOTHING = {"failed_operator": None, "reproducer": None, "reduction": None}


def test_a_failed_compile_names_its_operator_and_graph() -> None:
    failure = Failure(
        stage="compile",
        reason="no rule",
        operator="Det 'd'",
        reproducer=Path("/somewhere/logs/compile-tvm@local-1.onnx"),
        reduction="1 of 3 nodes after 4 trials in 2 s",
    )
    assert failed_build.of(failure) == {
        "failed_operator": "Det 'd'",
        "reproducer": "logs/compile-tvm@local-1.onnx",
        "reduction": "1 of 3 nodes after 4 trials in 2 s",
    }


def test_what_did_not_fail_has_nothing_to_say() -> None:
    assert failed_build.of(None) == NOTHING
    assert failed_build.of(Skipped(reason="x")) == NOTHING


def test_below_the_parity_bar_is_rejected_with_the_figures(tmp_path: Path) -> None:
    reason = "relative error 0.6 is above 0.15, over 32 payloads"
    servers: dict[str, FakeServer | Skipped | Failure] = {
        "ort": constant(10.0),
        "torch": Failure(stage="parity", reason=reason, parity=FAR),
        "tvm": Failure(stage="compile", reason="no rule", operator="Det 'd'"),
    }
    _, result = run(FakeWorld(servers=servers), tmp_path / "run")
    rows = {row["backend"]: row for row in result["candidates"]}
    assert (rows["torch"]["status"], rows["torch"]["reason"], rows["torch"]["stage"]) == ("rejected", reason, "parity")
    assert rows["torch"]["parity"]["max_rel"] == 0.6
    assert (rows["tvm"]["status"], rows["tvm"]["failed_operator"]) == ("failed", "Det 'd'")
    assert rows["ort"]["failed_operator"] is None
