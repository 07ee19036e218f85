"""`loadstone doctor` on this machine and on made-up ones: every backend and optional feature has its line."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from compilers import registry
from harness import environment
from harness.commands import doctor

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "_WATCH_S", 0.05)
    monkeypatch.setenv("LOADSTONE_CACHE", str(tmp_path / "cache"))


def rows(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    assert doctor.doctor(as_json=True) == 0
    return {row["what"]: row for row in json.loads(capsys.readouterr().out)}


def test_every_backend_has_a_line_and_so_has_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys)
    assert {f"backend {name}" for name in registry.BACKENDS} <= set(found)
    assert {"cores", "CPU quota", "SMT", "CPU governor", "steal", "other load", "memory", "artifact cache"} <= set(found)
    assert {row["state"] for row in found.values()} <= {"ok", "hint", "missing"}


def test_every_extra_is_named_where_it_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "version", lambda name: None)
    said = " ".join(row["do"] for row in rows(capsys).values())
    for extra in PROJECT["optional-dependencies"].keys() - {"all", "dev"}:
        assert f"pip install 'loadstone[{extra}]'" in said, extra


def test_a_missing_compiler_is_missed_by_those_who_build(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    found = rows(capsys)
    for name in ("inductor", "tvm"):
        assert "a C++ compiler" in found[f"backend {name}"]["found"]
        assert "apt install g++" in found[f"backend {name}"]["do"]
    assert "compiler" not in found["backend ort"]["found"]


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.doctor(as_json=False) == 0
    out = capsys.readouterr().out
    assert "backend openvino" in out
    assert "Reports need no browser" in out


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.cfs_quota_us": "200000", "cpu.cfs_period_us": "100000"}, 2.0),
        ({"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_quota_is_read_from_either_cgroup_version(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    proc, mount = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / str(os.getpid())).mkdir()
    group = mount / "box"
    group.mkdir(parents=True)
    first = "cfs" in " ".join(files)
    kind, options = ("cgroup", "rw,cpu") if first else ("cgroup2", "rw")
    (proc / "self" / "mountinfo").write_text(f"30 1 0:26 / {mount} rw - {kind} {kind} {options}\n")
    (proc / str(os.getpid()) / "cgroup").write_text("3:cpu:/box\n" if first else "0::/box\n")
    (group / "cpu.stat").write_text("nr_periods 1\nnr_throttled 0\n")
    for name, text in files.items():
        (group / name).write_text(text)
    assert doctor.quota_cpus(proc) == quota
