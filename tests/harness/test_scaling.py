"""The scaling target and the numbers behind it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import scaling
from harness.nouns import Estimate

CAPACITY = Estimate(value=50.0, low=40.0, high=60.0)
NULL_KEYS = (
    "target_value",
    "safety_factor",
    "min_capacity",
    "max_capacity",
    "scale_in_cooldown_s",
    "scale_out_cooldown_s",
    "policies",
)


def test_safety_factor_of_known_cases() -> None:
    assert scaling.safety_factor(0.1, 360) == pytest.approx(0.625)
    assert scaling.safety_factor(1.0, 60) == 0.5
    assert scaling.safety_factor(0.0, 360) == 1.0
    with pytest.raises(ValueError, match="not negative"):
        scaling.safety_factor(-0.1, 10)


def test_every_number_of_a_suggestion_by_hand() -> None:
    got = scaling.suggest(CAPACITY, 14.0, 0.1, 100.0, first_inference_s=1.0, endpoint="shop", variant="blue")
    # 60 metric + 180 alarm + 105 provisioning + 14 start + 1 first = 360 s, so 1 / 1.6; 40/s × 0.625 × 60 = 1500 a minute.
    assert got.safety_factor == pytest.approx(0.625)
    assert got.target_value == 1500
    assert (got.min_capacity, got.max_capacity) == (2, math.ceil(6000 / 1500) + 1)
    assert (got.scale_in_cooldown_s, got.scale_out_cooldown_s) == (300, 120)
    assert got.reason is None
    assert got.basis["reaction_s"]["value"] == 360
    assert got.basis["peak_per_s"] == {"value": 100.0, "unit": "1/s", "source": "given"}


def test_json_has_exactly_the_keys_of_the_result() -> None:
    value = scaling.suggest(CAPACITY, 14.0).to_json()
    assert set(value) == {"metric", "basis", *NULL_KEYS}
    assert json.loads(json.dumps(value)) == value
    for entry in value["basis"].values():
        assert set(entry) == {"value", "unit", "source"}
        assert entry["source"]


def test_policies_are_what_application_auto_scaling_takes() -> None:
    policies = scaling.suggest(CAPACITY, 14.0, 0.1, 100.0, endpoint="shop", variant="blue").policies
    assert policies is not None
    policy, target = policies["put_scaling_policy"], policies["register_scalable_target"]
    for call in (policy, target):
        assert call["ServiceNamespace"] == "sagemaker"
        assert call["ResourceId"] == "endpoint/shop/variant/blue"
        assert call["ScalableDimension"] == "sagemaker:variant:DesiredInstanceCount"
    assert policy["PolicyType"] == "TargetTrackingScaling"
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["PredefinedMetricSpecification"] == {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    assert tracking["TargetValue"] > 0
    assert target["MinCapacity"] <= target["MaxCapacity"]


def test_defaults_are_stated_as_assumptions() -> None:
    got = scaling.suggest(CAPACITY, 14.0)
    for name in ("growth_per_min", "peak_per_s", "provisioning_s", "base_per_s"):
        assert got.basis[name]["source"].startswith("assumption"), name
    assert got.basis["first_inference_s"]["value"] is None
    assert got.max_capacity == scaling.DEFAULT_PEAK_INSTANCES + 1


@pytest.mark.parametrize(
    ("capacity", "start_s", "reason"),
    [
        (Estimate(value=None, low=0.0, high=2.0, reason="no tested rate met p99<5ms"), 10.0, "no tested rate met p99<5ms"),
        (Estimate(value=5.0, low=None, high=None), 10.0, "no lower bound"),
        (Estimate(value=5.0, low=0.0, high=9.0), 10.0, "no lower bound"),
        (CAPACITY, None, "start-up time of the server was not measured"),
    ],
)
def test_what_is_missing_gives_nulls_with_the_reason(capacity: Estimate, start_s: float | None, reason: str) -> None:
    got = scaling.suggest(capacity, start_s)
    assert got.reason is not None
    assert reason in got.reason
    value = got.to_json()
    assert all(value[key] is None for key in NULL_KEYS)
    assert value["basis"]["target_value"]["source"] == got.reason


def test_impossible_loads_are_refused() -> None:
    with pytest.raises(ValueError, match="0 <= base <= peak"):
        scaling.suggest(CAPACITY, 1.0, 0.1, 5.0, base_per_s=10.0)


@given(st.floats(1, 1e4), st.floats(1, 2), st.floats(0.1, 600), st.floats(0, 3), st.floats(0, 1e5), st.integers(0, 3))
def test_a_suggestion_keeps_its_promise(
    low: float, spread: float, start_s: float, growth: float, peak: float, spare: int
) -> None:
    capacity = Estimate(value=low * spread, low=low, high=low * spread**2)
    got = scaling.suggest(capacity, start_s, growth, peak, spare_instances=spare)
    if got.target_value is None:
        assert low * 60 * scaling.safety_factor(growth, 345 + start_s) < 1
        return
    assert got.min_capacity is not None
    assert got.max_capacity is not None
    reaction_min = got.basis["reaction_s"]["value"] / 60
    assert got.target_value * (1 + growth * reaction_min) <= low * 60 * (1 + 1e-9)
    assert (got.max_capacity - spare) * got.target_value >= peak * 60 * (1 - 1e-6)
    assert 1 <= got.min_capacity <= got.max_capacity


@given(st.floats(0.01, 2), st.floats(1, 500))
def test_slower_start_or_faster_growth_never_raises_the_target(growth: float, start_s: float) -> None:
    target = scaling.suggest(CAPACITY, start_s, growth).target_value
    slower, faster = (
        scaling.suggest(CAPACITY, 2 * start_s, growth).target_value,
        scaling.suggest(CAPACITY, start_s, 2 * growth).target_value,
    )
    assert target is not None
    assert slower is not None
    assert faster is not None
    assert max(slower, faster) <= target
