"""The options of `loadstone autoscale`; what it does is in `commands.autoscale`, imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--trace", type=click.Path(path_type=Path), help="CSV of arrival times, or of counts per interval.")
@click.option("--generate", type=click.Choice(["day"]), help="Instead of a trace: days with a peak, a trough and bursts.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Mean requests/s of a generated day.")
@click.option("--growth", type=click.FloatRange(min=-1, min_open=True), default=0.0, show_default=True, help="0.2: 20 % more.")
@click.option("--candidate", help="Which candidate of RUN; default: the recommended one.")
@click.option(
    "--policies", default="tracking", show_default=True, help="Of tracking, high-resolution, step, scheduled, zero, async-zero."
)
@click.option("--targets", default="0.3,0.4,0.5,0.6,0.7,0.8,0.9", show_default=True, help="Shares of the capacity to aim at.")
@click.option("--seeds", type=click.IntRange(1, 1000), default=20, show_default=True, help="How often each policy is tried.")
@click.option("--slo", help="Such as 'p99<100ms'; default: the run's.")
@click.option("--routing", type=click.Choice(["random", "least-outstanding"]), default="least-outstanding", show_default=True)
@click.option("--min", "least", type=click.IntRange(min=0), help="Fewest instances; default: 1, or 0 where zero is tried.")
@click.option(
    "--max", "most", type=click.IntRange(min=1), help="Most instances; default: what the busiest minute needs, and one."
)
@click.option(
    "--queue-limit", type=click.IntRange(min=0), default=1024, show_default=True, help="Requests that may wait in an instance."
)
@click.option("--provisioning", type=click.FloatRange(0, 3600), help="Seconds until an instance exists; default: 105.")
@click.option("--price-per-hour", type=click.FloatRange(min=0), help="USD per instance and hour, instead of the run's.")
@click.option("--instance-type", help="SageMaker instance type for the exported EndpointConfig.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for autoscale.json, autoscale.html and the policy ready to apply."
)
@click.option("--json", "as_json", is_flag=True, help="Print autoscale.json on standard output.")
def autoscale(policies: str, targets: str, rate: float | None, provisioning: float | None, **given: Any) -> None:
    """Try autoscaling policies on a simulated fleet of RUN's candidate and choose the cheapest that keeps the SLO."""
    from harness.commands import autoscale as command

    asked = command.Asked(
        policies=tuple(name.strip() for name in policies.split(",") if name.strip()),
        targets=command.shares(targets),
        rate_per_s=rate,
        provisioning_s=provisioning,
        **given,
    )
    raise SystemExit(command.autoscale(asked))
