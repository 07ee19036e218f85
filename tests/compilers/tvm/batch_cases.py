"""Artifacts for several batch sizes, and searches, by the real backend: `python -m tests.compilers.tvm.batch_cases`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from compilers import spec_io
from compilers.backend_tvm import Tvm
from compilers.interface import CannotCompile
from compilers.payloads import seeded
from harness.nouns import CompileOptions, ModelSpec, TensorSpec
from tests.compilers.tvm.cases import Graph, attention

BATCHES = (1, 3, 8)


def network() -> Graph:
    """A small CNN: convolutions of three kinds, a residual, a mean, and a classifier."""
    graph = Graph([1, 3, 33, 31])
    graph.add("Relu", graph.conv(3, 32, 3, strides=[2, 2], pads=[1, 1, 1, 1]))
    graph.add("Relu", graph.conv(32, 32, 3, groups=32, pads=[1, 1, 1, 1]))
    before = graph.conv(32, 64, 1)
    graph.add("Relu", graph.add("Add", graph.conv(64, 64, 3, pads=[1, 1, 1, 1]), before))
    graph.add("Reshape", graph.add("GlobalAveragePool", graph.last), graph.constant(np.array([1, 64])))
    graph.add("Gemm", graph.last, graph.weight(10, 64), graph.weight(10), transB=1)
    return graph


def prepared(graph: Graph, folder: Path) -> ModelSpec:
    """`graph` as a prepared folder of batch 1, without the child that reads untrusted files."""
    model = graph.model()
    onnx.save(model, folder / "model.onnx")
    inputs = (TensorSpec(name="x", dtype="float32", shape=tuple(graph.shape)),)
    payloads = seeded(inputs, count=5)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    reference = [list(session.run(None, payload)) for payload in payloads]
    spec_io.write_payloads(folder, payloads)
    spec_io.write_reference(folder, reference)
    out = TensorSpec(name=graph.last, dtype="float32", shape=reference[0][0].shape)
    return ModelSpec(
        name="case",
        digest="0",
        inputs=inputs,
        outputs=(out,),
        parameters=None,
        flops=None,
        weights="file",
        weights_note="",
        reference="ONNX Runtime",
    )


def errors(graph: Graph, batches: tuple[int, ...], folder: Path) -> dict[str, Any]:
    """How far each batch is from its items' own reference, by size, with code for `batches` besides 1."""
    (folder / "model").mkdir()
    (folder / "out").mkdir()
    model = prepared(graph, folder / "model")
    details = Tvm().compile(model, folder / "model", CompileOptions(backend="tvm", batches=batches), folder / "out")
    session = Tvm().load(folder / "out", model, 2)
    payloads, reference = spec_io.read_payloads(folder / "model"), spec_io.read_reference(folder / "model")
    found: dict[str, float] = {}
    for size in BATCHES:
        picked = [at % len(payloads) for at in range(size)]
        (got,) = session.run({"x": np.concatenate([payloads[at]["x"] for at in picked])})
        want = np.concatenate([reference[at][0] for at in picked])
        assert got.shape == want.shape
        found[str(size)] = float(np.abs(got - want).max() / np.abs(want).max())
    return {
        "errors": found,
        "files": sorted(path.name for path in (folder / "out").iterdir()),
        "rules": sorted(details["rules"]),
    }


def token() -> Graph:
    """Patches joined with a constant token, as vision transformers do; a reshape that names the batch follows."""
    graph = Graph([1, 4, 8])
    graph.add("Concat", graph.constant(np.arange(8, dtype="f").reshape(1, 1, 8)), "x", axis=1)
    graph.add("Relu", graph.add("Reshape", graph.last, graph.constant(np.array([1, 5, -1, 2]))))
    return graph


def gathered() -> Graph:
    """Rows picked from the only item by whole indices, as exporters write the broadcast of an attention mask."""
    graph = Graph([1, 6, 8])
    places = np.stack([np.zeros(4, dtype=np.int64), np.array([5, 0, 2, 2])], axis=-1).reshape(1, 2, 2, 2)
    graph.add("Relu", graph.add("GatherND", "x", graph.constant(places)))
    return graph


def fixed(folder: Path) -> str:
    """Why a model that adds a constant to its items as one more of them gets no code for batch 4."""
    graph = Graph([1, 4, 8])
    graph.add("Transpose", "x", perm=[1, 0, 2])
    graph.add("Concat", graph.last, graph.constant(np.ones((4, 1, 8), "f")), axis=1)
    graph.add("ReduceSum", graph.last, graph.constant(np.array([0, 1])), keepdims=1)
    try:
        errors(graph, (4,), folder)
    except CannotCompile as error:
        return str(error)
    return ""


def searched(folder: Path) -> dict[str, Any]:
    """Two compilations with the same record file: the first one searches, the second one has nothing left to search."""
    model = prepared(network(), folder)
    details = []
    for name, seconds in (("first", 6.0), ("second", 6.0), ("third", 0.0)):
        (folder / name).mkdir()
        options = CompileOptions(backend="tvm", search_s=seconds, records=str(folder / "records.jsonl"))
        details.append(Tvm().compile(model, folder, options, folder / name)["search"])
    return {"details": details, "lines": len((folder / "records.jsonl").read_text(encoding="utf-8").splitlines())}


def main() -> int:
    answer: dict[str, Any] = {}
    with TemporaryDirectory() as root:
        folders = [Path(root) / str(at) for at in range(7)]
        for folder in folders:
            folder.mkdir()
        answer["network"] = errors(network(), (4, 8), folders[0])
        answer["attention"] = errors(attention(1, 13, 2, 16, mask=None), (3,), folders[1])
        answer["alone"] = errors(network(), (), folders[2])
        answer["fixed"] = fixed(folders[3])
        answer["search"] = searched(folders[4])
        answer["token"] = errors(token(), (4,), folders[5])
        answer["gathered"] = errors(gathered(), (4,), folders[6])
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
