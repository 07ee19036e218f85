"""What the server says about itself and its model, as JSON-ready dictionaries in the shapes Triton's clients read. Pure."""

from __future__ import annotations

from typing import Any

from harness.serving.engine import Statistics, Tally
from harness.serving.protocol import VERSION, Codec
from harness.serving.tensors import Port

EXTENSIONS = ["binary_tensor_data", "model_configuration", "statistics"]


def server_metadata(release: str) -> dict[str, Any]:
    return {"name": "loadstone", "version": release, "extensions": EXTENSIONS}


def model_metadata(codec: Codec, backend: str) -> dict[str, Any]:
    return {
        "name": codec.name,
        "versions": [VERSION],
        "platform": f"loadstone_{backend}",
        "inputs": [_described(port) for port in codec.inputs],
        "outputs": [_described(port) for port in codec.outputs],
    }


def model_config(codec: Codec, backend: str, workers: int) -> dict[str, Any]:
    """max_batch_size 0 means that the dims are complete, the batch axis included."""
    return {
        "name": codec.name,
        "platform": f"loadstone_{backend}",
        "backend": backend,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": [
            {
                **_configured(port),
                "format": "FORMAT_NONE",
                "is_shape_tensor": False,
                "allow_ragged_batch": False,
                "optional": False,
            }
            for port in codec.inputs
        ],
        "output": [{**_configured(port), "label_filename": "", "is_shape_tensor": False} for port in codec.outputs],
        "instance_group": [{"name": codec.name, "kind": "KIND_CPU", "count": workers, "gpus": [], "passive": False}],
        "default_model_filename": "",
        "parameters": {},
        "model_warmup": [],
        "model_transaction_policy": {"decoupled": False},
    }


def repository_index(codec: Codec) -> list[dict[str, str]]:
    return [{"name": codec.name, "version": VERSION, "state": "READY", "reason": ""}]


def model_statistics(codec: Codec, statistics: Statistics) -> dict[str, Any]:
    """Counts and cumulative ns since start; compute_input and compute_output are decoding and encoding."""
    durations = {
        "success": statistics.success,
        "fail": statistics.fail,
        "queue": statistics.queue,
        "compute_input": statistics.decode,
        "compute_infer": statistics.compute,
        "compute_output": statistics.encode,
        "cache_hit": Tally(),
        "cache_miss": Tally(),
    }
    model = {
        "name": codec.name,
        "version": VERSION,
        "last_inference": statistics.last_inference_ms,
        "inference_count": statistics.compute.count,
        "execution_count": statistics.compute.count,
        "inference_stats": {name: {"count": tally.count, "ns": tally.ns} for name, tally in durations.items()},
        "batch_stats": [],
        "memory_usage": [],
        "rejected_count": statistics.rejected,
        "dropped_count": statistics.dropped,
    }
    return {"model_stats": [model]}


def _described(port: Port) -> dict[str, Any]:
    return {"name": port.name, "datatype": port.datatype, "shape": port.shape_list}


def _configured(port: Port) -> dict[str, Any]:
    return {"name": port.name, "data_type": f"TYPE_{port.datatype}", "dims": port.shape_list}
