"""Whole nights of the gate on a machine made of arithmetic: verdicts, what is kept, and what may never pass."""

from __future__ import annotations

import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compilers import cache, intake
from harness import environment
from harness.commands import gate as gating
from harness.commands.gate import GateRequest, gate
from harness.commands.gate_history import past
from harness.commands.gate_promote import PromoteRequest, promote
from harness.errors import Interrupted, LoadstoneError, MeasurementInvalid, UsageError
from harness.gate import baseline as baselines
from harness.gate import history, interpreter, signed
from harness.nouns import Candidate, Failure
from tests.harness.fakes import FakeServer, fake_model
from tests.harness.gate.world import SERVICE_MS, GateWorld, on, steady, world

ORT = ("ort@local-1",)
SCHEMA = json.loads((Path(gating.__file__).parents[1] / "data" / "gate.schema.json").read_text(encoding="utf-8"))


def accept(made: GateWorld, folder: Path, candidates: tuple[str, ...] = ORT) -> Path:
    """A baseline in `folder`, accepted on the machine `made`."""
    with on(made, folder):
        asked = PromoteRequest(what="fake", baseline=folder / "baseline", message="a test", by="tester", candidates=candidates)
        assert promote(asked, as_json=False) == 0
    return folder / "baseline"


def hold(made: GateWorld, folder: Path, **given: Any) -> tuple[int, dict[str, Any]]:
    """One night: its exit code and its document."""
    asked = replace(GateRequest(baseline=folder / "baseline", out=folder / "nights", seed=5), **given)
    with on(made, folder):
        code = gate(asked, as_json=False)
    document = json.loads(newest(folder, "gate.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, SCHEMA)
    return code, document


def newest(folder: Path, name: str) -> Path:
    return max((folder / "nights").glob(f"*/{name}"), key=lambda path: path.stat().st_mtime_ns)


def tonight_slower(share: float, **more: Any) -> GateWorld:
    return world(slower=lambda candidate, accepted: 1.0 if accepted else 1.0 + share, **more)


def verdicts(document: dict[str, Any], at: int = 0) -> dict[str, str | None]:
    return {row["metric"]: row["verdict"] for row in document["candidates"][at]["metrics"]}


def test_equals_pass_and_the_gate_shows_that_it_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accept(world(), tmp_path)
    code, document = hold(world(), tmp_path)
    assert (code, document["verdict"]) == (0, "pass")
    (candidate,) = document["candidates"]
    tail = candidate["metrics"][-1]
    assert (tail["metric"], tail["verdict"]) == ("p99_ms", None)
    assert tail["reason"] == "not judged: fewer than 4,000 requests in all slices"
    assert {verdict for metric, verdict in verdicts(document).items() if metric != "p99_ms"} == {"pass"}
    assert candidate["self_test"]["twin"]["silent"] is True
    assert candidate["self_test"]["canary"]["fired"] is True
    assert candidate["self_test"]["canary"]["metrics"][0]["ratio"] == pytest.approx(1.05, abs=0.01)
    assert document["tally"]["canary"] == {"nights": 1, "good": 1, "low": pytest.approx(0.2065, abs=1e-3), "high": 1.0}
    assert candidate["rate_is_the_baselines"] is True
    assert not list((tmp_path / "nights").glob("*/compiled")), "compiled artifacts of the night are not kept"
    assert "PASS: fake tonight" in capsys.readouterr().out


def test_a_fast_model_answers_often_enough_for_its_tail_to_be_judged(tmp_path: Path) -> None:
    fast = {"servers": {"ort": steady(1.0)}}
    accept(world(**fast), tmp_path)
    code, document = hold(world(**fast), tmp_path)
    assert code == 0
    assert set(verdicts(document).values()) == {"pass"}
    _, slow = hold(tonight_slower(0.2, **fast), tmp_path)
    assert verdicts(slow)["p99_ms"] == "regression"


def test_a_slowdown_of_5_percent_fails_the_build_once_confirmed(tmp_path: Path) -> None:
    accept(world(), tmp_path)
    code, document = hold(tonight_slower(0.05), tmp_path)
    assert (code, document["verdict"]) == (1, "regression")
    assert verdicts(document)["p50_ms"] == verdicts(document)["throughput_per_s"] == "regression"
    row = document["candidates"][0]["metrics"][0]
    assert row["tonight"] / row["baseline"] == pytest.approx(row["ratio"], rel=0.02)
    assert "confirmed" in row["reason"]
    assert document["candidates"][0]["runs"] == 2


def test_an_improvement_is_said_and_moves_nothing(tmp_path: Path) -> None:
    folder = accept(world(), tmp_path)
    before = (folder / baselines.LOG).read_bytes()
    code, document = hold(tonight_slower(-0.2), tmp_path)
    assert code == 0
    assert document["candidates"][0]["metrics"][0]["improved"] is True
    assert (folder / baselines.LOG).read_bytes() == before
    assert "improved" in newest(tmp_path, "summary.md").read_text(encoding="utf-8")


def test_a_slower_start_is_a_regression_of_its_own(tmp_path: Path) -> None:
    accept(world(), tmp_path)
    code, document = hold(world(starts=lambda candidate, accepted: 1.5 if accepted else 1.9), tmp_path)
    assert code == 1
    assert verdicts(document) == {
        "p50_ms": "pass", "p95_ms": "pass", "throughput_per_s": "pass", "start_s": "regression", "p99_ms": None
    }  # fmt: skip


def test_too_much_noise_is_inconclusive_after_twice_the_pairs(tmp_path: Path) -> None:
    accept(world(), tmp_path)
    scattered = np.random.default_rng(4)

    def slower(candidate: Candidate, accepted: bool) -> float:
        return 1.0 if accepted else float(scattered.normal(1.02, 0.07))

    code, document = hold(world(slower=slower), tmp_path)
    assert (code, document["verdict"]) == (4, "inconclusive")
    assert document["candidates"][0]["extended"] is True
    assert {row["pairs"] for row in document["candidates"][0]["metrics"] if row["verdict"]} == {24}


def test_a_tail_is_judged_as_soon_as_all_runs_together_hold_enough_requests(tmp_path: Path) -> None:
    servers = {"servers": {"ort": steady(2.0)}}
    accept(world(**servers), tmp_path)
    code, document = hold(world(**servers), tmp_path)
    assert (code, verdicts(document)["p99_ms"]) == (0, None)
    scattered = np.random.default_rng(4)
    noisy = world(slower=lambda candidate, accepted: 1.0 if accepted else float(scattered.normal(1.02, 0.07)), **servers)
    _, document = hold(noisy, tmp_path)
    tail = document["candidates"][0]["metrics"][-1]
    assert (tail["metric"], tail["pairs"]) == ("p99_ms", 24)
    assert tail["verdict"] in ("pass", "inconclusive")


def test_a_canary_that_is_missed_makes_the_night_invalid(tmp_path: Path) -> None:
    accept(world(), tmp_path)
    code, document = hold(world(slower=lambda candidate, accepted: 1 / (1 + candidate.extra_work)), tmp_path)
    assert (code, document["verdict"]) == (3, "invalid")
    assert "a canary of +5% was not caught" in document["candidates"][0]["reason"]
    assert document["tally"]["canary"]["good"] == 0


def test_a_baseline_that_fails_against_itself_makes_the_night_invalid(tmp_path: Path) -> None:
    accept(world(), tmp_path)
    made = world(instead=lambda arm, accepted: steady(1.06 * SERVICE_MS) if arm == "twin" else None)
    code, document = hold(made, tmp_path)
    assert code == 3
    assert "the baseline failed against itself" in document["candidates"][0]["reason"]
    assert document["candidates"][0]["self_test"]["twin"]["silent"] is False


def test_a_candidate_that_vanished_never_passes_and_the_others_are_measured(tmp_path: Path) -> None:
    accept(world(), tmp_path, ("ort@local-1", "openvino@local-1"))
    gone = world(servers={"ort": steady(), "openvino": Failure(stage="compile", reason="no such operator")})
    code, document = hold(gone, tmp_path)
    assert code == 3
    assert [each["verdict"] for each in document["candidates"]] == ["pass", "invalid"]
    assert "openvino@local-1 has vanished" in document["candidates"][1]["reason"]
    assert "no such operator" in document["candidates"][1]["reason"]


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (FakeServer(service_ms=lambda rng, n: np.full(n, 5.0), fail_share=0.2), "requests well"),
        (FakeServer(service_ms=lambda rng, n: np.full(n, 5.0), dies_after_runs=1), "killed by SIGSEGV"),
    ],
)
def test_a_server_that_fails_or_dies_never_passes(tmp_path: Path, server: FakeServer, said: str) -> None:
    accept(world(), tmp_path)
    made = world(instead=lambda arm, accepted: None if accepted else server)
    code, document = hold(made, tmp_path)
    assert code == 3
    assert said in document["candidates"][0]["reason"]
    assert len(made.stopped) == len(made.visits), "every server is ended"


