"""The requests of one model, serialised once, before any load: Open Inference Protocol v2 with binary tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.serving.tensors import DATATYPE_OF


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSet:
    """What to send: one body file per payload, all under the same headers and path."""

    path: str
    headers: dict[str, str]
    bodies: tuple[Path, ...]


def encode(payload: Mapping[str, np.ndarray]) -> tuple[int, bytes]:
    """The length of the JSON header, and the whole body: the header, then each tensor's little-endian bytes."""
    tensors = {name: np.ascontiguousarray(value) for name, value in payload.items()}
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "shape": list(value.shape),
                    "datatype": DATATYPE_OF[value.dtype],
                    "parameters": {"binary_data_size": value.nbytes},
                }
                for name, value in tensors.items()
            ],
            "parameters": {"binary_data_output": True},
        },
        separators=(",", ":"),
    ).encode()
    return len(header), header + b"".join(value.tobytes() for value in tensors.values())


def write_requests(model: str, payloads: Sequence[Mapping[str, np.ndarray]], folder: Path) -> RequestSet:
    """Serialise `payloads` (same names, dtypes and shapes each) into `folder`, one file per distinct content."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths, files = set(), []
    for payload in payloads:
        header_length, body = encode(payload)
        path = folder / f"{hashlib.sha256(body).hexdigest()[:16]}.bin"
        if not path.exists():
            path.write_bytes(body)
        lengths.add(header_length)
        files.append(path)
    if len(lengths) != 1:
        raise ValueError("payloads of one model must share names, dtypes and shapes")
    return RequestSet(
        path=f"/v2/models/{model}/infer",
        headers={"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(lengths.pop())},
        bodies=tuple(files),
    )
