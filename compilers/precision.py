"""The number formats a candidate may compute in, and how far each may be from the fp32 reference. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from harness.errors import UsageError
from harness.nouns import Tolerance

FP32, BF16, FP16, INT8, INT8_DYNAMIC = "fp32", "bf16", "fp16", "int8", "int8-dynamic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """`bar` is what a model in it must keep to; None for the model's own tolerance."""

    name: str
    words: str
    bar: Tolerance | None


_BYTES = Tolerance(max_rel=0.15, top1_agreement=0.9)
"""256 steps over each tensor's range, layer after layer: three of 32 payloads may change their top class."""

PRECISIONS: dict[str, Precision] = {
    each.name: each
    for each in (
        Precision(name=FP32, words="32-bit floats, as trained", bar=None),
        # A rounding error of 2^-9 for each product, 2^-12 in fp16, and a network that adds some of them up. Of 32 payloads one
        # whose two best classes lie closer together than that may change places.
        Precision(name=BF16, words="bfloat16 products, fp32 sums", bar=Tolerance(max_rel=0.05, top1_agreement=0.95)),
        Precision(name=FP16, words="16-bit floats", bar=Tolerance(max_rel=0.01, top1_agreement=0.95)),
        Precision(name=INT8, words="8-bit integers, ranges calibrated", bar=Tolerance(max_rel=0.15, top1_agreement=0.9)),
        Precision(
            name=INT8_DYNAMIC, words="8-bit weights, ranges per request", bar=Tolerance(max_rel=0.15, top1_agreement=0.9)
        ),
    )
}


def check(names: Iterable[str]) -> tuple[str, ...]:
    """`names` without repetitions; raises UsageError with the nearest names for one that there is not."""
    for name in names:
        if name not in PRECISIONS:
            near = difflib.get_close_matches(name, PRECISIONS, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(PRECISIONS)}"
            raise UsageError(f"unknown precision {name!r}: {hint}")
    return tuple(dict.fromkeys(names))


def bar(tolerance: Tolerance, precision: str) -> Tolerance:
    """What a model of `tolerance` must keep to in `precision`: the wider of the two."""
    own = PRECISIONS[precision].bar
    if own is None:
        return tolerance
    return Tolerance(
        max_rel=max(own.max_rel, tolerance.max_rel), top1_agreement=min(own.top1_agreement, tolerance.top1_agreement)
    )


def label(backend: str, precision: str) -> str:
    """How a backend in a precision is called in ids: `ort`, `ort-int8`."""
    return backend if precision == FP32 else f"{backend}-{precision}"