def test_an_invalid_slice_is_repeated_twice_and_no_more(tmp_path: Path) -> None:
    accept(world(), tmp_path)
    made = world(steal_share=0.4)
    code, document = hold(made, tmp_path)
    assert code == 3
    assert "a block stayed invalid after 2 repetitions: the hypervisor took" in document["candidates"][0]["reason"]
    assert document["candidates"][0]["repeated"] == 2


def test_an_interrupted_night_is_not_remembered(tmp_path: Path) -> None:
    folder = accept(world(), tmp_path)
    made = world(interrupt_after=30)
    with pytest.raises(Interrupted):
        hold(made, tmp_path)
    assert not (folder / history.FILE).exists()
    assert len(made.stopped) == len(made.visits)


def test_promotions_add_up_and_the_newest_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = accept(world(), tmp_path)
    first = baselines.current(folder, "fake")
    with on(world(compiled="two"), tmp_path):
        later = replace(first, id="20991231T000000Z-x", message="two", candidates=first.candidates)
        baselines.promote(
            folder,
            later,
            fake_model(tmp_path / "model"),
            {each.id: baselines.artifact(folder, each) for each in first.candidates},
        )
    assert [line["by"] for line in baselines.promotions(folder)] == ["tester", "tester"]
    assert baselines.current(folder, "fake").message == "two"
    assert first.message == "a test"
    assert len(list((folder / baselines.BASELINES).iterdir())) == 2
    assert first.lock["numpy"] == np.__version__
    hold(world(), tmp_path)
    capsys.readouterr()
    assert past(folder, as_json=True) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [len(shown["promotions"]), len(shown["nights"]), shown["tally"]["twin"]["good"]] == [2, 1, 1]
    assert past(folder, as_json=False) == 0
    assert gating.locked(folder, None) == 0
    assert f"numpy=={np.__version__}" in capsys.readouterr().out


