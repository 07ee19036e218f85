"""The artifact on a GPU of this machine: checked and timed there. Where there is none it says so."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers.gpu import cubin
from compilers.interface import CannotRun
from harness.nouns import ModelSpec

_RUNS, _WARM = 20, 3
_ALONE = frozenset({53, 62, 72, 87})
"""Tegra's GPUs: code for them runs on no other of their generation, nor that of others on them."""


def capabilities() -> tuple[str, ...]:
    """The compute capabilities of this machine's GPUs, such as sm_90, as the driver tells; none without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    found = []
    for index in range(count.value):
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
        driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
        found.append(f"sm_{major.value}{minor.value}")
    return tuple(found)


def why_not_run(arch: str, here: Sequence[str]) -> str | None:
    """Why code for `arch` does not run on GPUs `here`; None when it does: machine code runs within its generation, upwards."""
    if not here:
        return f"no GPU here: it runs on an NVIDIA GPU of {arch}"
    if any(_runs(int(arch.removeprefix("sm_")), int(each.removeprefix("sm_"))) for each in here):
        return None
    return f"it runs on an NVIDIA GPU of {arch}, and here is {', '.join(dict.fromkeys(here))}"


def _runs(code: int, gpu: int) -> bool:
    return code == gpu or (code // 10 == gpu // 10 and code < gpu and not {code, gpu} & _ALONE)


class OnGpu:
    """A library that TVM exported, on the first GPU that can run it."""

    emulated = False

    def __init__(self, library: Path, machine_code: Path, model: ModelSpec) -> None:
        here, content = capabilities(), machine_code.read_bytes()
        arch = cubin.read(content).arch
        reason = why_not_run(arch, here)
        if reason is not None:
            raise CannotRun(reason)
        import tvm
        import tvm_ffi

        # The library holds CUDA source; what was compiled of it, and checked, is what runs.
        tvm_ffi.register_global_func("tvm_callback_cuda_compile", lambda _source: content, override=True)
        index = next(at for at, each in enumerate(here) if why_not_run(arch, [each]) is None)
        self._device = tvm.cuda(index)
        self._tensor = tvm.runtime.tensor
        machine = tvm.relax.VirtualMachine(tvm.runtime.load_module(str(library)), self._device)
        self._main = machine["main"]
        self._model = model
        self.where = f"GPU {index} ({here[index]})"

    def _given(self, inputs: Mapping[str, np.ndarray]) -> list[Any]:
        arrays = (np.asarray(inputs[spec.name], order="C") for spec in self._model.inputs)
        return [self._tensor(array, device=self._device) for array in arrays]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        result = self._main(*self._given(inputs))
        outputs = [result] if hasattr(result, "numpy") else list(result)
        return [np.asarray(output.numpy(), order="C") for output in outputs]

    def latency_ms(self, inputs: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Of single inferences with their input on the GPU already, until the GPU is done."""
        given, times = self._given(inputs), []
        for _ in range(_WARM + _RUNS):
            self._device.sync()
            started_ns = time.perf_counter_ns()
            self._main(*given)
            self._device.sync()
            times.append((time.perf_counter_ns() - started_ns) / 1e6)
        kept = np.array(times[_WARM:])
        return {"p50": float(np.median(kept)), "low": float(kept.min()), "high": float(kept.max()), "n": int(kept.size)}

    def close(self) -> None:
        """TVM lets go of the GPU's memory with the last reference."""
