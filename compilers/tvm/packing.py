"""Weights laid out at compile time as the kernels read them, strictly in sequence. Pure numpy."""

from __future__ import annotations

import numpy as np

from compilers.tvm.tiles import round_up


def pack_conv(weight: np.ndarray, *, in_chunk: int, panel: int) -> np.ndarray:
    """[O, I, kh, kw] as [O/panel, I/in_chunk, kh, kw, in_chunk, panel]; `panel` output channels are one register tile."""
    out, inner, high, wide = weight.shape
    split = weight.reshape(out // panel, panel, inner // in_chunk, in_chunk, high, wide)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 5, 3, 1))


def pack_depthwise(weight: np.ndarray, *, chunk: int) -> np.ndarray:
    """[C, 1, kh, kw] as [C/chunk, kh, kw, chunk]."""
    channels, _, high, wide = weight.shape
    return np.ascontiguousarray(weight.reshape(channels // chunk, chunk, high, wide).transpose(0, 2, 3, 1))


def pack_dense(weight: np.ndarray, *, panel: int) -> np.ndarray:
    """[K, N] as [ceil(N/panel), K, panel], the last panel filled up with zeros."""
    depth, columns = weight.shape
    padded = np.zeros((depth, round_up(columns, panel)), weight.dtype)
    padded[:, :columns] = weight
    return np.ascontiguousarray(padded.reshape(depth, -1, panel).transpose(1, 0, 2))
