"""Programs of torch.export: loading, making plain, export to ONNX, and their eager outputs.

Runs in the intake child.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compilers.onnx_checks import first_line
from compilers.payloads import seeded
from harness.errors import UsageError
from harness.nouns import TensorSpec

OPSET = 18
MAX_IR_VERSION = 10
"""Newer files are not read by the runtimes' current releases."""


class Flat(torch.nn.Module):
    """Any exported program as a function of positional tensors with a tuple of tensors as its result."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.module = program.module()
        self._spec = program.call_spec.in_spec

    def forward(self, *tensors: torch.Tensor) -> tuple[Any, ...]:
        args, kwargs = torch.utils._pytree.tree_unflatten(list(tensors), self._spec)
        return tuple(torch.utils._pytree.tree_leaves(self.module(*args, **kwargs)))


def load_program(path: Path) -> torch.export.ExportedProgram:
    """A program from an archive that `pt2_checks.clean_copy` wrote; raises UsageError."""
    try:
        return torch.export.load(path)
    except Exception as error:
        raise UsageError(f"torch cannot load this program: {first_line(error)}") from error


def flat_inputs(program: torch.export.ExportedProgram) -> list[tuple[str, torch.dtype, tuple[int | None, ...]]]:
    """Name, dtype and shape (None for an open dimension) of each input; raises UsageError for other than tensors."""
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    inputs: list[tuple[str, torch.dtype, tuple[int | None, ...]]] = []
    for name in program.graph_signature.user_inputs:
        value = placeholders[name].meta.get("val") if isinstance(name, str) else None
        if not isinstance(value, torch.Tensor):
            raise UsageError(f"input {name!r} is not a tensor; export the program with tensors only")
        shape = tuple(int(size) if isinstance(size, int) else None for size in value.shape)
        inputs.append((str(name), value.dtype, shape))
    return inputs


def numpy_dtype(dtype: torch.dtype, name: str) -> str:
    """The numpy name of a torch dtype; raises UsageError for bfloat16 and the like."""
    try:
        found = torch.zeros(0, dtype=dtype).numpy().dtype
    except TypeError as error:
        raise UsageError(f"{name!r} holds {dtype}, which cannot be served") from error
    if found.kind not in "biuf":
        raise UsageError(f"{name!r} holds {dtype}, which cannot be served")
    return str(found.name)


def export(module: torch.nn.Module, inputs: Sequence[TensorSpec]) -> torch.export.ExportedProgram:
    """`module` exported at exactly the shapes of `inputs`."""
    example = tuple(torch.from_numpy(array) for array in seeded(inputs, count=1)[0].values())
    with torch.no_grad():
        return torch.export.export(module, example, strict=False)


def save(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write `program` to `path`, which ends in .pt2."""
    torch.export.save(program, path)


def to_onnx(program: torch.export.ExportedProgram, inputs: Sequence[str], outputs: Sequence[str] | None, path: Path) -> None:
    """Write `program` as one ONNX file; raises UsageError when it cannot be expressed."""
    with _single_message():
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=list(inputs),
                output_names=None if outputs is None else list(outputs),
                verbose=False,
            )
        except Exception as error:
            raise UsageError(f"the program cannot be exported to ONNX: {first_line(error)}") from error
    if exported is None:
        raise UsageError("the program cannot be exported to ONNX")
    exported.model.ir_version = min(exported.model.ir_version, MAX_IR_VERSION)
    exported.save(path, external_data=False)


@contextmanager
def _single_message() -> Iterator[None]:
    """Silence the exporter's notes on packages that it does not need."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        yield


def eager_outputs(
    call: Callable[..., Any], names: Sequence[str], payloads: Sequence[Mapping[str, np.ndarray]]
) -> list[list[np.ndarray]]:
    """fp32 eager outputs as `[payload][output]`."""
    results = []
    with torch.no_grad():
        for payload in payloads:
            result = call(*(torch.from_numpy(payload[name].copy()) for name in names))
            leaves = torch.utils._pytree.tree_leaves(result)
            results.append([np.asarray(leaf.numpy(), order="C") for leaf in leaves])
    return results
