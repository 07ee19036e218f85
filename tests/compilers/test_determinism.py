"""The same input, options and machine give the same artifact, byte for byte: compiled twice in two caches.

All but Inductor's, which says so in its details.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compilers import cache
from compilers.build import build
from compilers.intake import resolve
from harness.nouns import Artifact, CompileOptions

CASES = [
    ("ort", "fp32"),
    ("ort", "int8"),
    ("ort", "int8-dynamic"),
    ("openvino", "fp32"),
    ("openvino", "int8"),
    ("torch", "fp32"),
    ("null", "fp32"),
    pytest.param("tvm", "fp32", marks=pytest.mark.e2e),
]


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_two_compilations_have_one_digest(program: Path, tmp_path: Path, name: str, precision: str) -> None:
    model = resolve(str(program), tmp_path / "models", log=tmp_path / "log")
    made = [
        build(CompileOptions(backend=name, precision=precision), model, tmp_path / f"cache{at}", log=tmp_path / f"{at}.log")
        for at in range(2)
    ]
    manifests: list[Any] = [cache.read_json(one.path / cache.MANIFEST) for one in made if isinstance(one, Artifact)]
    first, second = manifests
    assert first["files"] == second["files"]
    assert first["digest"] == second["digest"]
