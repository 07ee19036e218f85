"""What a model file should compute: ONNX Runtime with every graph optimisation off. Runs in the intake child."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from compilers import canonical
from compilers.onnx_checks import CONTRIB_DOMAIN, first_line
from harness.errors import UsageError


def contrib_operators() -> set[str]:
    """The operators that ONNX Runtime adds to the standard."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return {schema.name for schema in state.get_all_operator_schema() if schema.domain == CONTRIB_DOMAIN}


def unoptimised_outputs(
    model: Path, payloads: Sequence[Mapping[str, np.ndarray]], threads: int
) -> tuple[list[str], list[list[np.ndarray]]]:
    """Output names, and outputs as `[payload][output]`; raises UsageError when the model does not run."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return names, [session.run(names, dict(payload)) for payload in payloads]
    except Exception as error:
        raise UsageError(f"the model does not run in ONNX Runtime: {first_line(error)}") from error


def fold_constants(model: bytes, out: Path) -> None:
    """Write to `out` the model with whatever is constant computed, such as sizes read off shapes that are now static.

    Raises UsageError when the model does not run.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 3
    try:
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UsageError(f"the model does not run in ONNX Runtime: {first_line(error)}") from error
    canonical.rewrite(out)
