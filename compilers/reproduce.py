"""The child that looks for the smallest subgraph on which a compiler fails as it did: `python -m compilers.reproduce job.json`.

Every subgraph is compiled, loaded and run once in a child of its own, with limits on time and memory, for as many seconds as
the job gives. It leaves `reproducer.onnx` and `reproducer.json` beside the job, or neither when the failure did not come again.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from compilers import cache, onnx_checks, onnx_shapes, reduce, spec_io
from compilers.payloads import seeded
from harness.nouns import ModelSpec, TensorSpec
from harness.supervise import ExitReport, die_with_parent, run_bounded

MODEL, FACTS = "reproducer.onnx", "reproducer.json"
HANG_S = 15.0
"""A subgraph that has not compiled by then hangs, where the whole model did."""


def error_class(report: ExitReport, outcome: Any) -> str | None:
    """How a compile failed, without what changes from graph to graph (names, numbers); None when it did not."""
    if report.timed_out:
        return "timeout"
    if report.over_memory:
        return "memory"
    if report.returncode != 0 or not isinstance(outcome, dict):
        return f"signal {-report.returncode}" if report.returncode < 0 else f"exit {report.returncode}"
    if "failed" not in outcome:
        return None
    reason = re.sub(r"'[^']*'|\"[^\"]*\"|\([^()]*\)|[\w./-]*/[\w./-]*|0x\w+|\d+", "", outcome["reason"])
    return f"{outcome['failed']}: {' '.join(reason.split())[:80]}"


def main(argv: list[str]) -> int:
    die_with_parent()
    path = Path(argv[1])
    job: Any = cache.read_json(path)
    begun_s = time.monotonic()
    folder = Path(job["model"])
    model = onnx_shapes.infer(onnx_checks.parse((folder / spec_io.ONNX).read_bytes(), folder), folder)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        trial = _Trial(job, spec_io.read_spec(folder), Path(scratch))
        found = reduce.smallest(model, trial.fails, lambda: time.monotonic() - begun_s > job["seconds"])
    if found is None:
        return 0
    path.with_name(MODEL).write_bytes(found.model.SerializeToString())
    facts = {
        "operator": reduce.describe(found.model),
        "nodes": len(found.nodes),
        "of_nodes": len(model.graph.node),
        "trials": found.trials,
        "seconds": round(time.monotonic() - begun_s, 1),
        "complete": found.complete,
        "error": job["error"],
    }
    cache.write_json(path.with_name(FACTS), facts)
    return 0


class _Trial:
    """Whether a subgraph fails as the job says the whole did."""

    def __init__(self, job: Mapping[str, Any], spec: ModelSpec, scratch: Path) -> None:
        self._job, self._spec, self._scratch = job, spec, scratch

    def fails(self, part: Any) -> bool:
        folder = self._scratch / "model"
        _prepare(part, self._spec, folder)
        work = self._scratch / "work"
        (work / "artifact").mkdir(parents=True)
        limit_s = HANG_S if self._job["error"] == "timeout" else self._job["timeout_s"]
        job = {"options": self._job["options"], "model": str(folder), "timeout_s": limit_s, "trial": True}
        cache.write_json(work / "job.json", job)
        report = run_bounded(
            [sys.executable, "-m", "compilers.worker", str(work / "job.json")],
            log=work / "log",
            timeout_s=limit_s,
            memory_bytes=self._job["memory_bytes"],
        )
        failed = error_class(report, cache.read_json(work / "outcome.json"))
        shutil.rmtree(work)
        shutil.rmtree(folder)
        return failed is not None and failed == str(self._job["error"])


def _prepare(part: Any, spec: ModelSpec, folder: Path) -> None:
    """`part` as a prepared model: what a backend reads, with one seeded payload and no reference."""
    folder.mkdir()
    (folder / spec_io.ONNX).write_bytes(part.SerializeToString())
    inputs = onnx_shapes.input_specs(part)
    outputs = tuple(_tensor(value) for value in part.graph.output)
    spec_io.write_spec(folder, replace(spec, inputs=inputs, outputs=outputs, has_program=False))
    spec_io.write_payloads(folder, seeded(inputs, count=1, limits=onnx_shapes.index_limits(part)))


def _tensor(value: Any) -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return TensorSpec(name=value.name, dtype=dtype, shape=tuple(dim.dim_value for dim in tensor.shape.dim))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