def test_a_promotion_says_what_it_cannot_accept(tmp_path: Path) -> None:
    broken = world(servers={"ort": Failure(stage="compile", reason="no compiler")})
    with on(broken, tmp_path), pytest.raises(LoadstoneError, match="no compiler"):
        promote(PromoteRequest(what="fake", baseline=tmp_path / "b", message="x", candidates=ORT), as_json=False)
    dead = world(servers={"ort": FakeServer(service_ms=lambda rng, n: np.full(n, 5.0), fail_share=1.0)})
    with on(dead, tmp_path), pytest.raises(MeasurementInvalid, match="answered no request well"):
        promote(PromoteRequest(what="fake", baseline=tmp_path / "b", message="x", candidates=ORT), as_json=False)
    with on(world(), tmp_path), pytest.raises(UsageError, match="--message"):
        promote(PromoteRequest(what="fake", baseline=tmp_path / "b", message=" "), as_json=False)
    with pytest.raises(UsageError, match="not a run folder"):
        promote(PromoteRequest(what=str(tmp_path), baseline=tmp_path / "b", message="x"), as_json=False)
    assert not (tmp_path / "b").exists()


def test_the_outputs_agree_with_the_document(tmp_path: Path) -> None:
    accept(world(), tmp_path, ("ort@local-1", "openvino@local-1"))
    made = world(slower=lambda candidate, accepted: 1.08 if not accepted and candidate.options.backend == "ort" else 1.0)
    code, _ = hold(made, tmp_path)
    assert code == 1
    root = ElementTree.parse(newest(tmp_path, "junit.xml")).getroot()
    counted = {suite.get("name"): (suite.get("failures"), suite.get("errors")) for suite in root}
    assert int(str(counted["fake ort@local-1"][0])) >= 2
    assert counted["fake openvino@local-1"] == ("0", "0")
    page = newest(tmp_path, "gate.html").read_text(encoding="utf-8")
    assert "REGRESSION" in page
    assert len(page) < 100_000
    summary = newest(tmp_path, "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("## ❌ REGRESSION")


def test_the_history_announces_a_new_environment_and_warns_of_creep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = accept(world(), tmp_path)
    _, first = hold(world(), tmp_path)
    assert first["new_series"] == []
    row = json.loads((folder / history.FILE).read_text().splitlines()[-1])
    for night in range(40):
        ratio = 1.0 + (0.02 if night >= 25 else 0.0) + 0.001 * math.sin(7 * night)
        metrics = {"p50_ms": {**row["metrics"]["p50_ms"], "ratio": ratio}}
        history.append(folder, [{**row, "utc": f"2026-01-{night % 28 + 1:02d}T00:00:00+00:00", "metrics": metrics}])
    code, document = hold(tonight_slower(0.02), tmp_path, seed=6)
    assert code in (0, 4), "creep blocks nothing"
    assert any("p50_ms has crept +2" in said for said in document["creep"])
    real = environment.describe()
    changed = {**real, "kernel": "9.9", "fingerprint": "another"}
    monkeypatch.setattr(environment, "describe", lambda lanes=(): changed)
    code, document = hold(world(), tmp_path, seed=7)
    assert code == 0
    assert document["creep"] == []
    assert "kernel" in document["new_series"][0]
    assert "→ 9.9" in document["new_series"][0]
    assert document["environment"]["changed_since_baseline"]["kernel"][1] == "9.9"
    assert not hold(world(), tmp_path, seed=8)[1]["new_series"]


def test_another_rate_is_chosen_and_said_when_the_machine_changed_its_speed(tmp_path: Path) -> None:
    accept(world(), tmp_path)
    code, document = hold(world(servers={"ort": steady(9.0)}), tmp_path)
    assert code == 0
    assert document["candidates"][0]["rate_is_the_baselines"] is False
    assert document["candidates"][0]["rate_per_s"] == pytest.approx(0.4e3 / 9, rel=0.02)
    assert "instead of" in document["warnings"][-1]


def test_other_packages_are_said_and_an_interpreter_with_the_old_ones_is_checked(tmp_path: Path) -> None:
    folder = accept(world(), tmp_path)
    lock = baselines.current(folder, None).lock
    assert interpreter.differences(lock, environment.describe()["packages"], "") == []
    (said,) = interpreter.differences({**lock, "onnxruntime": "0.1"}, environment.describe()["packages"], "")
    assert "onnxruntime 0.1" in said
    assert interpreter.checked(Path(sys.executable), lock) == sys.executable
    with pytest.raises(UsageError, match=r"onnxruntime 0.1"):
        interpreter.checked(Path(sys.executable), {**lock, "onnxruntime": "0.1"})
    with pytest.raises(UsageError, match="cannot be started"):
        interpreter.checked(tmp_path / "python", lock)
    made = world()
    code, _ = hold(made, tmp_path, python=Path(sys.executable))
    assert code == 0
    assert {candidate.python for candidate in made.candidates_seen} == {"", sys.executable}


def test_an_artifact_that_was_given_is_compared(tmp_path: Path) -> None:
    accept(world(), tmp_path)
    with on(world(), tmp_path):
        model = fake_model(tmp_path / "model")
        other = world(compiled="two").make(tmp_path, 1.0)
        candidate = gating._candidate(baselines.current(tmp_path / "baseline", None).candidates[0], model)
        built = other.build(candidate, model, tmp_path / "log", lambda: False)
    code, document = hold(tonight_slower(0.06), tmp_path, artifacts={"ort@local-1": built.path})  # type: ignore[union-attr]
    assert code == 1
    assert document["candidates"][0]["tonight_digest"] == built.digest  # type: ignore[union-attr]
    (built.path / "code.bin").write_text("altered")  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="was altered"):
        hold(world(), tmp_path, artifacts={"ort@local-1": built.path})  # type: ignore[union-attr]


