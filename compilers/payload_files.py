"""Payloads given by the user: a folder of .npz, .npy or Open Inference Protocol v2 request .json files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers.spec_io import read_npz
from harness.errors import UsageError
from harness.nouns import TensorSpec

_SUFFIXES = {".npz", ".npy", ".json"}
_MAX_FILE_BYTES = 256 << 20
_MAX_FILES = 1024
_OIP_DTYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip


def payload_paths(folder: Path) -> list[Path]:
    """The payload files of `folder` (or that one file), by name; raises UsageError when there are none or too much of them."""
    if not folder.is_dir() and not folder.is_file():
        raise UsageError(f"--payload {folder}: not a folder; give one with .npz, .npy or .json files")
    paths = sorted(path for path in _files(folder) if path.suffix in _SUFFIXES)
    if not paths:
        raise UsageError(f"--payload {folder}: holds no .npz, .npy or .json file")
    if len(paths) > _MAX_FILES:
        raise UsageError(f"--payload {folder}: {len(paths)} files, more than {_MAX_FILES}")
    for path in paths:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise UsageError(f"{path}: larger than {_MAX_FILE_BYTES >> 20} MiB")
    return paths


def _files(given: Path) -> list[Path]:
    return [path for path in given.iterdir() if path.is_file()] if given.is_dir() else [given]


def load(folder: Path, inputs: Sequence[TensorSpec]) -> list[dict[str, np.ndarray]]:
    """One payload per file, each {input name: array}, checked against `inputs`; raises UsageError naming file and fault."""
    payloads = []
    for path in payload_paths(folder):
        try:
            arrays = _read(path, inputs)
        except (ValueError, KeyError, TypeError, OSError, EOFError, OverflowError, zipfile.BadZipFile) as error:
            raise UsageError(f"{path}: cannot be read as a payload: {_line(error)}") from error
        payloads.append(_checked(path, arrays, inputs))
    return payloads


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _read(path: Path, inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    if path.suffix == ".npz":
        _refuse_bomb(path)
        return read_npz(path)
    if path.suffix == ".npy":
        if len(inputs) != 1:
            raise ValueError(f"an .npy holds one array and the model takes {len(inputs)}; use .npz")
        return {inputs[0].name: np.load(path, allow_pickle=False)}
    request = json.loads(path.read_text(encoding="utf-8"))
    return dict(_oip_tensor(tensor) for tensor in request["inputs"])


def _refuse_bomb(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_FILE_BYTES:
            raise ValueError(f"more than {_MAX_FILE_BYTES >> 20} MiB when unpacked")


def _oip_tensor(tensor: Mapping[str, Any]) -> tuple[str, np.ndarray]:
    """One tensor of a request: {"name", "datatype", "shape", "data"}, data nested or flat in row-major order."""
    datatype = tensor["datatype"]
    if datatype not in _OIP_DTYPES:
        raise ValueError(f"input {tensor['name']!r} has datatype {datatype!r}, not one of {', '.join(_OIP_DTYPES)}")
    return str(tensor["name"]), np.array(tensor["data"], dtype=_OIP_DTYPES[datatype]).reshape(tensor["shape"])


def _checked(path: Path, arrays: Mapping[str, np.ndarray], inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    wanted = {spec.name for spec in inputs}
    if arrays.keys() != wanted:
        raise UsageError(f"{path}: has inputs {_names(arrays.keys())}, the model takes {_names(wanted)}")
    for spec in inputs:
        array = arrays[spec.name]
        if array.dtype != np.dtype(spec.dtype) or array.shape != spec.shape:
            got, want = f"{array.dtype}{list(array.shape)}", f"{spec.dtype}{list(spec.shape)}"
            raise UsageError(f"{path}: input {spec.name!r} is {got}, the model takes {want}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UsageError(f"{path}: input {spec.name!r} holds NaN or infinity")
    return {spec.name: np.asarray(arrays[spec.name], order="C") for spec in inputs}


def _names(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
