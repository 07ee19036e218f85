"""The chosen policy for Kubernetes: a HorizontalPodAutoscaler, and a ScaledObject for KEDA.

Both scale by a rule of their own (in proportion, every 15 s, with a tolerance of a tenth). What they get is the nearest
they can express to what was simulated, and an annotation says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.fleet.exports import Chosen, Names, clock
from harness.fleet.policies import MINUTES_IN, PERIODS_OUT, Scheduled

_PREFIX = "loadstone"
_NEAREST = "loadstone: simulated under the rules of AWS target tracking; this is the nearest equivalent"


def horizontal_pod_autoscaler(chosen: Chosen, names: Names) -> dict[str, Any]:
    """A HorizontalPodAutoscaler (autoscaling/v2) on requests per second and pod; it has no zero and no schedule."""
    limits = chosen.policy.limits
    name = f"{names.deployment.lower()}-{_PREFIX}"
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "annotations": {"loadstone/note": _NEAREST}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.deployment.lower()},
            "minReplicas": max(1, limits.least),
            "maxReplicas": max(1, limits.most),
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": "inference_requests_per_second"},
                        "target": {"type": "AverageValue", "averageValue": _quantity(chosen.rate_per_instance_s)},
                    },
                }
            ],
            "behavior": _behavior(),
        },
    }


def scaled_object(chosen: Chosen, names: Names) -> dict[str, Any]:
    """A KEDA ScaledObject (keda.sh/v1alpha1): a Prometheus rate for the load, one cron trigger for each scheduled
    stretch."""
    limits, deployment = chosen.policy.limits, names.deployment.lower()
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": f"{deployment}-{_PREFIX}", "annotations": {"loadstone/note": _NEAREST}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "pollingInterval": chosen.policy.period_s,
            "cooldownPeriod": MINUTES_IN * 60,
            "minReplicaCount": limits.least,
            "maxReplicaCount": max(1, limits.most),
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior()}},
            "triggers": [
                {
                    "type": "prometheus",
                    "metricType": "AverageValue",
                    "metadata": {
                        "serverAddress": names.prometheus,
                        "query": f'sum(rate(inference_requests_total{{deployment="{deployment}"}}[1m]))',
                        "threshold": f"{chosen.rate_per_instance_s:.6g}",
                    },
                },
                *_crons(chosen),
            ],
        },
    }


def _crons(chosen: Chosen) -> list[dict[str, Any]]:
    """Each scheduled minimum holds until the next one."""
    actions: Sequence[Scheduled] = chosen.policy.schedule
    found = []
    for index, each in enumerate(actions):
        after = actions[(index + 1) % len(actions)]
        (hour, minute), (end_hour, end_minute) = (clock(x.second_of_day, chosen.begins_s) for x in (each, after))
        metadata = {
            "timezone": "Etc/UTC",
            "start": f"{minute} {hour} * * *",
            "end": f"{end_minute} {end_hour} * * *",
            "desiredReplicas": str(each.least or 0),
        }
        if len(actions) > 1:
            found.append({"type": "cron", "metadata": metadata})
    return found


def _behavior() -> dict[str, Any]:
    """Out after as long as the alarm takes, in after as long as the other one does."""
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": PERIODS_OUT * 60,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 60},
                {"type": "Pods", "value": 4, "periodSeconds": 60},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": MINUTES_IN * 60,
            "selectPolicy": "Max",
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 60}],
        },
    }


def _quantity(value: float) -> str:
    """A Kubernetes quantity, in thousandths."""
    return f"{max(1, round(value * 1000))}m"