def test_what_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no baseline"):
        hold(world(), tmp_path)
    accept(world(), tmp_path)
    for wrong, said in (
        ({"model": "resnet50"}, "no baseline of resnet50"),
        ({"candidates": ("tvm@local-1",)}, "the baseline has ort@local-1"),
        ({"artifacts": {"x": tmp_path}}, "the baseline has ort@local-1"),
        ({"artifacts": {"ort@local-1": tmp_path / "none"}}, "no such folder"),
    ):
        with pytest.raises(UsageError, match=said):
            hold(world(), tmp_path, **wrong)


def test_another_model_or_other_hardware_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(world(), tmp_path)
    asked = GateRequest(baseline=tmp_path / "baseline", out=tmp_path / "nights")
    model = fake_model(tmp_path / "model")
    other = replace(model, spec=replace(model.spec, digest="2" * 64))
    with on(world(), tmp_path):
        monkeypatch.setattr(intake, "resolve", lambda *args, **named: other)
        with pytest.raises(UsageError, match="the model is another"):
            gate(asked, as_json=False)
    here = environment.describe()
    monkeypatch.setattr(environment, "describe", lambda lanes=(): {**here, "cpu_model": "another"})
    with on(world(), tmp_path), pytest.raises(MeasurementInvalid, match=r"other hardware .*cpu_model"):
        gate(asked, as_json=False)
    assert not list((tmp_path / "nights").glob("*")), "nothing is measured against it"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    accept(world(), folder)
    return folder


