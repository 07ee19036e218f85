"""A bundle in use: in this process through its own loader, or through its runner in a child, which an emulator may run."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from compilers.cache import read_json
from compilers.edge.bundle import MANIFEST, RUNNER
from compilers.edge.runtime import loadstone_model
from compilers.edge.toolchain import Runner
from compilers.interface import CannotRun
from compilers.targets import Target
from harness.nouns import ModelSpec, TensorSpec

_ANSWER_S = 900.0
"""How long an emulator may take for one inference."""


class Loaded:
    """A bundle for this machine, in this process."""

    emulated = False
    where = "this machine"

    def __init__(self, bundle: Path, model: ModelSpec, threads: int) -> None:
        self._model = loadstone_model.Model(bundle, threads=threads)
        self._outputs = [spec.name for spec in model.outputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        made = self._model.run(dict(inputs))
        return [made[name] for name in self._outputs]

    def close(self) -> None:
        self._model.close()


class Piped:
    """A bundle's runner as a child that reads inputs and writes outputs until its input ends."""

    def __init__(self, bundle: Path, model: ModelSpec, threads: int, runner: Runner) -> None:
        self.emulated = runner.emulated
        self.where = runner.name
        self._inputs, self._outputs = model.inputs, model.outputs
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the child
        command = [*runner.prefix, str(bundle / RUNNER), "--threads", str(threads), "--stream"]
        try:
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0
            )
        except OSError as error:
            raise CannotRun(f"{command[0]} does not start: {error.strerror or error}") from error

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        timer = threading.Timer(_ANSWER_S, self._child.kill)
        timer.start()
        try:
            return self._exchange([np.asarray(inputs[spec.name], order="C").tobytes() for spec in self._inputs])
        except OSError as error:
            raise RuntimeError(self._how_it_ended()) from error
        finally:
            timer.cancel()

    def _exchange(self, contents: Sequence[bytes]) -> list[np.ndarray]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        # The runner reads every input before it writes, so that neither side waits for the other.
        for content in contents:
            view = memoryview(content)
            while view:
                view = view[self._child.stdin.write(view) or 0 :]
        return [self._read(self._child.stdout, spec) for spec in self._outputs]

    def _read(self, stream: IO[bytes], spec: TensorSpec) -> np.ndarray:
        content = bytearray(int(np.prod(spec.shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize)
        view = memoryview(content)
        while view:
            chunk = stream.read(len(view))
            if not chunk:
                raise RuntimeError(self._how_it_ended())
            view[: len(chunk)] = chunk
            view = view[len(chunk) :]
        return np.frombuffer(content, spec.dtype).reshape(spec.shape)

    def _how_it_ended(self) -> str:
        self._child.kill()
        code = self._child.wait()
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return f"the bundle's runner ended with {code} under {self.where}: {said[-1] if said else 'no message'}"

    def close(self) -> None:
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        self._child.wait()
        self._errors.close()


def target_of(bundle: Path) -> Target:
    """The target in a bundle's manifest; raises CannotRun when there is none."""
    manifest: Any = read_json(bundle / MANIFEST)
    try:
        facts = manifest["target"]
        lists = {name: tuple(facts[name]) for name in ("mattr", "precisions")}
        return Target(**{**facts, **lists, "options": tuple((name, value) for name, value in facts["options"])})
    except (KeyError, TypeError, ValueError) as error:
        raise CannotRun(f"{bundle} is not a bundle: {MANIFEST} is missing or damaged; compile it again") from error
