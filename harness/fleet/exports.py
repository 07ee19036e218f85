"""The chosen policy as the arguments of boto3 calls: Application Auto Scaling, its alarms, and SageMaker's
EndpointConfig."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.fleet.nouns import Metric, Policy, Routing
from harness.fleet.policies import DAY_S, Scheduled, StepScaling, TargetTracking

_NAMESPACE = "sagemaker"
_CLOUDWATCH = "AWS/SageMaker"
_PREFIX = "loadstone"
MEMORY_MARGIN = 1.25
"""On the memory that a server was seen to take: what is reserved must hold its worst moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the things to be scaled are called. `instance_type` is None when the candidate ran on no SageMaker instance."""

    endpoint: str
    model: str
    instance_type: str | None
    variant: str = "AllTraffic"
    deployment: str = "MODEL-SERVER"
    prometheus: str = "http://prometheus.monitoring:9090"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A policy and where it was chosen for. `asynchronous` requests wait while there is no instance; `begins_s` is the
    second of the day (UTC) at which the demand begins, None when it knows no clock; `memory_mb` what a copy of the model was
    seen to take, None when nobody looked."""

    policy: Policy
    initial: int
    routing: Routing
    rate_per_instance_s: float
    asynchronous: bool
    begins_s: int | None
    memory_mb: float | None = None


def application_auto_scaling(chosen: Chosen, names: Names) -> dict[str, Any]:
    """Arguments of boto3's `register_scalable_target`, `put_scaling_policy` (several), `put_scheduled_action` (several)
    of `application-autoscaling`, and of `put_metric_alarm` of `cloudwatch`; an alarm's action is the ARN its policy
    returned."""
    policy, scalable = chosen.policy, _scalable(chosen, names)
    rules = [] if policy.tracking is None else [_tracking(policy.tracking, _metric(chosen, names), scalable)]
    alarms: list[dict[str, Any]] = []
    for number, each in enumerate(policy.steps, start=1):
        name = f"{_PREFIX}-step-{'out' if each.above else 'in'}-{number}"
        rules.append(_stepping(name, each, scalable))
        alarms.append(_alarm(name, each, names))
    if policy.from_zero:
        name = f"{_PREFIX}-from-zero"
        rules.append(_leaving_zero(name, policy.from_zero, scalable))
        alarms.append(_zero_alarm(name, chosen, names))
    return {
        "register_scalable_target": scalable | {"MinCapacity": policy.limits.least, "MaxCapacity": policy.limits.most},
        "put_scaling_policy": rules,
        "put_scheduled_action": [_action(each, chosen.begins_s, scalable) for each in policy.schedule],
        "put_metric_alarm": alarms,
    }


def endpoint_config(chosen: Chosen, names: Names) -> dict[str, Any]:
    """Arguments of boto3's `sagemaker.create_endpoint_config`; UsageError when the instance is not one of SageMaker's."""
    if names.instance_type is None or not names.instance_type.startswith("ml."):
        raise UsageError(
            f"{names.instance_type or 'the candidate'} is no SageMaker instance type; give --instance-type ml.c7i.large, say"
        )
    variant: dict[str, Any] = {
        "VariantName": names.variant,
        "ModelName": names.model,
        "InstanceType": names.instance_type,
        "InitialInstanceCount": max(1, chosen.initial),
        "RoutingConfig": {"RoutingStrategy": chosen.routing.value},
    }
    config: dict[str, Any] = {"EndpointConfigName": f"{names.endpoint}-config", "ProductionVariants": [variant]}
    if _components(chosen):
        # With inference components the model belongs to the component, and the instances follow its copies.
        del variant["ModelName"]
        limits = chosen.policy.limits
        variant["ManagedInstanceScaling"] = {"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": limits.most}
        config["ExecutionRoleArn"] = "arn:aws:iam::111122223333:role/EXECUTION-ROLE"
    if chosen.asynchronous:
        config["AsyncInferenceConfig"] = {"OutputConfig": {"S3OutputPath": "s3://BUCKET/PREFIX"}}
    return config


def inference_component(chosen: Chosen, names: Names) -> dict[str, Any] | None:
    """Arguments of boto3's `sagemaker.create_inference_component`, which holds the model where zero instances of a real-time
    endpoint are wanted; None elsewhere. UsageError when the memory that a copy needs is not known."""
    if not _components(chosen):
        return None
    if chosen.memory_mb is None:
        raise UsageError(
            "the memory of the server was not measured, and an inference component must reserve some; bench it again"
        )
    return {
        "InferenceComponentName": names.model,
        "EndpointName": names.endpoint,
        "VariantName": names.variant,
        "Specification": {
            "ModelName": names.model,
            "ComputeResourceRequirements": {"MinMemoryRequiredInMb": max(128, math.ceil(MEMORY_MARGIN * chosen.memory_mb))},
        },
        "RuntimeConfig": {"CopyCount": max(1, chosen.initial)},
    }


def _components(chosen: Chosen) -> bool:
    """Whether zero instances of a real-time endpoint are wanted: only inference components can do that."""
    return chosen.policy.limits.least == 0 and not chosen.asynchronous


