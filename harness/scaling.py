"""An autoscaling target that leaves room for the time a new instance takes to arrive, with every number behind it.

While load grows, instances that are already serving must carry it for the reaction time D: one metric period, the alarm's
evaluation, provisioning an instance, starting the server and its first inference. If demand grows by the fraction g per minute,
target × (1 + g D) <= capacity, so SAFETY = 1 / (1 + g D). AWS's load-testing guide takes 0.5 instead, whatever D is
(docs.aws.amazon.com/sagemaker, "Load testing your auto scaling configuration": MAX_RPS × SAFETY_FACTOR × 60).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from harness.nouns import Estimate

METRIC = "SageMakerVariantInvocationsPerInstance"
METRIC_PERIOD_S = 60.0
ALARM_PERIODS_OUT = 3
"""Target tracking scales out after three of three one-minute points above the target, as its alarms show."""
PROVISIONING_S = 105.0
SCALE_IN_COOLDOWN_S = 300
GROWTH_PER_MIN = 0.1
DEFAULT_PEAK_INSTANCES = 3
"""Peak in instances at their target when nobody says what the peak is."""

_NAMESPACE, _DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
_CLOUDWATCH = "CloudWatch publishes this metric once a minute; a breach may begin just after a period did"
_ALARMS = "Application Auto Scaling target tracking: 3 of 3 one-minute points above the target, not configurable"
_PROVISION = "assumption: about 1.75 minutes until an instance exists, as AWS reports for a real-time endpoint"
_COOLDOWN = "Application Auto Scaling default for variants"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSuggestion:
    """`target_value` is in invocations per minute and instance. Figures that cannot be given are None, and `reason` says why.

    `policies` holds the arguments of boto3's `register_scalable_target` and `put_scaling_policy`; `basis` every number used, as
    {"value", "unit", "source"}.
    """

    metric: str
    target_value: int | None
    safety_factor: float | None
    min_capacity: int | None
    max_capacity: int | None
    scale_in_cooldown_s: int | None
    scale_out_cooldown_s: int | None
    policies: dict[str, Any] | None
    basis: dict[str, dict[str, Any]]
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values for the result; the reason for nulls is the source of `basis.target_value`."""
        return {
            "metric": self.metric,
            "target_value": self.target_value,
            "safety_factor": self.safety_factor,
            "min_capacity": self.min_capacity,
            "max_capacity": self.max_capacity,
            "scale_in_cooldown_s": self.scale_in_cooldown_s,
            "scale_out_cooldown_s": self.scale_out_cooldown_s,
            "policies": self.policies,
            "basis": self.basis,
        }


def safety_factor(growth_per_min: float, reaction_s: float) -> float:
    """1 / (1 + g D): the share of its capacity an instance may be loaded to while demand grows by g per minute for D."""
    if not (0 <= growth_per_min < math.inf and 0 <= reaction_s < math.inf):
        raise ValueError(f"growth and reaction time are not negative, got {growth_per_min}/min and {reaction_s} s")
    return 1 / (1 + growth_per_min * reaction_s / 60)


def suggest(
    capacity_per_s: Estimate,
    start_s: float | None,
    growth_per_min: float | None = None,
    peak_per_s: float | None = None,
    *,
    first_inference_s: float | None = None,
    provisioning_s: float | None = None,
    base_per_s: float = 0.0,
    spare_instances: int = 1,
    endpoint: str = "ENDPOINT",
    variant: str = "AllTraffic",
) -> ScalingSuggestion:
    """The policy for one instance type whose capacity under the SLO (1/s) and start-up were measured.

    `start_s` is from starting the server until it is ready, model load included; `first_inference_s` the first answer after it.
    `base_per_s` and `peak_per_s` are the least and the most the endpoint must carry. The target uses the lower bound of the
    capacity; instances are counted so that `spare_instances` may be lost: ceil(load / target) + spare.
    """
    if base_per_s < 0 or spare_instances < 0 or (peak_per_s is not None and peak_per_s < base_per_s):
        raise ValueError(
            f"loads must satisfy 0 <= base <= peak and spare >= 0, got {base_per_s}, {peak_per_s}, {spare_instances}"
        )
    basis: dict[str, dict[str, Any]] = {}
    reaction_s, arrival_s = _reaction(basis, start_s, first_inference_s, provisioning_s)
    growth = _noted(basis, "growth_per_min", growth_per_min, GROWTH_PER_MIN, "1/min", "given", "assumption: 10 % a minute")
    _note(basis, "capacity_per_s", capacity_per_s.value, "1/s", "measured under the SLO")
    _note(basis, "capacity_low_per_s", capacity_per_s.low, "1/s", "lower end of its 95 % interval; the target uses this")
    if reaction_s is None or arrival_s is None:
        return _nothing(basis, "the start-up time of the server was not measured")
    factor = safety_factor(growth, reaction_s)
    _note(basis, "safety_factor", factor, "1", "1 / (1 + growth_per_min * reaction_s / 60)")
    target = math.floor((capacity_per_s.low or 0.0) * factor * 60)
    if capacity_per_s.value is None or target < 1:
        return _nothing(basis, capacity_per_s.reason or "the capacity has no lower bound that allows one request a minute")
    _note(basis, "target_value", target, "1/min", "floor(capacity_low_per_s * safety_factor * 60)")
    least, most = _fleet(basis, target, base_per_s, peak_per_s, spare_instances)
    scale_out_s = math.ceil(arrival_s)
    _note(basis, "scale_in_cooldown_s", SCALE_IN_COOLDOWN_S, "s", _COOLDOWN)
    _note(basis, "scale_out_cooldown_s", scale_out_s, "s", "provisioning_s + start_s + first_inference_s: until it serves")
    resource = f"endpoint/{endpoint}/variant/{variant}"
    return _suggestion(basis, factor, target, least, most, scale_out_s, _policies(target, least, most, scale_out_s, resource))


