"""The command line: options in, exit code out. Everything it does is done by a function in `commands`.

Each command imports its own when it runs, so that `--help` answers at once.

Exit codes: 0 done · 1 confirmed regression · 2 usage or configuration · 3 measurement invalid or infrastructure failed ·
4 inconclusive · 130 interrupted. With --json, standard output holds JSON alone; progress and logs go to standard error.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from harness import cli_values
from harness.cli_autoscale import autoscale
from harness.cli_gate import gate
from harness.cli_instances import instances
from harness.cli_lists import models, profiles, targets
from harness.cli_project import project
from harness.cli_report import report
from harness.cli_single import compile, serve
from harness.depth import DEPTHS
from harness.errors import LoadstoneError, UsageError
from harness.request import OBJECTIVES

# Nothing computed here is large enough to share, and threads that wait for one another would disturb what is measured.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class _Group(click.Group):
    """Lists the commands in the order of the work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="loadstone")
def cli() -> None:
    """What should serve your model? Compile it, serve every candidate, load it, rank and price what was measured."""


@cli.command()
@click.argument("model", required=False)
@click.option("--profile", default="quick", show_default=True, help=f"How deep to look: {', '.join(DEPTHS)}.")
@click.option("--backends", help="Comma-separated, or none; default: all that are not experimental. See `loadstone doctor`.")
@click.option("--precisions", default="fp32", show_default=True, help="Comma-separated: fp32, bf16, fp16, int8, int8-dynamic.")
@click.option("--instances", help="Comma-separated slices of this machine, as local-1,local-2; default: those that fit.")
@click.option("--slo", help="Such as 'p99<100ms' or 'p95<0.2s,errors<0.1%'; default: from the measured service time.")
@click.option("--objective", type=click.Choice(OBJECTIVES), default="cost", show_default=True)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Requests/s at which latencies are compared.")
@click.option("--demand", help="Requests to carry, as 2000/s or 90000/min: the smallest fleet of each candidate, and its cost.")
@click.option("--peak", help="Expected peak, for scaling, as --demand; default: the demand.")
@click.option(
    "--growth", type=click.FloatRange(min=0), default=0.1, show_default=True, help="Growth of demand, share per minute."
)
@click.option("--price-per-hour", type=click.FloatRange(min=0), help="USD per hour of each slice, instead of the catalogue's.")
@click.option("--catalogue", type=click.Path(path_type=Path), help="CSV file over the catalogue of instances.")
@click.option("--project", "projected", help="Comma-separated catalogue names: what they would do, by a model with intervals.")
@click.option("--endpoint", "endpoints", multiple=True, help="NAME=URL,instance=TYPE: measure what is served there as well.")
@click.option("--payload", type=click.Path(path_type=Path), help="Folder of .npz, .npy or .json requests.")
@click.option("--shape", "shapes", multiple=True, help="NAME=1x128: fixes an input of an ONNX file with dynamic axes.")
@click.option("--lanes", type=click.IntRange(min=1), help="Candidates measured side by side; default: what the cores allow.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--compile-timeout", type=click.FloatRange(min=1), default=900.0, show_default=True, help="Seconds per compiler.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Where run folders go.")
@click.option("--resume", type=click.Path(path_type=Path), help="Run folder of an unfinished bench: do the rest.")
@click.option("--json", "as_json", is_flag=True, help="Print result.json on standard output.")
def bench(
    model: str | None,
    profile: str,
    backends: str | None,
    precisions: str,
    instances: str | None,
    slo: str | None,
    objective: str,
    rate: float | None,
    demand: str | None,
    peak: str | None,
    growth: float | None,
    price_per_hour: float | None,
    catalogue: Path | None,
    projected: str | None,
    endpoints: Sequence[str],
    payload: Path | None,
    shapes: Sequence[str],
    lanes: int | None,
    seed: int,
    compile_timeout: float,
    out: Path,
    resume: Path | None,
    as_json: bool,
) -> None:
    """Rank and price everything that could serve MODEL: a built-in name, an .onnx file or a .pt2 program."""
    from harness.commands import run
    from harness.reached import option

    if resume is not None:
        raise SystemExit(run.resume(resume, as_json=as_json))
    if model is None:
        raise UsageError("which model? `loadstone bench resnet50`, a path to an .onnx or .pt2 file, or --resume RUN")
    request = run.checked_request(
        model=model,
        profile=profile,
        backends=cli_values.names(backends),
        precisions=cli_values.names(precisions),
        instances=cli_values.names(instances),
        slo=slo,
        objective=objective,
        rate_per_s=rate,
        demand=demand,
        peak=peak,
        growth_per_min=growth,
        price_per_hour=price_per_hour,
        catalogue=None if catalogue is None else str(catalogue.resolve()),
        endpoints=option.parse(endpoints),
        project=cli_values.names(projected),
        payload_dir=None if payload is None else str(payload.resolve()),
        shapes=tuple(cli_values.shape(text) for text in shapes),
        lanes=lanes,
        seed=seed,
        compile_timeout_s=compile_timeout,
        command=shlex.join(["loadstone", *sys.argv[1:]]),
    )
    raise SystemExit(run.bench(request, out, as_json=as_json))


