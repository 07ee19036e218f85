"""Seeded, varied request payloads for any set of inputs. Pure.

Numbers that are all alike make every model look right and every runtime look alike, so floats carry a random mean, contrast
and low-frequency structure with a little noise on top, token ids cover the vocabulary, and attention masks vary in length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.nouns import TensorSpec

PAYLOADS = 32
"""How many payloads parity is judged on."""

_GRID = 5  # control points per axis of the low-frequency field
_MASKS = ("attention_mask", "mask")


def seeded(
    inputs: Sequence[TensorSpec], *, count: int = PAYLOADS, seed: int = 0, limits: Mapping[str, int] | None = None
) -> list[dict[str, np.ndarray]]:
    """`count` payloads, each {input name: array of the spec's dtype and shape}; the same for the same arguments.

    `limits` gives an exclusive upper bound for integer inputs, such as the rows of the table they index; without one an
    integer input is 0 or 1, which is safe for any index.
    """
    bounds = limits or {}
    return [_payload(inputs, np.random.default_rng([seed, index]), bounds) for index in range(count)]


def _payload(inputs: Sequence[TensorSpec], rng: np.random.Generator, limits: Mapping[str, int]) -> dict[str, np.ndarray]:
    return {spec.name: _tensor(spec, rng, limits.get(spec.name, 2)) for spec in inputs}


def _tensor(spec: TensorSpec, rng: np.random.Generator, limit: int) -> np.ndarray:
    dtype = np.dtype(spec.dtype)
    if spec.name.split(".")[-1].endswith(_MASKS) and dtype.kind in "iub" and spec.shape:
        return _prefix_mask(spec.shape, rng).astype(dtype)
    if dtype.kind == "b":
        return rng.random(spec.shape) < rng.uniform(0.2, 0.8)
    if dtype.kind in "iu":
        top = min(max(limit, 1), int(np.iinfo(dtype).max))
        return rng.integers(0, top, spec.shape).astype(dtype)
    return _field(spec.shape, rng).astype(dtype)


def _prefix_mask(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Ones up to a random length of at least an eighth of the last axis, then zeros."""
    length = int(rng.integers(max(1, shape[-1] // 8), shape[-1] + 1)) if shape[-1] else 0
    return np.broadcast_to(np.arange(shape[-1]) < length, shape)


def _field(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """About N(0, 1)-sized values: mean, contrast, a smooth random field over the last two axes, noise."""
    smooth = rng.standard_normal((*shape[:-2], *(min(_GRID, size) for size in shape[-2:])))
    for axis in range(max(0, len(shape) - 2), len(shape)):
        smooth = _stretch(smooth, axis, shape[axis])
    noise = rng.standard_normal(shape)
    return rng.uniform(-0.7, 0.7) + rng.uniform(0.4, 1.5) * smooth + rng.uniform(0.05, 0.4) * noise


def _stretch(array: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Linear interpolation of `axis` to `size` points."""
    have = array.shape[axis]
    if have == size or have < 2:
        return array
    at = np.linspace(0, have - 1, size)
    low = np.minimum(at.astype(int), have - 2)
    shape = [1] * array.ndim
    shape[axis] = size
    weight = (at - low).reshape(shape)
    stretched: np.ndarray = np.take(array, low, axis) * (1 - weight) + np.take(array, low + 1, axis) * weight
    return stretched
