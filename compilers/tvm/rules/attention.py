"""Scaled dot-product attention, one head and a block of query rows at a time: their scores stay in the first-level cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import te, tirx

from compilers.tvm.cuts import AttentionCut, Cut
from compilers.tvm.rules.approx import exp_bounded
from compilers.tvm.rules.rows import LOWEST, across, partial
from compilers.tvm.tiles import round_up

SCORES, MIXED = "attention_scores", "attention_tile"
KEYS, VALUES = "attention_keys", "attention_values"
LOGITS, POWERS = "attention_logits", "attention_exp"
SCALED, OUT = "attention_scaled", "attention_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Sizes of an attention: `rows` queries meet `keys` keys, `depth` elements each, in `heads` heads."""

    batch: int
    heads: int
    rows: int
    keys: int
    depth: int

    @property
    def flops(self) -> int:
        return 4 * self.batch * self.heads * self.rows * self.keys * self.depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """How one attention is computed."""

    heads: Heads
    cut: AttentionCut
    scale: float
    nan_to_zero: bool
    """What a row without a finite score gives: zeros, or NaN."""
    lanes: int

    @property
    def panel(self) -> int:
        """Keys of one packed panel."""
        return self.cut.scores.vectors * self.lanes

    @property
    def columns(self) -> int:
        """Keys, rounded up to whole panels; the padding weighs nothing."""
        return round_up(self.heads.keys, self.panel)

    @property
    def rows(self) -> int:
        """Query rows, rounded up to whole blocks; the padding repeats the last one and is not stored."""
        return round_up(self.heads.rows, self.cut.block)


def attention(plan: Attention, query: Any, key: Any, value: Any, mask: Any = None) -> Any:
    """softmax(scale * Q K^T + mask) V of [batch, length, heads * depth] operands: [batch, rows, heads, depth].

    `mask` is [1 or batch, 1 or heads, 1 or rows, 1 or keys], or None.
    """
    logits = _logits(plan, query, key, mask)
    powers, inverse = _softmax(plan, logits)
    heads, deep = plan.heads, plan.heads.depth
    values = te.compute((heads.batch, heads.heads, heads.keys, deep), lambda b, h, j, d: value[b, j, h * deep + d], name=VALUES)
    j = te.reduce_axis((0, heads.keys), "j")
    notes = {**Cut(tile=plan.cut.mixed).attrs(plan.lanes, heads.flops // 2), "block": plan.cut.block}
    mixture = te.compute(
        (heads.batch, heads.heads, plan.rows, deep),
        lambda b, h, i, d: te.sum(powers[b, h, i, j] * values[b, h, j, d], axis=[j]),
        name=MIXED,
        attrs=notes,
    )
    # The weights are powers / sum: a row's result is divided once, not each of its weights.
    scaled = te.compute(mixture.shape, lambda b, h, i, d: inverse[b, h, i] * mixture[b, h, i, d], name=SCALED)
    return te.compute((heads.batch, heads.rows, heads.heads, deep), lambda b, i, h, d: scaled[b, h, i, d], name=OUT)


def _logits(plan: Attention, query: Any, key: Any, mask: Any) -> Any:
    """Scaled and masked scores [b, h, rows, columns]; the lowest number in the padding."""
    heads, deep, wide, columns = plan.heads, plan.heads.depth, plan.panel, plan.columns
    lowest, zero = tirx.const(LOWEST, "float32"), tirx.const(0.0, "float32")

    def packed(b: Any, h: Any, panel: Any, d: Any, v: Any) -> Any:
        j = panel * wide + v
        return tirx.if_then_else(j < heads.keys, key[b, j, h * deep + d], zero)

    def of_query(i: Any) -> Any:
        return i if plan.rows == heads.rows else tirx.min(i, heads.rows - 1)

    keys = te.compute((heads.batch, heads.heads, columns // wide, deep, wide), packed, name=KEYS)
    k = te.reduce_axis((0, deep), "k")

    def score(b: Any, h: Any, i: Any, j: Any) -> Any:
        return te.sum(query[b, of_query(i), h * deep + k] * keys[b, h, j // wide, k, j % wide], axis=[k])

    notes = Cut(tile=plan.cut.scores).attrs(plan.lanes, heads.flops // 2)
    products = te.compute((heads.batch, heads.heads, plan.rows, columns), score, name=SCORES, attrs=notes)

    def logit(b: Any, h: Any, i: Any, j: Any) -> Any:
        scaled = products[b, h, i, j] * tirx.const(plan.scale, "float32")
        if mask is not None:
            place = zip((b, h, of_query(i), j), mask.shape, strict=True)
            # if_then_else, not Select: the mask ends where the keys do.
            masked = scaled + mask[tuple(at if int(extent) > 1 else 0 for at, extent in place)]
            return masked if columns == heads.keys else tirx.if_then_else(j < heads.keys, masked, lowest)
        return scaled if columns == heads.keys else tirx.Select(j < heads.keys, scaled, lowest)

    return te.compute((heads.batch, heads.heads, plan.rows, columns), logit, name=LOGITS)


def _softmax(plan: Attention, logits: Any) -> tuple[Any, Any]:
    """exp(x - max) along the last axis, and what to multiply each row by to make them weights."""
    rows, columns = tuple(int(size) for size in logits.shape[:-1]), plan.columns
    maxima = partial(lambda *i: logits[i], rows, columns, plan.lanes, "attention_maxima", largest=True)
    top = across(maxima, "attention_max", largest=True)
    powers = te.compute((*rows, columns), lambda *i: exp_bounded(logits[i] - top[i[:-1]]), name=POWERS)
    sums = across(partial(lambda *i: powers[i], rows, columns, plan.lanes, "attention_sums"), "attention_sum")
    otherwise = tirx.const(0.0 if plan.nan_to_zero else float("nan"), "float32")

    def inverse(*i: Any) -> Any:
        seen = tirx.abs(top[i]) < tirx.const(-LOWEST, "float32")
        return tirx.Select(seen, tirx.const(1.0, "float32") / sums[i], otherwise)

    return powers, te.compute(rows, inverse, name="attention_inverse")
