"""One artifact for several batch sizes: a module per size, each with kernels cut for it, and a session that joins them.

A batch that no module has is computed as a sum of those that there are; with the one of size 1 every batch is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from compilers.interface import CannotCompile
from compilers.onnx_batch import chunks, rebatched, split
from compilers.spec_io import read_payloads, read_reference
from harness.errors import UsageError
from harness.nouns import ModelSpec

Run = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]


def file_of(size: int) -> str:
    return f"model-batch-{size}.so"


def sizes_in(artifact: Path) -> list[int]:
    """The batch sizes besides its first that an artifact was compiled for."""
    found = [re.fullmatch(r"model-batch-(\d+)\.so", path.name) for path in artifact.iterdir()]
    return sorted(int(match.group(1)) for match in found if match is not None)


def write_onnx(folder: Path, model: ModelSpec, size: int, to: Path) -> dict[str, tuple[int, ...]]:
    """model.onnx for a batch of `size`, written `to` a file; its input shapes. Raises CannotCompile with the reason."""
    if model.batch_axis != 0:
        raise CannotCompile(f"no batch of {size}: not every input and output of the model has a batch axis of size 1")
    source = folder / "model.onnx"
    try:
        onnx.save(rebatched(onnx.load(source), size, source), to)
    except UsageError as error:
        raise CannotCompile(f"no batch of {size}: {error}") from error
    return {spec.name: (size, *spec.shape[1:]) for spec in model.inputs}


def check(run: Run, folder: Path, model: ModelSpec, size: int) -> None:
    """Raises CannotCompile unless `run` gives a batch of payloads what each alone has as its reference."""
    payloads, reference = read_payloads(folder), read_reference(folder)
    picked = [at % len(payloads) for at in range(size)]
    batch = {spec.name: np.concatenate([payloads[at][spec.name] for at in picked]) for spec in model.inputs}
    for index, got in enumerate(run(batch)):
        want = np.concatenate([reference[at][index] for at in picked])
        largest = float(np.abs(want).max()) or 1.0
        error = float(np.abs(got.astype("float64") - want).max()) / largest if got.shape == want.shape else float("inf")
        if not error <= model.tolerance.max_rel:
            name = model.outputs[index].name
            raise CannotCompile(f"a batch of {size} does not give what {size} batches of 1 do: {name!r} is off by {error:.1e}")


def joined(runs: Mapping[int, Run], inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
    """The outputs for a batch of any size, in one call or in several; `runs` by batch size hold 1 or the size itself."""
    arrays = dict(inputs)
    batch = len(next(iter(arrays.values())))
    if batch in runs:
        return runs[batch](arrays)
    parts = chunks(batch, tuple(runs))
    done = [runs[size](part) for size, part in zip(parts, split(arrays, parts), strict=True)]
    return [np.concatenate(outputs) for outputs in zip(*done, strict=True)]
