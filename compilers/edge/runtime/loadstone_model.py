"""Loads the bundle in this file's folder: `Model().run({"input": array})`. Needs Python 3.8 or later, and numpy only if given.

    python3 loadstone_model.py            what the model takes and gives
    python3 loadstone_model.py --check    run the payloads in check/ and compare with the reference outputs

A file that is not as it was written is refused with `Corrupt`, before any of its code runs.
"""

from __future__ import annotations

import array
import ctypes
import hashlib
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

ABI = 1
MANIFEST, LIBRARY = "bundle.json", "libmodel.so"
_CHUNK_BYTES = 1 << 20
_FORMATS = {
    "float64": "d", "float32": "f", "int64": "q", "int32": "i", "int16": "h", "int8": "b",
    "uint64": "Q", "uint32": "I", "uint16": "H", "uint8": "B", "bool": "?",
}  # fmt: skip
"""What memoryview calls the types; float16 has none and is given as bytes."""


class Corrupt(Exception):
    """A file of the bundle is missing or not as it was written."""


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_char_p),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("bytes", ctypes.c_size_t),
    )


class Tensor:
    """Name, dtype, shape and size of an input or output."""

    def __init__(self, raw: _Tensor) -> None:
        self.name = raw.name.decode()
        self.dtype = raw.dtype.decode()
        self.shape = tuple(raw.shape[at] for at in range(raw.rank))
        self.size_bytes = raw.bytes

    def __repr__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)}"


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of the bundle in `folder`; raises Corrupt when a file of it is missing or altered."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{folder / MANIFEST} is missing or damaged; copy the whole bundle again") from error
    for name, digest in files.items():
        if _digest(folder / name) != digest:
            raise Corrupt(f"{folder / name} is missing or altered; copy the whole bundle again")
    return dict(manifest)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()


class Model:
    """The bundle in `folder` on `threads` threads (0: every CPU this process may use). One call at a time."""

    def __init__(self, folder: str | Path | None = None, *, threads: int = 0, check_files: bool = True) -> None:
        self.folder = Path(folder) if folder is not None else Path(__file__).resolve().parent
        self.manifest = verify(self.folder) if check_files else {}
        self._library = _open_library(self.folder / LIBRARY)
        count_in, count_out = self._library.loadstone_inputs(), self._library.loadstone_outputs()
        self.inputs = [Tensor(self._library.loadstone_input(at).contents) for at in range(count_in)]
        self.outputs = [Tensor(self._library.loadstone_output(at).contents) for at in range(count_out)]
        self._model = self._library.loadstone_open(threads)
        if not self._model:
            raise RuntimeError(self._library.loadstone_error().decode())

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Outputs by name for inputs by name: numpy arrays, or anything with the buffer protocol of the right size."""
        unknown = set(inputs) - {tensor.name for tensor in self.inputs}
        if unknown:
            raise ValueError(f"the model has no input {sorted(unknown)[0]!r}; it takes {self.inputs}")
        kept = [_pointer(tensor, inputs) for tensor in self.inputs]
        rooms = [ctypes.create_string_buffer(max(tensor.size_bytes, 1)) for tensor in self.outputs]
        given = (ctypes.c_void_p * max(len(kept), 1))(*(pointer for pointer, _ in kept))
        taken = (ctypes.c_void_p * max(len(rooms), 1))(*(ctypes.addressof(room) for room in rooms))
        if self._model is None:
            raise RuntimeError("the model is closed")
        if self._library.loadstone_run(self._model, given, taken) != 0:
            raise RuntimeError(self._library.loadstone_error().decode())
        return {tensor.name: _result(tensor, room) for tensor, room in zip(self.outputs, rooms)}  # noqa: B905 - Python 3.8

    def close(self) -> None:
        if self._model is not None:
            self._library.loadstone_close(self._model)
            self._model = None

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _open_library(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    if library.loadstone_abi() != ABI:
        raise RuntimeError(f"{path} has interface {library.loadstone_abi()}, and this loader knows {ABI}")
    library.loadstone_error.restype = ctypes.c_char_p
    library.loadstone_open.restype = ctypes.c_void_p
    library.loadstone_tolerance.restype = ctypes.c_double
    library.loadstone_close.argtypes = (ctypes.c_void_p,)
    library.loadstone_run.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    library.loadstone_input.restype = library.loadstone_output.restype = ctypes.POINTER(_Tensor)
    return library


def _pointer(tensor: Tensor, inputs: dict[str, Any]) -> tuple[int, Any]:
    """The address of an input's bytes, and what keeps them alive."""
    if tensor.name not in inputs:
        raise ValueError(f"input {tensor.name!r} is missing")
    value = inputs[tensor.name]
    if numpy is not None:
        array_ = numpy.asarray(value, order="C")
        if str(array_.dtype) != tensor.dtype or array_.shape != tensor.shape:
            raise ValueError(f"input {tensor.name!r} is {array_.dtype}{list(array_.shape)}, the model takes {tensor}")
        return array_.ctypes.data, array_
    content = bytes(memoryview(value).cast("B"))
    if len(content) != tensor.size_bytes:
        raise ValueError(f"input {tensor.name!r} has {len(content)} bytes, the model takes {tensor.size_bytes} of {tensor}")
    kept = ctypes.create_string_buffer(content, max(len(content), 1))
    return ctypes.addressof(kept), kept


