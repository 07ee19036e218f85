"""The requests of one endpoint, ready before any load: Open Inference Protocol v2 with binary tensors, or files as they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import UsageError
from harness.serving.tensors import DATATYPE_OF

_MAX_FILES = 1024
_MAX_FILE_BYTES = 256 << 20
_OCTETS = "application/octet-stream"
_CONTENT_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
}


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


def raw_requests(path: str, given: Path, *, as_json: bool, content_type: str | None) -> RequestSet:
    """The file `given`, or every file of that folder, by name, to be sent as it is.

    The content type follows from the suffix unless given. Raises UsageError for files that cannot be sent so.
    """
    files = [given] if given.is_file() else sorted(each for each in given.glob("[!.]*") if each.is_file())
    if not files:
        raise UsageError(f"--payload {given}: no file, and no folder with files; each is sent as one request body")
    if len(files) > _MAX_FILES:
        raise UsageError(f"--payload {given}: {len(files)} files; allowed: 1 to {_MAX_FILES}")
    for each in files:
        size = each.stat().st_size
        if not 1 <= size <= _MAX_FILE_BYTES:
            raise UsageError(f"{each}: {size:,} bytes; allowed: 1 to {_MAX_FILE_BYTES:,}")
        if as_json:
            _require_json(each)
    types = {"application/json"} if as_json else {_CONTENT_TYPES.get(each.suffix.lower(), _OCTETS) for each in files}
    if content_type is None and len(types) > 1:
        raise UsageError(
            f"--payload {given}: files of several types ({', '.join(sorted(types))}); say which with --content-type"
        )
    return RequestSet(path=path, headers={"Content-Type": content_type or types.pop()}, bodies=tuple(files))


def _require_json(path: Path) -> None:
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON ({error}); --protocol bytes sends files as they are") from error
