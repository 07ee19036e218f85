"""The options of `loadstone gate`; what it does is in `commands.gate`, `gate_promote` and `gate_history`, imported late."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from harness.errors import UsageError

_SHAPE = re.compile(r"^(?P<name>[^=]+)=(?P<sizes>\d+(x\d+)*)$")
_BASELINE = click.option(
    "--baseline", type=click.Path(path_type=Path), required=True, help="Folder of accepted versions and of the history."
)


class _DefaultGroup(click.Group):
    """`gate [MODEL] …` is `gate run [MODEL] …`; a model that is called like a command is given as a path, ./promote.onnx."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        asks_for_help = bool(args) and args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if asks_for_help or (args and args[0] in self.commands) else ["run", *args])


@click.group(cls=_DefaultGroup)
def gate() -> None:
    """Is tonight worse than the accepted version? `gate [MODEL] --baseline DIR` compares, `gate promote` accepts.

    Exit codes of a comparison: 0 pass, 1 confirmed regression, 2 usage, 3 invalid, 4 inconclusive.
    """


@gate.command()
@click.argument("model", required=False)
@_BASELINE
@click.option("--candidates", help="Comma-separated, as ort@local-1; default: all of the baseline.")
@click.option("--artifact", "artifacts", multiple=True, metavar="ID=DIR", help="Compare this one, not a fresh one.")
@click.option(
    "--pairs", type=click.IntRange(8, 200), default=12, show_default=True, help="Pairs of slices in each measurement."
)
@click.option(
    "--slice-s", type=click.FloatRange(0.2, 600), help="Seconds of open loop in a slice; default: by the model's speed."
)
@click.option("--seed", type=click.IntRange(min=0), help="Default: another every night.")
@click.option(
    "--baseline-python",
    type=click.Path(path_type=Path),
    help="Interpreter that serves the baseline: `gate lock` has its packages.",
)
@click.option("--compile-timeout", type=click.FloatRange(min=1), default=900.0, show_default=True, help="Seconds per compiler.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Where night folders go.")
@click.option("--json", "as_json", is_flag=True, help="Print gate.json on standard output.")
def run(
    model: str | None,
    baseline: Path,
    candidates: str | None,
    artifacts: Sequence[str],
    pairs: int,
    slice_s: float | None,
    seed: int | None,
    baseline_python: Path | None,
    compile_timeout: float,
    out: Path,
    as_json: bool,
) -> None:
    """Compile tonight's version of every accepted candidate and compare it with the accepted one, side by side."""
    from harness.commands import gate as gating

    asked = gating.GateRequest(
        baseline=baseline,
        model=model,
        candidates=_names(candidates),
        artifacts=dict(_artifact(each) for each in artifacts),
        pairs=pairs,
        slice_s=slice_s,
        seed=seed,
        python=baseline_python,
        out=out,
        compile_timeout_s=compile_timeout,
    )
    raise SystemExit(gating.gate(asked, as_json=as_json))


@gate.command()
@click.argument("what", metavar="RUN|MODEL")
@_BASELINE
@click.option("--message", "-m", required=True, help="Why this is accepted.")
@click.option("--by", help="Who accepts it; default: git's author, else the user.")
@click.option("--candidates", help="Comma-separated, as ort@local-1; default: all that compile, or that the run ranked.")
@click.option("--payload", type=click.Path(path_type=Path), help="Folder of .npz, .npy or .json requests.")
@click.option("--shape", "shapes", multiple=True, help="NAME=1x128: fixes an input of an ONNX file with dynamic axes.")
@click.option("--compile-timeout", type=click.FloatRange(min=1), default=900.0, show_default=True, help="Seconds per compiler.")
@click.option("--json", "as_json", is_flag=True)
def promote(
    what: str,
    baseline: Path,
    message: str,
    by: str | None,
    candidates: str | None,
    payload: Path | None,
    shapes: Sequence[str],
    compile_timeout: float,
    as_json: bool,
) -> None:
    """Accept a version as the baseline: its artifacts, packages and environment, signed off and kept for good."""
    from harness.commands import gate_promote

    asked = gate_promote.PromoteRequest(
        what=what,
        baseline=baseline,
        message=message,
        by=by,
        candidates=_names(candidates),
        payload=payload,
        shapes=tuple(_shape(each) for each in shapes),
        compile_timeout_s=compile_timeout,
    )
    raise SystemExit(gate_promote.promote(asked, as_json=as_json))


@gate.command()
@_BASELINE
@click.option("--json", "as_json", is_flag=True)
def history(baseline: Path, as_json: bool) -> None:
    """What was accepted, every night since, how the gate fared in its own tests, and what creeps."""
    from harness.commands import gate_history

    raise SystemExit(gate_history.past(baseline, as_json=as_json))


@gate.command()
@_BASELINE
@click.argument("model", required=False)
def lock(baseline: Path, model: str | None) -> None:
    """The packages of the baseline, as pip reads them: for an interpreter to give to --baseline-python."""
    from harness.commands import gate as gating

    raise SystemExit(gating.locked(baseline, model))


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _artifact(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not separator or not name or not path:
        raise UsageError(f"--artifact {text!r} is not ID=DIR, as ort@local-1=build/artifact")
    return name, Path(path)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    found = _SHAPE.match(text)
    if not found:
        raise UsageError(f"--shape {text!r} is not NAME=1x3x224x224")
    return found["name"], tuple(int(size) for size in found["sizes"].split("x"))
