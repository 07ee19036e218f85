"""The options of the commands about one model: `compile` and `serve`; what they do is in `commands.single`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness import cli_values
from harness.errors import UsageError


@click.command()
@click.argument("model")
@click.option("--backend", "--backends", "backends", help="Comma-separated; default: all.")
@click.option("--precisions", default="fp32", show_default=True, help="Comma-separated: fp32, bf16, fp16, int8, int8-dynamic.")
@click.option("--target", default="host", show_default=True, help="From `loadstone targets`, or Neo's TargetPlatform in JSON.")
@click.option("--options", "target_options", default="", help="Neo's CompilerOptions for the target, in JSON.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--rpc", default="", metavar="HOST:PORT", help="Check (and time) it on this device, which runs TVM's RPC server.")
@click.option("--shape", "shapes", multiple=True, help="NAME=1x128: fixes an input with dynamic axes, or another batch size.")
@click.option("--batches", default="", help="Comma-separated batch sizes that tvm makes code of their own for, besides 1.")
@click.option("--search", type=click.FloatRange(min=0), default=0.0, help="Seconds in which tvm measures other kernels.")
@click.option("--records", default="", metavar="FILE", help="What searches found; with --search, a file in the cache.")
@click.option("--out", type=click.Path(path_type=Path), help="Copy the artifacts here as well.")
@click.option("--json", "as_json", is_flag=True)
def compile(
    model: str,
    backends: str | None,
    precisions: str,
    target: str,
    target_options: str,
    threads: int,
    rpc: str,
    shapes: Sequence[str],
    batches: str,
    search: float,
    records: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compile MODEL, check it against its fp32 reference, and keep the artifact in the cache."""
    from harness.commands import single

    asked = single.CompileRequest(
        model=model,
        backends=cli_values.names(backends),
        precisions=cli_values.names(precisions),
        threads=threads,
        shapes=tuple(cli_values.shape(text) for text in shapes),
        out=out,
        target=target,
        target_options=target_options,
        batches=batches,
        search_s=search,
        records=records,
        rpc=rpc,
    )
    raise SystemExit(single.compile_model(asked, as_json=as_json))


@click.command()
@click.argument("model", required=False)
@click.option("--backend", default="ort", show_default=True)
@click.option("--precision", default="fp32", show_default=True, help="fp32, bf16, fp16, int8 or int8-dynamic.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 chooses a free one.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--truth", metavar="LAW", help="Instead of a model: known answer times, as 'exponential:10ms; servers=1'.")
@click.option("--log", type=click.Path(path_type=Path), help="With --truth: every request's times, as .npy, when stopped.")
def serve(
    model: str | None, backend: str, precision: str, host: str, port: int, threads: int, truth: str | None, log: Path | None
) -> None:
    """Compile MODEL if need be and serve it over HTTP (Open Inference Protocol v2 and SageMaker's contract) until stopped.

    With --truth, serve no model but answers whose times follow a law exactly, to check any load generator against:
    `python -m harness.truth --help` has the laws and options.
    """
    if (model is None) == (truth is None):
        raise UsageError("serve what? `loadstone serve resnet50`, or `loadstone serve --truth exponential:10ms`, and not both")
    if truth is not None:
        from harness.commands.truth import serve_truth

        raise SystemExit(serve_truth(truth, host, port, log))
    from harness.commands import single

    raise SystemExit(single.serve_model(str(model), backend, precision, host, port, threads))