cli.add_command(compile)
cli.add_command(serve)


@cli.command()
@click.argument("url")
@click.option(
    "--profile", default="poisson", show_default=True, help="A name from `loadstone profiles`, or a .toml or .json file."
)
@click.option("--rate", type=float, help="Requests per second, for an open loop.")
@click.option("--users", type=int, help="For a closed loop.")
@click.option("--duration", type=float, help="Seconds; default: the profile's own.")
@click.option("--requests", type=int, help="End a closed loop after this many.")
@click.option("--trace", help="CSV file of arrivals, or of counts per interval, for --profile trace.")
@click.option("--compress", type=float, help="Replay the trace this many times as fast.")
@click.option("--protocol", type=click.Choice(("oip", "sagemaker", "json", "bytes")), help="Default: as the URL says.")
@click.option("--payload", type=click.Path(path_type=Path), help="File or folder of requests; default (oip): seeded ones.")
@click.option("--content-type", help="Of raw payloads; default: by their suffix.")
@click.option("--header", "headers", multiple=True, help="NAME: VALUE, sent with every request; may be repeated.")
@click.option("--timeout", type=click.FloatRange(0.001, 3600), default=30.0, show_default=True, help="Seconds for one request.")
@click.option(
    "--in-flight", type=click.IntRange(1, 10_000), default=128, show_default=True, help="Most open at a time (open loop)."
)
@click.option("--slo", help="Such as 'p99<100ms': exit 0 when met, 1 when missed, 4 when the run cannot tell.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="New folder for result.json, the raw samples and the schedule.")
@click.option("--json", "as_json", is_flag=True)
def load(
    url: str,
    profile: str,
    rate: float | None,
    users: int | None,
    duration: float | None,
    requests: int | None,
    trace: str | None,
    compress: float | None,
    protocol: str | None,
    payload: Path | None,
    content_type: str | None,
    headers: Sequence[str],
    timeout: float,
    in_flight: int,
    slo: str | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure any http endpoint under one load: Open Inference Protocol v2, SageMaker's /invocations, plain JSON or bytes."""
    from harness.commands import load as loading
    from loadprofiles.registry import Figures

    asked = loading.LoadRequest(
        url=url,
        profile=profile,
        figures=Figures(duration_s=duration, rate_per_s=rate, users=users, requests=requests, trace=trace, compress=compress),
        seed=seed,
        protocol=protocol,
        payload=payload,
        content_type=content_type,
        headers=tuple(headers),
        timeout_s=timeout,
        in_flight=in_flight,
        slo=slo,
        out=out,
    )
    raise SystemExit(loading.load_url(asked, as_json=as_json))


cli.add_command(autoscale)
cli.add_command(gate)
cli.add_command(project)


cli.add_command(report)


@cli.command()
@click.option("--json", "as_json", is_flag=True)
def doctor(as_json: bool) -> None:
    """What this machine offers, what could spoil its figures, and what each backend and feature still needs."""
    from harness.commands import doctor as command

    raise SystemExit(command.doctor(as_json=as_json))


cli.add_command(instances)


for _listing in (models, targets, profiles):
    cli.add_command(_listing)


def main() -> None:
    """Run the command line; every expected error is one line on standard error and its documented exit code."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(UsageError.exit_code)
    except LoadstoneError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG):
            raise
        _complain(
            f"{error.strerror} at {error.filename or 'the run folder'}; what was measured before is kept: fix it, then --resume"
        )
        sys.exit(3)


def _complain(message: str) -> None:
    click.echo(f"loadstone: {' '.join(message.split())}", err=True)


if __name__ == "__main__":
    main()
