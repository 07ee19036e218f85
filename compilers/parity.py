"""How far outputs are from the reference, and whether that is near enough. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.nouns import Parity, Tolerance

Outputs = Sequence[np.ndarray]


def mismatch(actual: Outputs, reference: Outputs) -> str | None:
    """Why one payload's outputs cannot be compared (count, shape, dtype, not finite), or None."""
    if len(actual) != len(reference):
        return f"{len(actual)} outputs instead of {len(reference)}"
    for index, (got, want) in enumerate(zip(actual, reference, strict=True)):
        if got.shape != want.shape:
            return f"output {index} has shape {list(got.shape)} instead of {list(want.shape)}"
        if got.dtype != want.dtype:
            return f"output {index} is {got.dtype} instead of {want.dtype}"
        if got.dtype.kind == "f" and not np.isfinite(got).all():
            return f"output {index} holds NaN or infinity"
    return None


def compare(actual: Sequence[Outputs], reference: Sequence[Outputs]) -> Parity | str:
    """The distance between `actual[payload][output]` and the reference, or why there is none.

    max_abs is the largest |actual - reference| over everything; max_rel the largest over the outputs of that output's
    max |actual - reference| / max |reference| (over all payloads, so that one small value does not decide);
    top1_agreement the share of rows of the first output whose argmax over the last axis agrees.
    """
    if len(actual) != len(reference) or not reference:
        return f"{len(actual)} results for {len(reference)} payloads"
    for index, (got, want) in enumerate(zip(actual, reference, strict=True)):
        if (reason := mismatch(got, want)) is not None:
            return f"payload {index}: {reason}"
    max_abs, max_rel = 0.0, 0.0
    for output in range(len(reference[0])):
        error, scale = _error_and_scale([(got[output], want[output]) for got, want in zip(actual, reference, strict=True)])
        max_abs = max(max_abs, error)
        # A reference of nothing but zeros leaves no scale; any error against it counts in full.
        max_rel = max(max_rel, error / scale if scale > 0 else error)
    agreement = _agreement([got[0] for got in actual], [want[0] for want in reference])
    return Parity(max_abs=max_abs, max_rel=max_rel, top1_agreement=agreement, payloads=len(reference))


def verdict(parity: Parity, tolerance: Tolerance) -> str | None:
    """Why `parity` is not good enough, with the figures; None when it is."""
    reasons = []
    if not parity.max_rel <= tolerance.max_rel:
        reasons.append(f"relative error {parity.max_rel:.2g} is above {tolerance.max_rel:.2g}")
    if not parity.top1_agreement >= tolerance.top1_agreement:
        reasons.append(f"top-1 agrees on {parity.top1_agreement:.1%}, fewer than {tolerance.top1_agreement:.1%}")
    return f"{' and '.join(reasons)}, over {parity.payloads} payloads" if reasons else None


def distinct_top1(outputs: Sequence[Outputs]) -> int:
    """How many different argmax rows the first output takes over the payloads; 1 makes top-1 agreement say nothing."""
    return len({_top1(result[0]).tobytes() for result in outputs})


def _error_and_scale(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    error, scale = 0.0, 0.0
    for got, want in pairs:
        if want.size:
            difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
            error = max(error, float(difference.max()))
            scale = max(scale, float(np.abs(want.astype(np.float64)).max()))
    return error, scale


def _top1(array: np.ndarray) -> np.ndarray:
    flat = array.reshape(1, 1) if array.ndim == 0 else array
    return np.argmax(flat, axis=-1) if flat.shape[-1] else np.zeros(0, np.int64)


def _agreement(actual: Outputs, reference: Outputs) -> float:
    agree, rows = 0, 0
    for got, want in zip(actual, reference, strict=True):
        same = np.atleast_1d(_top1(got) == _top1(want))
        agree, rows = agree + int(same.sum()), rows + same.size
    return agree / rows if rows else 1.0
