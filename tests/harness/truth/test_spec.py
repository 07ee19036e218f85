"""The line that describes a truth server: what it means, and what is said about a wrong one."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.truth import spec
from harness.truth.discipline import Stall
from harness.truth.law import Bimodal, Constant, Exponential, Lognormal, Pareto
from harness.truth.spec import Kind, Truth, parse


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("constant:10ms", Truth(law=Constant(value_s=0.01))),
        (" exponential : 250us ; servers=1 ", Truth(law=Exponential(mean_s=0.00025), servers=1)),
        ("lognormal:.5s,sigma=0.5;servers=inf", Truth(law=Lognormal(median_s=0.5, sigma=0.5))),
        ("bimodal:4ms,50ms,p=0.01;seed=7", Truth(law=Bimodal(fast_s=0.004, slow_s=0.05, slow_share=0.01), seed=7)),
        ("pareto:5ms,alpha=2.5;servers=2;churn", Truth(law=Pareto(scale_s=0.005, alpha=2.5), servers=2, churn=True)),
        ("constant:1ms;stall=1s/10s", Truth(law=Constant(value_s=0.001), stall=Stall(length_s=1, period_s=10))),
        (
            "constant:1ms;errors=0.01:503;wrong=.5;errors=0.2:never",
            Truth(law=Constant(value_s=0.001), shares=((Kind.UNAVAILABLE, 0.01), (Kind.NEVER, 0.2), (Kind.WRONG, 0.5))),
        ),
    ],
)
def test_parse(text: str, truth: Truth) -> None:
    assert parse(text) == truth


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "constant:10ms"),
        ("gamma:10ms", "lognormal:10ms,sigma=0.5"),
        ("constant", "written like constant:10ms"),
        ("constant:10", '"10" is not a time'),
        ("constant:-1ms", '"-1ms" is not a time'),
        ("constant:0ms", '"0ms" is not a time'),
        ("constant:2h", '"2h" is not a time'),
        ("constant:4000s", "to 3600s"),
        ("constant:1ms,2ms", "written like constant:10ms"),
        ("lognormal:1ms", "written like lognormal"),
        ("lognormal:1ms,sigma=0", "sigma between 0 and 5"),
        ("lognormal:1ms,p=0.5", "needs sigma"),
        ("lognormal:1ms,sigma=nan", "needs sigma"),
        ("bimodal:50ms,4ms,p=0.1", "first time is the shorter"),
        ("bimodal:4ms,4ms,p=0.1", "first time is the shorter"),
        ("bimodal:4ms,5ms,p=1", "p between 0 and 1"),
        ("pareto:5ms,alpha=1", "alpha between 1 and 1000"),
        ("constant:1ms;servers=0", "servers=0: give 1 to 10000"),
        ("constant:1ms;servers=1.5", "servers=1.5"),
        ("constant:1ms;servers=²", "servers=²"),
        ("constant:1ms;stall=10s/1s", "shorter than the period"),
        ("constant:1ms;stall=1s", "written like 1s/10s"),
        ("constant:1ms;errors=0.1", "503|empty|truncated|reset|never|garbage"),
        ("constant:1ms;errors=0.1:good", "503|empty"),
        ("constant:1ms;errors=1.1:503", "above 0 and at most 1"),
        ("constant:1ms;errors=0.1:503;errors=0.2:503", "errors=...:503 is given twice"),
        ("constant:1ms;errors=0.6:503;wrong=0.6", "more than 1"),
        ("constant:1ms;wrong=0", "wrong=0"),
        ("constant:1ms;churn=1", '"churn=1"'),
        ("constant:1ms;seed", '"seed"'),
        ("constant:1ms;seed=-1", "0 or more"),
        ("constant:1ms;seed=1;seed=2", "seed is given twice"),
        ("constant:1ms;queue=3", "servers=N|inf, stall=1s/10s"),
        ("constant:1ms;", "did not understand"),
    ],
)
def test_what_is_wrong_is_named_with_what_may_stand_there(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_description_names_every_law_option_and_error() -> None:
    described = spec.__doc__ or ""
    assert "such as" in described or "for example" in described
    for word in ("constant", "exponential", "lognormal", "bimodal", "pareto", "servers", "stall", "wrong", "churn", "seed"):
        assert f"\n    {word}" in described
    for fault in spec.FAULTS:
        assert fault.value in described