def _result(tensor: Tensor, room: Any) -> object:
    if numpy is not None:
        count = int(numpy.prod(tensor.shape, dtype="int64"))
        return numpy.frombuffer(room, dtype=tensor.dtype, count=count).reshape(tensor.shape)
    view = memoryview(room).cast("B")[: tensor.size_bytes]
    kind = _FORMATS.get(tensor.dtype)
    return view.cast(kind, list(tensor.shape)) if kind and tensor.shape and tensor.size_bytes else view


def _values(tensor: Tensor, content: bytes) -> Sequence[float]:
    """Flat numbers of a tensor's bytes."""
    if numpy is not None:
        flat: Sequence[float] = numpy.frombuffer(content, dtype=tensor.dtype).astype("float64").tolist()
        return flat
    kind = _FORMATS.get(tensor.dtype, "B")
    return array.array("B" if kind == "?" else kind, content)


def _error(tensor: Tensor, got: bytes, want: bytes) -> float:
    """The largest |got - want| over the largest |want|."""
    have, wanted = _values(tensor, got), _values(tensor, want)
    if not all(math.isfinite(value) for value in have):
        return math.inf
    error = max((abs(a - b) for a, b in zip(have, wanted)), default=0.0)  # noqa: B905 - Python 3.8
    scale = max((abs(value) for value in wanted), default=0.0)
    return error / scale if scale else error


def _check(model: Model) -> int:
    tolerance = model._library.loadstone_tolerance()
    payload, wrong = 0, 0
    while (model.folder / f"check/{payload}-input0.bin").exists():
        inputs = {}
        for at, tensor in enumerate(model.inputs):
            content = (model.folder / f"check/{payload}-input{at}.bin").read_bytes()
            shaped = numpy.frombuffer(content, dtype=tensor.dtype).reshape(tensor.shape) if numpy is not None else content
            inputs[tensor.name] = shaped
        got = model.run(inputs)
        for at, tensor in enumerate(model.outputs):
            want = (model.folder / f"check/{payload}-output{at}.bin").read_bytes()
            error = _error(tensor, bytes(memoryview(got[tensor.name]).cast("B")), want)
            wrong += not error <= tolerance
            print(f"payload {payload}, {tensor.name}: relative error {error:.3g}, {'ok' if error <= tolerance else 'WRONG'}")
        payload += 1
    return 1 if wrong or not payload else 0


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        model = Model()
    except (Corrupt, OSError, RuntimeError) as error:
        print(f"loadstone_model: {error}", file=sys.stderr)
        return 3
    with model:
        if arguments:
            return _check(model)
        for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
            for tensor in tensors:
                print(f"{kind} {tensor}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
