from __future__ import annotations

import pytest

from compilers import precision
from harness.errors import UsageError
from harness.nouns import Tolerance


def test_fp32_keeps_to_the_models_own_tolerance() -> None:
    own = Tolerance(max_rel=1e-5, top1_agreement=1.0)
    assert precision.bar(own, "fp32") == own


def test_fewer_bits_have_a_wider_bar_in_order() -> None:
    bars = [precision.bar(Tolerance(), name).max_rel for name in ("fp32", "fp16", "bf16", "int8")]
    assert bars == sorted(bars)
    assert len(set(bars)) == 4
    assert precision.bar(Tolerance(), "int8") == precision.bar(Tolerance(), "int8-dynamic")


def test_a_model_that_allows_more_keeps_its_tolerance() -> None:
    assert precision.bar(Tolerance(max_rel=0.5, top1_agreement=0.2), "int8") == Tolerance(max_rel=0.5, top1_agreement=0.2)


def test_names_are_checked_and_kept_once() -> None:
    assert precision.check(["int8", "fp32", "int8"]) == ("int8", "fp32")
    with pytest.raises(UsageError, match="did you mean int8"):
        precision.check(["int9"])
    with pytest.raises(UsageError, match="there are fp32, bf16"):
        precision.check(["nothing"])


def test_ids_name_the_precision_only_where_it_is_not_fp32() -> None:
    assert precision.label("ort", "fp32") == "ort"
    assert precision.label("ort", "int8-dynamic") == "ort-int8-dynamic"
