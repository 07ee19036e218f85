"""Models made of a few lines of numpy, for the server to serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from compilers.interface import Session
from harness.nouns import ModelSpec, TensorSpec

Tensors = Mapping[str, np.ndarray]


def spec_of(name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], batch_axis: int | None = 0) -> ModelSpec:
    return ModelSpec(
        name=name,
        digest="0",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        parameters=None,
        flops=None,
        weights="file",
        weights_note="made for a test",
        reference="numpy",
        batch_axis=batch_axis,
    )


AFFINE = spec_of(
    "affine",
    [TensorSpec(name="x", dtype="float32", shape=(2, 512))],
    [TensorSpec(name="y", dtype="float32", shape=(2, 512)), TensorSpec(name="total", dtype="float64", shape=(2,))],
)
SLOW = spec_of("slow", [TensorSpec(name="x", dtype="float32", shape=(1,))], [TensorSpec(name="y", dtype="float32", shape=(1,))])
NULL = spec_of("null", [TensorSpec(name="x", dtype="float32", shape=(1,))], [TensorSpec(name="y", dtype="float32", shape=(1,))])
IMAGE = spec_of(
    "image",
    [TensorSpec(name="x", dtype="float32", shape=(1, 3, 224, 224))],
    [TensorSpec(name="y", dtype="float32", shape=(1, 1000))],
)
MASKS = spec_of(
    "masks", [TensorSpec(name="x", dtype="float32", shape=(1,))], [TensorSpec(name="y", dtype="float32", shape=(1, 4_000_000))]
)
DTYPES = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
EVERY = spec_of(
    "every",
    [TensorSpec(name=dtype, dtype=dtype, shape=(2, 3)) for dtype in DTYPES],
    [TensorSpec(name=f"{dtype}_out", dtype=dtype, shape=(2, 3)) for dtype in DTYPES],
)


class Affine:
    """y = 2x + 1 and its row sums; a NaN in x makes it raise."""

    def run(self, inputs: Tensors) -> Sequence[np.ndarray]:
        x = inputs["x"]
        if np.isnan(x).any():
            raise RuntimeError("x holds NaN\nand this line must not reach the client")
        y = 2 * x + 1
        return [y, y.sum(axis=1, dtype=np.float64)]


class Slow:
    """Takes x[0] seconds and returns x."""

    def run(self, inputs: Tensors) -> Sequence[np.ndarray]:
        time.sleep(float(inputs["x"][0]))
        return [inputs["x"].copy()]


class Null:
    """Returns what it got: all the time a request takes is the server's."""

    def run(self, inputs: Tensors) -> Sequence[np.ndarray]:
        return [inputs["x"].copy()]


class Image:
    """The first thousand values: the transport of an image model without its work."""

    def run(self, inputs: Tensors) -> Sequence[np.ndarray]:
        return [inputs["x"].reshape(1, -1)[:, :1000].copy()]


class Masks:
    """The numbers from x[0] on: 16 MB, more than any socket takes at once."""

    def run(self, inputs: Tensors) -> Sequence[np.ndarray]:
        return [np.arange(4_000_000, dtype=np.float32)[None] + inputs["x"][0]]


class Every:
    """Returns what it got, one output per dtype."""

    def run(self, inputs: Tensors) -> Sequence[np.ndarray]:
        return [inputs[dtype].copy() for dtype in DTYPES]


MODELS: dict[str, tuple[ModelSpec, Callable[[], Session]]] = {
    "null": (NULL, Null),
    "affine": (AFFINE, Affine),
    "slow": (SLOW, Slow),
    "image": (IMAGE, Image),
    "masks": (MASKS, Masks),
    "every": (EVERY, Every),
}
