"""Every export against the rules of the one that reads it: botocore, moto, Kubernetes' own schema, KEDA's field list."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import kubernetes_validate
import pytest
from botocore.session import Session
from botocore.validate import ParamValidator
from moto import mock_aws

from harness.errors import UsageError
from harness.fleet import exports, kubernetes, sweep
from harness.fleet.demand import Demand
from harness.fleet.exports import Chosen, Names
from harness.fleet.sweep import Question
from tests.harness.fleet.models import LOOSE, exponential, fleet

REGION = "us-east-1"
NAMES = Names(endpoint="resnet50", model="resnet50", instance_type="ml.c5.large", deployment="resnet50")
KEDA = json.loads((Path(__file__).parent / "keda_scaledobject.schema.json").read_text())
_CALLS = {
    "register_scalable_target": ("application-autoscaling", "RegisterScalableTarget"),
    "put_scaling_policy": ("application-autoscaling", "PutScalingPolicy"),
    "put_scheduled_action": ("application-autoscaling", "PutScheduledAction"),
    "put_metric_alarm": ("cloudwatch", "PutMetricAlarm"),
}


def chosen(kind: str) -> Chosen:
    question = Question(
        fleet=fleet(exponential(0.05)), demand=Demand(day_mean_per_s=40.0), slo=LOOSE, capacity_per_s=15.0, usd_per_hour=0.1
    )
    _, policy = sweep.policy_for(question, kind, 0.5, 90.0, [0, 1])
    return Chosen(
        policy=policy,
        initial=3,
        routing=question.fleet.routing,
        rate_per_instance_s=7.5,
        asynchronous=kind == sweep.ASYNC_ZERO,
        begins_s=0,
    )


def bodies(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(call, arguments) of every call in the export."""
    return [(call, body) for call, value in found.items() for body in (value if isinstance(value, list) else [value])]


def validate(service: str, operation: str, body: dict[str, Any]) -> None:
    shape = Session().get_service_model(service).operation_model(operation).input_shape
    assert shape is not None
    report = ParamValidator().validate(body, shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize("kind", sweep.KINDS)
def test_botocore_accepts_every_aws_body(kind: str) -> None:
    found = exports.application_auto_scaling(chosen(kind), NAMES)
    calls = bodies(found)
    assert len(calls) >= 2
    for call, body in calls:
        validate(*_CALLS[call], body)
    validate("sagemaker", "CreateEndpointConfig", exports.endpoint_config(chosen(kind), NAMES))


def test_the_validator_would_notice() -> None:
    with pytest.raises(AssertionError, match="Unknown parameter"):
        validate("application-autoscaling", "RegisterScalableTarget", {"ServiceNamespace": "sagemaker", "Wrong": 1})


@pytest.mark.parametrize("kind", [sweep.TRACKING, sweep.HIGH_RESOLUTION, sweep.SCHEDULED, sweep.STEP])
def test_the_bodies_can_be_applied_in_their_order(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    one = chosen(kind)
    found, config = exports.application_auto_scaling(one, NAMES), exports.endpoint_config(one, NAMES)
    with mock_aws():
        machines = boto3.client("sagemaker", REGION)
        machines.create_model(
            ModelName="resnet50", ExecutionRoleArn="arn:aws:iam::111122223333:role/r", PrimaryContainer={"Image": "i"}
        )
        machines.create_endpoint_config(**config)
        machines.create_endpoint(EndpointName="resnet50", EndpointConfigName=config["EndpointConfigName"])
        scaler, watch = boto3.client("application-autoscaling", REGION), boto3.client("cloudwatch", REGION)
        scaler.register_scalable_target(**found["register_scalable_target"])
        arns = {body["PolicyName"]: scaler.put_scaling_policy(**body)["PolicyARN"] for body in found["put_scaling_policy"]}
        for body in found["put_scheduled_action"]:
            scaler.put_scheduled_action(**body)
        for body in found["put_metric_alarm"]:
            watch.put_metric_alarm(**body | {"AlarmActions": [arns[body["AlarmName"]]]})
        kept = scaler.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
        assert {each["PolicyName"] for each in kept} == set(arns)
        actions = scaler.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"]
        assert len(actions) == len(one.policy.schedule)
        (target,) = scaler.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        assert (target["MinCapacity"], target["MaxCapacity"]) == (one.policy.limits.least, one.policy.limits.most)


@pytest.mark.parametrize("kind", sweep.KINDS)
def test_kubernetes_accepts_the_autoscaler(kind: str) -> None:
    body = kubernetes.horizontal_pod_autoscaler(chosen(kind), NAMES)
    kubernetes_validate.validate(body, "1.31", strict=True)
    assert body["spec"]["metrics"][0]["pods"]["target"]["averageValue"] == "7500m"
    broken = body | {"spec": body["spec"] | {"minReplicas": "one"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.31", strict=True)


@pytest.mark.parametrize("kind", sweep.KINDS)
def test_keda_accepts_the_scaled_object(kind: str) -> None:
    body = kubernetes.scaled_object(chosen(kind), NAMES)
    jsonschema.validate(body, KEDA)
    crons = [each["metadata"] for each in body["spec"]["triggers"] if each["type"] == "cron"]
    assert bool(crons) == (kind == sweep.SCHEDULED)
    assert all(each["end"] == after["start"] for each, after in zip(crons, crons[1:] + crons[:1], strict=True))


def test_what_cannot_be_written_says_why() -> None:
    with pytest.raises(UsageError, match="no SageMaker instance type"):
        exports.endpoint_config(chosen(sweep.TRACKING), Names(endpoint="e", model="m", instance_type="local-1", deployment="d"))


def test_zero_instances_need_inference_components_unless_requests_wait() -> None:
    real_time = exports.application_auto_scaling(chosen(sweep.ZERO), NAMES)
    assert real_time["register_scalable_target"]["ScalableDimension"] == "sagemaker:inference-component:DesiredCopyCount"
    assert [each["MetricName"] for each in real_time["put_metric_alarm"]] == ["NoCapacityInvocationFailures"]
    waiting = exports.application_auto_scaling(chosen(sweep.ASYNC_ZERO), NAMES)
    assert waiting["register_scalable_target"]["ScalableDimension"] == "sagemaker:variant:DesiredInstanceCount"
    assert [each["MetricName"] for each in waiting["put_metric_alarm"]] == ["HasBacklogWithoutCapacity"]
    config = waiting["put_scaling_policy"][0]["TargetTrackingScalingPolicyConfiguration"]
    assert config["CustomizedMetricSpecification"]["MetricName"] == "ApproximateBacklogSizePerInstance"


def test_the_component_that_holds_the_model_reserves_what_the_server_took() -> None:
    body = exports.inference_component(replace(chosen(sweep.ZERO), memory_mb=1000.0), NAMES)
    assert body is not None
    validate("sagemaker", "CreateInferenceComponent", body)
    assert body["Specification"]["ComputeResourceRequirements"]["MinMemoryRequiredInMb"] == 1250
    assert exports.inference_component(chosen(sweep.TRACKING), NAMES) is None
    with pytest.raises(UsageError, match="memory of the server was not measured"):
        exports.inference_component(chosen(sweep.ZERO), NAMES)
