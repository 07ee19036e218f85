"""Winograd's filtering for 3x3 kernels of stride 1 (Lavin and Gray, arXiv:1509.09308): matrices and weights. Pure numpy.

Y = A^T [ (G w G^T) * (B^T d B) ] A on tiles of m x m outputs: 16/36 of the multiplications for m = 2, 36/144 for m = 4.
"""

from __future__ import annotations

import numpy as np

_POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 1.0, -1.0, 2.0, -2.0)}
"""Where the polynomials are evaluated, besides infinity; small integers keep the rounding errors small."""


def matrices(m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A [m+2, m], B [m+2, m+2] and G [m+2, 3] of F(m, 3) in float64, for m = 2 or 4.

    Cook-Toom by its transposition: A and G evaluate polynomials at the points; B interpolates, so it is the inverse
    transpose of the evaluation of a product, which makes the identity exact.
    """
    points = np.array(_POINTS[m])
    size = m + 2
    evaluate = np.zeros((size, size))
    evaluate[:-1] = np.vander(points, size, increasing=True)
    evaluate[-1, -1] = 1
    # Row i of the interpolation is the Lagrange polynomial of point i; its scale may sit in G or in B.
    scale = np.array([np.prod([p - q for q in points if q != p]) for p in points] + [1.0])
    a = evaluate[:, :m].copy()
    a[-1] = 0
    a[-1, m - 1] = 1
    g = evaluate[:, :3] / scale[:, None]
    g[-1] = (0, 0, 1)
    b = np.linalg.inv(evaluate) * scale[None, :]
    return a, np.round(b, 12), g


def transform_weight(weight: np.ndarray, m: int, *, in_chunk: int, panel: int) -> np.ndarray:
    """[O, I, 3, 3] as [m+2, m+2, O/panel, I/in_chunk, in_chunk, panel] in float32, computed in float64."""
    _, _, g = matrices(m)
    size, (out, inner) = m + 2, weight.shape[:2]
    spread = np.einsum("ea,oiab,fb->efoi", g, weight.astype(np.float64), g, optimize=True).astype(np.float32)
    split = spread.reshape(size, size, out // panel, panel, inner // in_chunk, in_chunk)
    return np.ascontiguousarray(split.transpose(0, 1, 2, 4, 5, 3))
