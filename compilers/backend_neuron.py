"""AWS Inferentia and Trainium: the program traced by torch_neuronx (torch_neuron for Inferentia 1) into a compiled module.

PyPI's packages of these names are placeholders that import and do nothing, so that the toolchain is here is found out by
compiling a small program. Where it is not, the row says what AWS's operator lists say of this graph.
"""

from __future__ import annotations

import glob
import importlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from compilers import onnx_checks, spec_io
from compilers.backend_torch import TorchSession, load_program
from compilers.interface import CannotCompile, Unavailable, other_precision
from compilers.neuron import coverage
from compilers.precision import BF16, FP16, FP32
from compilers.targets import resolve
from harness.nouns import CompileOptions, ModelSpec

PRECISIONS = (FP32, BF16, FP16)
DEVICES = "/dev/neuron*"
INDEX = "https://pip.repos.neuron.amazonaws.com"
_FILE, _TOOLCHAIN = "model.pt", "toolchain.txt"
_CASTS = {FP32: ["--auto-cast", "none"], BF16: ["--auto-cast", "all", "--auto-cast-type", "bf16"]}
_CASTS[FP16] = ["--auto-cast", "all", "--auto-cast-type", "fp16"]


class Neuron:
    name = "neuron"
    extra = "torch"
    computes = True
    threads_matter = False
    reads_onnx = False

    def __init__(self) -> None:
        # Whichever are installed make the artifact; that none is, is for the probe to say.
        self.packages: tuple[str, ...] = (
            "torch",
            *filter(_installed, ("torch-neuronx", "torch-neuron", "neuronx-cc", "neuron-cc")),
        )

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        if resolve(options.target, options.target_options).builder != "neuron":
            return "neuron compiles for Inferentia and Trainium only; give --target ml_inf2"
        return other_precision(options, PRECISIONS)

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        target = resolve(options.target, options.target_options)
        generation = 1 if "inf1" in target.name else 2
        covered = coverage.check(_nodes(folder), generation=generation)
        module = "torch_neuron" if generation == 1 else "torch_neuronx"
        missing = why_no_toolchain(module, out)
        if missing is not None:
            get = target.why_not or f"get torch-neuronx and neuronx-cc from {INDEX}"
            raise Unavailable(f"no working {module} here ({missing}); {get}. {covered.words[0].upper()}{covered.words[1:]}")
        if not model.has_program:
            raise Unavailable(f"{module} compiles torch programs, and an ONNX file has none. {covered.words}")
        if not glob.glob(DEVICES):
            raise Unavailable(
                f"there is no {DEVICES} to compare its outputs on; compile on the instance itself. {covered.words}"
            )
        arguments = [*_CASTS[options.precision], *str(dict(target.options).get("command-line", "")).split()]
        try:
            traced = _trace(
                module,
                load_program(folder / spec_io.PROGRAM).module(check_guards=False),
                _example(folder, model),
                arguments,
                out,
            )
            traced.save(str(out / _FILE))
        except Exception as error:
            raise CannotCompile(f"{module}: {type(error).__name__}: {onnx_checks.first_line(error)}") from error
        (out / _TOOLCHAIN).write_text(module, encoding="utf-8")
        return {"toolchain": module, "compiler_arguments": " ".join(arguments), "coverage": covered.to_json()}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> TorchSession:
        import torch

        importlib.import_module((artifact / _TOOLCHAIN).read_text(encoding="utf-8"))  # its operators, which the file calls
        load: Any = torch.jit.load
        return TorchSession(load(str(artifact / _FILE)), model)


def why_no_toolchain(module: str, out: Path) -> str | None:
    """Why `module` does not compile a product of two by two here, or None when it does."""
    import torch

    class Probe(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x @ x)

    scratch = out.with_name("probe")
    scratch.mkdir(exist_ok=True)
    try:
        _trace(module, Probe(), (torch.ones(2, 2),), [], scratch)
    except Exception as error:  # noqa: BLE001 - a placeholder, a compiler that is not there or a broken one: any of them
        return f"{type(error).__name__}: {onnx_checks.first_line(error)}"
    return None


def _trace(module: str, program: Any, example: Sequence[Any], arguments: Sequence[str], scratch: Path) -> Any:
    trace = importlib.import_module(module).trace
    return trace(program, tuple(example), compiler_args=list(arguments), compiler_workdir=str(scratch))


def _example(folder: Path, model: ModelSpec) -> tuple[Any, ...]:
    import torch

    payload = spec_io.read_payloads(folder)[0]
    return tuple(torch.from_numpy(payload[spec.name].copy()) for spec in model.inputs)


def _nodes(folder: Path) -> list[tuple[str, str]]:
    proto = onnx_checks.parse((folder / spec_io.ONNX).read_bytes(), folder)
    return [(node.op_type, node.name or next(iter(node.output), "")) for node in onnx_checks.nodes(proto)]


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
