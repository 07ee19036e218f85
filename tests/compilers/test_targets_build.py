"""Targets where artifacts are made: the key, and what each backend says to one that is not this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from compilers import build as builds
from compilers import cache
from compilers.build import build
from compilers.registry import DEFAULT_BACKENDS, backend
from compilers.spec_io import PreparedModel
from compilers.targets import resolve
from harness.errors import UsageError
from harness.nouns import CompileOptions, Skipped


def key(model: PreparedModel, target: str, target_options: str = "") -> str:
    options = CompileOptions(backend="tvm", target=target, target_options=target_options)
    return cache.content_key(builds._key(backend("tvm"), options, model, {}))


def test_the_key_holds_the_hardware_and_not_its_name(prepared: PreparedModel) -> None:
    assert key(prepared, "zen3") == key(prepared, "znver3") == key(prepared, "linux-x86_64", '{"mcpu": "znver3"}')
    assert key(prepared, "rasp4b") == key(prepared, "rasp4b64")
    assert key(prepared, "ml_c5") == key(prepared, "skylake-avx512")
    several = {
        key(prepared, target, options)
        for target, options in (
            ("host", ""),
            ("host", '{"num-cores": 1000}'),
            ("zen5", ""),
            ("rasp4b", ""),
            ("rasp4b32", ""),
            ("rasp4b", '{"mattr": ["+crypto"]}'),
            ("sm_80", ""),
            ("sm_90", ""),
        )
    }
    assert len(several) == 8


def test_a_backend_that_cannot_build_for_a_target_is_skipped_with_why(prepared: PreparedModel, tmp_path: Path) -> None:
    for name in DEFAULT_BACKENDS:
        options = CompileOptions(backend=name, target="sm_90")
        made = build(options, prepared, tmp_path / "cache", log=tmp_path / "log")
        assert isinstance(made, Skipped)
        assert "\n" not in made.reason
        if name != "tvm" and not made.reason.startswith("needs the torch program"):
            assert made.reason == f"{name} compiles for this host only, not for target sm_90"
    assert not (tmp_path / "cache").exists(), "nothing may be begun"


def test_a_target_that_does_not_exist_is_a_usage_error(prepared: PreparedModel, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown target 'zen33'"):
        build(CompileOptions(backend="tvm", target="zen33"), prepared, tmp_path / "cache", log=tmp_path / "log")


def test_a_missing_architecture_is_said_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from compilers import interface

    monkeypatch.setattr(interface, "detect", lambda: resolve("graviton3"))
    reason = interface.must_run_here(CompileOptions(backend="tvm", target="zen3"))
    assert reason is not None
    assert "this machine is linux arm64" in reason