def stored_files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in (folder / "baseline").rglob("*") if path.is_file())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_damage_to_a_baseline_ever_passes(
    stored: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any file of it removed, cut, or with a byte changed: refused with a line, or invalid; never a pass."""
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(stored, folder, dirs_exist_ok=True)
    path = folder / data.draw(st.sampled_from(stored_files(stored)), label="file")
    whole = path.read_bytes()
    kind = data.draw(st.sampled_from(["gone", "cut", "byte"]), label="damage")
    if kind == "gone":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(whole[: data.draw(st.integers(0, max(0, len(whole) - 2)), label="length")])
    else:
        at = data.draw(st.integers(0, len(whole) - 1), label="at")
        path.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255), label="xor")]) + whole[at + 1 :])
    if path.name == cache.MANIFEST and cache.read_json(path) == json.loads(whole):
        return  # its blanks may change
    code, said = outcome(folder)
    assert code in (2, 3), said
    assert said
    assert "\n" not in said


def outcome(folder: Path) -> tuple[int, str]:
    """The exit code of a short night and what is said with it."""
    try:
        code, document = hold(world(), folder, pairs=8)
    except LoadstoneError as error:
        return error.exit_code, str(error)
    return code, str(document["candidates"][0]["reason"])


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"schema": 2}, 2, "schema 2"),
        ({"candidates": []}, 3, "no candidate"),
        ({"lock": None}, 3, "lock"),
        ({"environment": {}}, 3, "other hardware"),
        ({"rate_per_s": math.nan}, 3, "rate_per_s"),
        ({"results": {"closed_per_s": -1.0}}, 3, "closed_per_s"),
    ],
)
def test_a_record_that_is_signed_but_wrong_is_refused(tmp_path: Path, change: dict[str, Any], code: int, said: str) -> None:
    """As a program of another version, or a mistaken one, might have written it."""
    folder = accept(world(), tmp_path)
    (line,) = baselines.promotions(folder)
    path = folder / baselines.BASELINES / line["id"] / baselines.RECORD
    record = json.loads(path.read_text())
    for name, value in change.items():
        (record if name in record else record["candidates"][0])[name] = value
    path.write_text(json.dumps(record))
    (folder / baselines.LOG).unlink()
    told = {name: value for name, value in line.items() if name not in ("previous", "sum")}
    signed.append(folder / baselines.LOG, {**told, "record": cache.file_digest(path)})
    with pytest.raises(LoadstoneError, match=said) as caught:
        hold(world(), tmp_path)
    assert caught.value.exit_code == code