def _fleet(
    basis: dict[str, dict[str, Any]], target: int, base_per_s: float, peak_per_s: float | None, spare: int
) -> tuple[int, int]:
    """(fewest, most) instances for the least and the highest load, each with `spare` to lose."""
    source = f"assumption: {DEFAULT_PEAK_INSTANCES} instances at their target, because no peak was given"
    peak = _noted(basis, "peak_per_s", peak_per_s, DEFAULT_PEAK_INSTANCES * target / 60, "1/s", "given", source)
    _note(basis, "base_per_s", base_per_s, "1/s", "given" if base_per_s else "assumption: traffic may cease")
    _note(basis, "spare_instances", spare, "1", "so that this many instances may be lost at any load")
    least = max(1, _instances(base_per_s, target)) + spare
    return least, max(least, _instances(peak, target) + spare)


def _reaction(
    basis: dict[str, dict[str, Any]], start_s: float | None, first_inference_s: float | None, provisioning_s: float | None
) -> tuple[float | None, float | None]:
    """(from the breach until a new instance serves, of which from the decision to add it), in s; None without `start_s`."""
    _note(basis, "metric_period_s", METRIC_PERIOD_S, "s", _CLOUDWATCH)
    _note(basis, "alarm_evaluation_s", ALARM_PERIODS_OUT * METRIC_PERIOD_S, "s", _ALARMS)
    provision = _noted(basis, "provisioning_s", provisioning_s, PROVISIONING_S, "s", "given", _PROVISION)
    _note(basis, "start_s", start_s, "s", "measured: process start until ready, model load included")
    first = (
        "measured: the first answer after that" if first_inference_s is not None else "not measured; taken as part of start_s"
    )
    _note(basis, "first_inference_s", first_inference_s, "s", first)
    if start_s is None:
        return None, None
    arrival_s = provision + start_s + (first_inference_s or 0.0)
    reaction_s = METRIC_PERIOD_S * (1 + ALARM_PERIODS_OUT) + arrival_s
    _note(
        basis,
        "reaction_s",
        reaction_s,
        "s",
        "metric_period_s + alarm_evaluation_s + provisioning_s + start_s + first_inference_s",
    )
    return reaction_s, arrival_s


def _instances(load_per_s: float, target_per_min: int) -> int:
    return math.ceil(round(load_per_s * 60 / target_per_min, 9))


def _policies(target: int, least: int, most: int, scale_out_s: int, resource: str) -> dict[str, Any]:
    scalable = {"ServiceNamespace": _NAMESPACE, "ResourceId": resource, "ScalableDimension": _DIMENSION}
    return {
        "register_scalable_target": scalable | {"MinCapacity": least, "MaxCapacity": most},
        "put_scaling_policy": {
            "PolicyName": "loadstone-invocations-per-instance",
            **scalable,
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": float(target),
                "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC},
                "ScaleOutCooldown": scale_out_s,
                "ScaleInCooldown": SCALE_IN_COOLDOWN_S,
                "DisableScaleIn": False,
            },
        },
    }


def _note(basis: dict[str, dict[str, Any]], name: str, value: float | None, unit: str, source: str) -> None:
    basis[name] = {"value": value, "unit": unit, "source": source}


def _noted(
    basis: dict[str, dict[str, Any]], name: str, given: float | None, default: float, unit: str, known: str, assumed: str
) -> float:
    value = default if given is None else given
    _note(basis, name, value, unit, assumed if given is None else known)
    return value


def _nothing(basis: dict[str, dict[str, Any]], reason: str) -> ScalingSuggestion:
    _note(basis, "target_value", None, "1/min", reason)
    return _suggestion(basis, None, None, None, None, None, None, reason)


def _suggestion(
    basis: dict[str, dict[str, Any]],
    factor: float | None,
    target: int | None,
    least: int | None,
    most: int | None,
    scale_out_s: int | None,
    policies: dict[str, Any] | None,
    reason: str | None = None,
) -> ScalingSuggestion:
    return ScalingSuggestion(
        metric=METRIC,
        target_value=target,
        safety_factor=factor,
        min_capacity=least,
        max_capacity=most,
        scale_in_cooldown_s=None if target is None else SCALE_IN_COOLDOWN_S,
        scale_out_cooldown_s=scale_out_s,
        policies=policies,
        basis=basis,
        reason=reason,
    )
