"""A bundle on a device that runs TVM's RPC server: sent there, run there, timed there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers.edge.bundle import LIBRARY
from compilers.interface import CannotRun
from harness.errors import UsageError
from harness.nouns import ModelSpec

_ADDRESS = re.compile(r"(?P<host>[^:\s]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_CONNECT_S = 30
_RUNS = 20


def address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; raises UsageError."""
    found = _ADDRESS.fullmatch(text)
    if found is None or not 1 <= int(found["port"]) <= 65535:
        raise UsageError(f"--rpc {text!r} is not HOST:PORT, such as raspberrypi.local:9090")
    return found["host"].strip("[]"), int(found["port"])


class Remote:
    """The library of a bundle on the device behind `where`, as HOST:PORT.

    Raises CannotRun when there is no server, or when the device does not load the library.
    """

    emulated = False

    def __init__(self, bundle: Path, model: ModelSpec, where: str) -> None:
        from tvm import rpc, runtime

        self.where = f"the device at {where}"
        host, port = address(where)
        try:
            session = rpc.connect(host, port, session_timeout=_CONNECT_S)
        except Exception as error:
            raise CannotRun(f"no RPC server answers at {where} (on the device: python -m tvm.exec.rpc_server)") from error
        try:
            session.upload(str(bundle / LIBRARY), target=f"{model.name}.so")
            self._module = session.load_module(f"{model.name}.so")
            self._main = self._module["main"]
        except Exception as error:
            raise CannotRun(f"the device at {where} does not load the library: {_last_line(error)}") from error
        self._session, self._device = session, session.cpu()
        self._model, self._tensor = model, runtime.tensor
        self._outputs = [self._room(spec.shape, spec.dtype) for spec in model.outputs]

    def _room(self, shape: Sequence[int], dtype: str) -> Any:
        return self._tensor(np.zeros(shape, dtype), device=self._device)

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        self._main(*self._given(inputs), *self._outputs)
        return [np.asarray(output.numpy(), order="C") for output in self._outputs]

    def _given(self, inputs: Mapping[str, np.ndarray]) -> list[Any]:
        arrays = (np.asarray(inputs[spec.name], order="C") for spec in self._model.inputs)
        return [self._tensor(array, device=self._device) for array in arrays]

    def latency_ms(self, inputs: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Of single inferences on all of the device's cores, timed by the device itself."""
        timer = self._module.time_evaluator("main", self._device, number=1, repeat=_RUNS)
        times = np.array(timer(*self._given(inputs), *self._outputs).results) * 1e3
        return {"p50": float(np.median(times)), "low": float(times.min()), "high": float(times.max()), "n": int(times.size)}

    def close(self) -> None:
        """Leave nothing on the device."""
        self._session.remove(f"{self._model.name}.so")


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
