"""The example workflows: every command of theirs is run as it stands, on a machine made of arithmetic."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NIGHTLY = ROOT / "docs" / "nightly"


@dataclass(frozen=True)
class Runner:
    """A checkout with its `.venv` set up, beside a repository with the branch that holds the baseline."""

    folder: Path
    environment: dict[str, str]

    def run(self, commands: str, **more: str) -> subprocess.CompletedProcess[str]:
        """As GitHub and GitLab do: bash, ended by the first command that fails."""
        environment = {**self.environment, **more}
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", commands],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def must(self, commands: str, **more: str) -> str:
        done = self.run(commands, **more)
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, folder / name)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, module in (("python", ""), ("loadstone", " -m tests.harness.gate.world")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n')
        (programs / name).chmod(0o755)
    for stamp in (".run-stamp", ".dev-stamp"):  # set up already: make must find nothing to do
        (folder / ".venv" / stamp).touch()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LOADSTONE_CACHE": str(tmp_path / "cache"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GATE_DATA_URL": str(tmp_path / "data.git"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip
    made = Runner(folder, environment)
    made.must("git init -q --bare -b gate-data ../data.git && git clone -q ../data.git ../first 2>&1")
    accept = ".venv/bin/loadstone gate promote fake --baseline ../first --message 'a test' --candidates ort@local-1"
    made.must(
        f"{accept}\ncd ../first && git checkout -q -b gate-data && git add . && git commit -qm x && git push -q origin HEAD"
    )
    return made


def github(runner: Runner, **more: str) -> dict[str, subprocess.CompletedProcess[str]]:
    """Every step of the job in order; after a failure only those that always run."""
    workflow = yaml.safe_load((NIGHTLY / "github.yml").read_text(encoding="utf-8"))
    variables = {**{name: str(value) for name, value in workflow["env"].items()}, "MODEL": "fake", **more}
    done, failed = {}, False
    for step in workflow["jobs"]["gate"]["steps"]:
        if step.get("with", {}).get("ref"):
            runner.must(f'git clone -q --branch {step["with"]["ref"]} "$GATE_DATA_URL" {step["with"]["path"]}')
        if "run" in step and (not failed or step.get("if") == "${{ always() }}"):
            done[step["name"]] = runner.run(step["run"], **variables)
            failed = failed or done[step["name"]].returncode != 0
    return done


def nights(runner: Runner) -> list[dict[str, Any]]:
    """What was pushed to the branch with the history."""
    text = runner.must("git -C ../data.git show gate-data:history.jsonl")
    return [row for row in map(json.loads, text.splitlines()) if row["kind"] == "night"]


def test_the_github_job_passes_shows_keeps_and_remembers_a_good_night(runner: Runner) -> None:
    done = github(runner)
    assert {name: each.returncode for name, each in done.items() if each.returncode} == {}, done
    assert json.loads((runner.folder / "gate.json").read_text())["verdict"] == "pass"
    assert "PASS" in Path(runner.environment["GITHUB_STEP_SUMMARY"]).read_text()
    assert [night["verdict"] for night in nights(runner)] == ["pass"]


def test_the_github_job_fails_on_a_regression_and_remembers_it_all_the_same(runner: Runner) -> None:
    done = github(runner, SLOWDOWN="0.06")
    assert [name for name, each in done.items() if each.returncode] == ["Compare tonight with the baseline"]
    assert done["Compare tonight with the baseline"].returncode == 1
    assert "REGRESSION" in Path(runner.environment["GITHUB_STEP_SUMMARY"]).read_text()
    assert [night["verdict"] for night in nights(runner)] == ["regression"]


def test_what_the_github_job_keeps_exists(runner: Runner) -> None:
    github(runner)
    workflow = yaml.safe_load((NIGHTLY / "github.yml").read_text(encoding="utf-8"))
    (upload,) = [step for step in workflow["jobs"]["gate"]["steps"] if "upload-artifact" in step.get("uses", "")]
    for pattern in upload["with"]["path"].split():
        assert list(runner.folder.glob(pattern)), pattern


def test_the_gitlab_job_does_the_same(runner: Runner) -> None:
    job = yaml.safe_load((NIGHTLY / "gitlab.yml").read_text(encoding="utf-8"))["nightly-gate"]
    variables = {**job["variables"], "MODEL": "fake"}
    runner.must("\n".join([*job["before_script"], *job["script"]]), **variables)
    runner.must("\n".join(job["after_script"]), **variables)
    assert [night["verdict"] for night in nights(runner)] == ["pass"]
    for pattern in [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]:
        assert list(runner.folder.glob(pattern)), pattern
    assert job["allow_failure"]["exit_codes"] == [4]


def test_make_gate_is_the_command(runner: Runner) -> None:
    runner.must('git clone -q --branch gate-data "$GATE_DATA_URL" baseline')
    out = runner.must('make gate MODEL=fake ARGS="--out nights"')
    assert "PASS: fake tonight" in out
