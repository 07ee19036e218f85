"""Bundles that tests share: one for this machine, one for a Raspberry Pi, built as the product does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compilers.build import build
from compilers.edge.toolchain import Runner, runner, why_no_bundle
from compilers.spec_io import PreparedModel
from compilers.targets import resolve
from compilers.targets.reach import look
from harness.nouns import Artifact, CompileOptions

PI = "rasp4b"


def require_emulation(target: str) -> None:
    """Skip where the cross compiler or the emulator is missing, but not where LOADSTONE_REQUIRE_EMULATOR says it may not be."""
    resolved = resolve(target)
    found = runner(resolved)
    missing = why_no_bundle(resolved, look()) or (found if not isinstance(found, Runner) else None)
    if missing is None:
        return
    if os.environ.get("LOADSTONE_REQUIRE_EMULATOR"):
        pytest.fail(missing)
    pytest.skip(missing)


def make(prepared: PreparedModel, folder: Path, target: str = "host", rpc: str = "") -> Artifact:
    options = CompileOptions(backend="tvm-bundle", target=target, rpc=rpc)
    made = build(options, prepared, folder / "cache", log=folder / "log")
    assert isinstance(made, Artifact), made
    return made


@pytest.fixture(scope="session")
def native(prepared: PreparedModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    pytest.importorskip("elftools")
    missing = why_no_bundle(resolve("host"), look())
    if missing is not None:
        pytest.skip(missing)
    return make(prepared, tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="session")
def pi(prepared: PreparedModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    require_emulation(PI)
    return make(prepared, tmp_path_factory.mktemp("pi"), PI)
