"""A compiler that refuses, crashes, hangs or takes all memory is a row with its operator, and the cache stays sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from compilers import failures, reproduce
from compilers.build import build
from compilers.intake import resolve
from compilers.spec_io import PreparedModel
from harness.nouns import Artifact, CompileOptions, Failure, Skipped
from harness.supervise import ExitReport
from tests.compilers import bad_backend
from tests.compilers.graphs import model, save, value


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> PreparedModel:
    """Seven operators, of which the bad backend cannot do the Exp."""
    folder = tmp_path_factory.mktemp("spoiled")
    kinds = ["Relu", "Neg", "Abs", "Exp", "Sqrt", "Relu", "Neg"]
    nodes = [helper.make_node(kind, [f"v{at}"], [f"v{at + 1}"], name=f"node{at}") for at, kind in enumerate(kinds)]
    whole = model(nodes, [value("v0", [1, 4])], [value("v7", [1, 4])])
    return resolve(str(save(whole, folder / "chain.onnx")), folder / "cache", log=folder / "log")


def compile_bad(spoiled: PreparedModel, folder: Path, **limits: Any) -> Failure:
    made = build(CompileOptions(backend="bad"), spoiled, folder / "cache", log=folder / "logs" / "compile.log", **limits)
    assert isinstance(made, Failure), made
    return made


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "cache" / "artifacts").iterdir())


def graph_of(made: Failure) -> list[str]:
    assert made.reproducer is not None
    proto = onnx.load(made.reproducer)
    onnx.checker.check_model(proto, full_check=True)
    return [node.name for node in proto.graph.node]


@pytest.mark.parametrize(
    ("how", "said", "limits"),
    [
        ("abort", "killed by signal 6: about to abort", {}),
        ("raise", "exited with 1: ValueError: list index 5 out of range", {}),
        ("hang", "took longer than 2 s", {"timeout_s": 2}),
        ("memory", "took more memory than allowed", {"memory_bytes": 700 << 20}),
    ],
)
def test_what_ends_the_compiler_is_a_row_with_its_operator_and_is_not_remembered(
    spoiled: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, said: str, limits: dict[str, Any]
) -> None:
    bad_backend.install(monkeypatch, tmp_path / "site", how)
    monkeypatch.setattr(failures, "REDUCTION_S", 60.0)
    monkeypatch.setattr(reproduce, "HANG_S", 2.0)
    made = compile_bad(spoiled, tmp_path, **limits)
    assert made.stage == "compile"
    assert said in made.reason
    if how != "hang":  # its trials take their full 15 s each, too long for a test
        assert graph_of(made) == ["node3"]
        assert made.operator == "Exp 'node3'"
        assert made.reproducer == tmp_path / "logs" / "compile.onnx"
        assert "1 of 7 nodes" in str(made.reduction)
    assert entries(tmp_path) == []


def test_a_refusal_is_remembered_with_its_operator_and_graph(
    spoiled: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad_backend.install(monkeypatch, tmp_path / "site", "refuse")
    made = compile_bad(spoiled, tmp_path)
    assert (made.operator, graph_of(made)) == ("Exp 'node3'", ["node3"])
    assert len(entries(tmp_path)) == 1
    for path in (tmp_path / "logs").iterdir():
        path.unlink()
    again = compile_bad(spoiled, tmp_path)
    assert (again.operator, again.reduction, again.reason) == (made.operator, made.reduction, made.reason)
    assert graph_of(again) == ["node3"]
    assert again.log is not None
    assert again.log.parent == tmp_path / "logs"


def test_the_class_of_an_error_forgets_names_and_numbers_and_keeps_its_kind() -> None:
    def kind(returncode: int = 0, outcome: Any = None, **how: bool) -> str | None:
        return reproduce.error_class(ExitReport(returncode=returncode, wall_s=1, peak_rss_bytes=1, **how), outcome)

    one = kind(outcome={"failed": "compile", "reason": "no rule for 'conv1' (shape 3x4) at /tmp/x/y.cc:81"})
    assert one == kind(outcome={"failed": "compile", "reason": "no rule for 'conv77' (shape 9x9) at /tmp/z.cc:3"})
    assert one != kind(outcome={"failed": "compile", "reason": "out of registers in 'conv1'"})
    assert one != kind(outcome={"failed": "load", "reason": "no rule for 'conv1' (shape 3x4) at /tmp/x/y.cc:81"})
    assert kind(returncode=-11) == "signal 11"
    assert kind(returncode=1) == "exit 1"
    assert kind(returncode=-9, timed_out=True) == "timeout"
    assert kind(returncode=-9, over_memory=True) == "memory"
    assert kind(outcome={"compile_s": 1.0}) is None


def test_a_search_that_runs_out_of_time_says_so(
    spoiled: PreparedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad_backend.install(monkeypatch, tmp_path / "site", "refuse")
    work, log = tmp_path / "work", tmp_path / "log.txt"
    work.mkdir()
    failure = Failure(stage="compile", reason="no rule", log=log)
    found = failures.reduced(
        failure,
        "compile: no rule for Exp in node of graph",
        bad_backend.Bad(),
        CompileOptions(backend="bad"),
        spoiled,
        work,
        timeout_s=60,
        memory_bytes=1 << 32,
        seconds=0.3,
    )
    assert "stopped early" in str(found.reduction)
    assert "node3" in graph_of(found)
    missed = failures.reduced(
        failure,
        "compile: something else",
        bad_backend.Bad(),
        CompileOptions(backend="bad"),
        spoiled,
        work,
        timeout_s=60,
        memory_bytes=1 << 32,
    )
    (work / reproduce.FACTS).unlink()
    assert missed.reproducer is not None or "did not fail this way" in str(missed.reduction)


def test_a_backend_of_programs_says_that_no_graph_is_cut_down(prepared: PreparedModel, tmp_path: Path) -> None:
    class Program(bad_backend.Bad):
        reads_onnx = False

    failure = Failure(stage="compile", reason="x", log=tmp_path / "log")
    found = failures.reduced(
        failure,
        "exit 1",
        Program(),
        CompileOptions(backend="torch"),
        prepared,
        tmp_path,
        timeout_s=1,
        memory_bytes=1,
    )
    assert found.reduction == "torch does not compile the ONNX graph, so none is cut down"


@pytest.mark.e2e
def test_a_real_compiler_names_the_operator_it_does_not_know(tmp_path: Path) -> None:
    """TVM's importer knows no Det; the graph around it is cut away."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="relu"),
        helper.make_node("Det", ["a"], ["b"], name="determinant"),
        helper.make_node("Neg", ["b"], ["y"], name="neg"),
    ]
    whole = model(nodes, [value("x", [1, 4, 4])], [value("y", [1])])
    subject = resolve(str(save(whole, tmp_path / "det.onnx")), tmp_path / "cache", log=tmp_path / "log")
    made = build(CompileOptions(backend="tvm"), subject, tmp_path / "cache", log=tmp_path / "tvm.log")
    assert isinstance(made, Failure), made
    assert made.operator == "Det 'determinant'"
    assert graph_of(made) == ["determinant"]
    assert isinstance(build(CompileOptions(backend="ort"), subject, tmp_path / "cache", log=tmp_path / "o"), Artifact | Skipped)
