"""A compiler that goes wrong on one operator, in the way that the environment says: found by name in our children too."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compilers import registry
from compilers.interface import CannotCompile
from harness.nouns import CompileOptions, ModelSpec

CULPRIT = "Exp"


class Bad:
    name = "bad"
    packages: tuple[str, ...] = ()
    extra = ""
    computes = True
    threads_matter = False
    reads_onnx = True

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        return None

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        import onnx

        (out / "half").write_bytes(b"x" * 1000)
        found = [node for node in onnx.load(folder / "model.onnx").graph.node if node.op_type == CULPRIT]
        if found:
            self._go_wrong(found[0].name)
        return {}

    def _go_wrong(self, node: str) -> None:
        match os.environ["BAD_BACKEND"]:
            case "refuse":
                raise CannotCompile(f"no rule for Exp in node '{node}' of graph 17")
            case "abort":
                sys.stderr.write("about to abort\n")
                sys.stderr.flush()
                os.abort()
            case "raise":
                raise ValueError(f"list index {len(node)} out of range")
            case "hang":
                time.sleep(600)
            case "memory":
                kept = bytearray(1 << 31)
                kept[:: 1 << 12] = b"x" * len(kept[:: 1 << 12])  # touched, so that it is really held
                time.sleep(600)

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> Any:
        class Session:
            def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
                return [np.zeros(spec.shape, spec.dtype) for spec in model.outputs]

        return Session()


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, how: str) -> None:
    """`bad` as a backend of this process and, by way of `sitecustomize`, of every child."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        textwrap.dedent(
            """
            import importlib.util
            if importlib.util.find_spec("compilers") is not None:
                from compilers import registry
                registry.BACKENDS["bad"] = "tests.compilers.bad_backend:Bad"
            """
        )
    )
    monkeypatch.setitem(registry.BACKENDS, "bad", "tests.compilers.bad_backend:Bad")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("BAD_BACKEND", how)