def _scalable(chosen: Chosen, names: Names) -> dict[str, Any]:
    if _components(chosen):
        resource, dimension = f"inference-component/{names.model}", "sagemaker:inference-component:DesiredCopyCount"
    else:
        resource, dimension = f"endpoint/{names.endpoint}/variant/{names.variant}", "sagemaker:variant:DesiredInstanceCount"
    return {"ServiceNamespace": _NAMESPACE, "ResourceId": resource, "ScalableDimension": dimension}


def _metric(chosen: Chosen, names: Names) -> dict[str, Any]:
    """The metric that target tracking watches; the backlog is none of the predefined ones."""
    metric = chosen.policy.metric
    if metric is Metric.BACKLOG:
        where = _dimensions({"EndpointName": names.endpoint})
        found = {"MetricName": metric.value, "Namespace": _CLOUDWATCH, "Dimensions": where, "Statistic": "Average"}
        return {"CustomizedMetricSpecification": found}
    name = metric.value
    if _components(chosen):
        per_copy = {Metric.CONCURRENCY: "ConcurrentRequestsPerCopyHighResolution", Metric.INVOCATIONS: "InvocationsPerCopy"}
        name = f"SageMakerInferenceComponent{per_copy[metric]}"
    return {"PredefinedMetricSpecification": {"PredefinedMetricType": name}}


def _tracking(policy: TargetTracking, metric: dict[str, Any], scalable: dict[str, Any]) -> dict[str, Any]:
    return {
        "PolicyName": f"{_PREFIX}-target-tracking",
        **scalable,
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": round(policy.target, 6),
            **metric,
            "ScaleOutCooldown": math.ceil(policy.scale_out_cooldown_s),
            "ScaleInCooldown": math.ceil(policy.scale_in_cooldown_s),
            "DisableScaleIn": policy.disable_scale_in,
        },
    }


def _stepping(name: str, policy: StepScaling, scalable: dict[str, Any]) -> dict[str, Any]:
    steps = []
    for each in policy.steps:
        bounds = {"MetricIntervalLowerBound": each.lower, "MetricIntervalUpperBound": each.upper}
        steps.append(
            {key: value for key, value in bounds.items() if value is not None} | {"ScalingAdjustment": each.adjustment}
        )
    config: dict[str, Any] = {
        "AdjustmentType": policy.kind.value,
        "StepAdjustments": steps,
        "Cooldown": math.ceil(policy.cooldown_s),
        "MetricAggregationType": "Average",
    }
    if policy.least_adjustment:
        config["MinAdjustmentMagnitude"] = policy.least_adjustment
    return {"PolicyName": name, **scalable, "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": config}


def _leaving_zero(name: str, amount: int, scalable: dict[str, Any]) -> dict[str, Any]:
    return {
        "PolicyName": name,
        **scalable,
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": amount}],
            "Cooldown": 300,
            "MetricAggregationType": "Average",
        },
    }


def _alarm(policy_name: str, policy: StepScaling, names: Names) -> dict[str, Any]:
    return {
        "AlarmName": policy_name,
        "Namespace": _CLOUDWATCH,
        "MetricName": "InvocationsPerInstance",
        "Dimensions": _dimensions({"EndpointName": names.endpoint, "VariantName": names.variant}),
        "Statistic": "Sum",
        "Period": policy.period_s,
        "EvaluationPeriods": policy.points,
        "DatapointsToAlarm": policy.points,
        "Threshold": policy.threshold,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold" if policy.above else "LessThanThreshold",
        "TreatMissingData": "missing",
        "AlarmActions": [f"ARN-OF-{policy_name}"],
    }


def _zero_alarm(policy_name: str, chosen: Chosen, names: Names) -> dict[str, Any]:
    """One call that found no capacity; or a backlog without capacity in two of two minutes."""
    asynchronous = chosen.asynchronous
    points = 2 if asynchronous else 1
    where = {"EndpointName": names.endpoint} if asynchronous else {"InferenceComponentName": names.model}
    return {
        "AlarmName": policy_name,
        "Namespace": _CLOUDWATCH,
        "MetricName": "HasBacklogWithoutCapacity" if asynchronous else "NoCapacityInvocationFailures",
        "Dimensions": _dimensions(where),
        "Statistic": "Average" if asynchronous else "Sum",
        "Period": 60,
        "EvaluationPeriods": points,
        "DatapointsToAlarm": points,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
        "AlarmActions": [f"ARN-OF-{policy_name}"],
    }


def _dimensions(names: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in names.items()]


def _action(each: Scheduled, begins_s: int | None, scalable: dict[str, Any]) -> dict[str, Any]:
    hour, minute = clock(each.second_of_day, begins_s)
    limits = {"MinCapacity": each.least, "MaxCapacity": each.most}
    return {
        "ScheduledActionName": f"{_PREFIX}-{hour:02d}{minute:02d}",
        **scalable,
        "Schedule": f"cron({minute} {hour} * * ? *)",
        "Timezone": "UTC",
        "ScalableTargetAction": {key: value for key, value in limits.items() if value is not None},
    }


def clock(second_of_day: int, begins_s: int | None) -> tuple[int, int]:
    """(hour, minute) of a second counted from the demand's begin."""
    if begins_s is None:
        raise UsageError("the trace has no clock times, so a schedule cannot be written; give ISO timestamps")
    minutes = (second_of_day + begins_s) % DAY_S // 60
    return minutes // 60, minutes % 60
