"""The child that turns an untrusted model into a prepared folder: `python -m compilers.intake_worker job.json`.

It ends with 0 and `answer.json` beside the job, which holds either the facts of the finished folder or the one-line reason
for refusing the model. Anything else (a crash, a limit) is for the parent to report.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compilers import cache, calibration, flops, onnx_checks, onnx_shapes, payload_files, spec_io
from compilers.models import VOCABULARY, builtin
from compilers.parity import distinct_top1
from compilers.payloads import PAYLOADS, seeded
from harness.errors import UsageError
from harness.nouns import ModelSpec, TensorSpec
from harness.supervise import die_with_parent

_TORCH_REFERENCE = "eager torch, fp32"
_ONNX_REFERENCE = "ONNX Runtime with all graph optimisations off"
_MAX_REFERENCE_BYTES = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What one kind of source yielded beside the files it wrote: `reference` is `[payload][output]`."""

    inputs: tuple[TensorSpec, ...]
    output_names: list[str]
    payloads: list[dict[str, np.ndarray]]
    reference: list[list[np.ndarray]]
    digest: str
    weights: str
    weights_note: str
    parameters: int | None


def main(argv: list[str]) -> int:
    die_with_parent()
    job_path = Path(argv[1])
    job: Any = cache.read_json(job_path)
    try:
        answer = _prepare(job, Path(job["out"]))
    except UsageError as error:
        answer = {"refused": str(error)}
    cache.write_json(job_path.with_name("answer.json"), answer)
    return 0


def _prepare(job: Mapping[str, Any], out: Path) -> dict[str, Any]:
    if job["kind"] == "builtin":
        return _from_builtin(job, out)
    source, shapes = Path(job["source"]), {name: tuple(shape) for name, shape in job["shapes"].items()}
    return _from_program(job, source, shapes, out) if job["kind"] == "pt2" else _from_onnx(job, source, shapes, out)


def _from_builtin(job: Mapping[str, Any], out: Path) -> dict[str, Any]:
    from compilers import builtin as networks
    from compilers import program as programs

    facts = builtin(job["name"])
    module, weights, note = networks.build(facts)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    inputs = tuple(replace(spec, shape=tuple(job["shapes"].get(spec.name, spec.shape))) for spec in facts.inputs)
    program = programs.export(module, inputs)
    programs.save(program, out / spec_io.PROGRAM)
    names = [spec.name for spec in inputs]
    programs.to_onnx(program, names, [spec.name for spec in facts.outputs], out / spec_io.ONNX)
    payloads = _payloads(job, inputs, {"input_ids": VOCABULARY})
    reference = programs.eager_outputs(module, names, payloads)
    digest = cache.file_digest(out / spec_io.ONNX)
    found = _Found(
        inputs=inputs,
        output_names=[spec.name for spec in facts.outputs],
        payloads=payloads,
        reference=reference,
        digest=digest,
        weights=weights,
        weights_note=note,
        parameters=parameters,
    )
    return _finish(job, out, found)


def _from_program(job: Mapping[str, Any], source: Path, shapes: Mapping[str, tuple[int, ...]], out: Path) -> dict[str, Any]:
    from compilers import program as programs
    from compilers import pt2_checks

    clean = out / spec_io.PROGRAM
    pt2_checks.clean_copy(source, clean)
    digest = _same_file(source, job["digest"])
    loaded = programs.load_program(clean)
    inputs = tuple(
        TensorSpec(name=name, dtype=programs.numpy_dtype(dtype, name), shape=_static(name, shape, shapes.get(name), source))
        for name, dtype, shape in programs.flat_inputs(loaded)
    )
    unknown = shapes.keys() - {spec.name for spec in inputs}
    if unknown or not inputs:
        raise UsageError(
            f"{source}: takes inputs {', '.join(s.name for s in inputs) or 'none'}, not {', '.join(sorted(unknown))}"
        )
    module = programs.Flat(loaded)
    program = programs.export(module, inputs)
    programs.save(program, clean)
    programs.to_onnx(program, [spec.name for spec in inputs], None, out / spec_io.ONNX)
    model = onnx_checks.parse((out / spec_io.ONNX).read_bytes(), source)
    payloads = _payloads(job, inputs, onnx_shapes.index_limits(model))
    reference = programs.eager_outputs(program.module(), [spec.name for spec in inputs], payloads)
    return _finish(
        job,
        out,
        _Found(
            inputs=inputs,
            output_names=[value.name for value in model.graph.output],
            payloads=payloads,
            reference=reference,
            digest=digest,
            weights="file",
            weights_note=f"from {source.name}",
            parameters=sum(loaded.state_dict[name].numel() for name in loaded.graph_signature.parameters) or None,
        ),
    )


def _static(name: str, shape: tuple[int | None, ...], given: tuple[int, ...] | None, source: Path) -> tuple[int, ...]:
    """The shape to export at, by the same rules as for ONNX."""
    if given is None:
        if None in shape[1:]:
            shown = "x".join(str(size or "?") for size in shape)
            raise UsageError(f"{source}: input {name!r} has the open shape {shown}; give it, such as --shape {name}=1x128")
        return tuple(size or 1 for size in shape)
    if len(given) != len(shape) or any(want not in (None, got) for got, want in zip(given, shape, strict=True)):
        raise UsageError(
            f"--shape {name}={'x'.join(map(str, given))}: the model's input is {'x'.join(str(s or '?') for s in shape)}"
        )
    return given


def _from_onnx(job: Mapping[str, Any], source: Path, shapes: Mapping[str, tuple[int, ...]], out: Path) -> dict[str, Any]:
    from compilers import reference as references

    content = source.read_bytes()
    digest = _same_file(source, job["digest"])
    model = onnx_checks.parse(content, source)
    external = onnx_checks.embed_external_data(model, source)
    onnx_checks.check_structure(model, source, references.contrib_operators())
    onnx_shapes.fix_shapes(model, shapes, source)
    model = onnx_shapes.infer(model, source)
    inputs = onnx_shapes.input_specs(model)
    (out / spec_io.ONNX).write_bytes(model.SerializeToString())
    payloads = _payloads(job, inputs, onnx_shapes.index_limits(model))
    names, reference = references.unoptimised_outputs(out / spec_io.ONNX, payloads, _threads())
    _make_static(model, source, out)
    found = _Found(
        inputs=inputs,
        output_names=names,
        payloads=payloads,
        reference=reference,
        digest=digest,
        weights="file",
        weights_note=f"from {source.name}",
        parameters=onnx_shapes.parameter_count(model),
    )
    return {**_finish(job, out, found), "external": external}


def _make_static(model: Any, source: Path, out: Path) -> None:
    """Where shapes are computed by the graph itself, replace model.onnx by one with these computations done.

    Ahead-of-time compilers need static shapes. The reference was computed before, so parity judges this step too.
    """
    from compilers import reference as references

    if onnx_shapes.is_static(model):
        return
    folded = out / "folded.onnx"
    references.fold_constants(model.SerializeToString(), folded)
    simpler = onnx_checks.parse(folded.read_bytes(), source)
    folded.unlink()
    onnx_shapes.drop_unused_domains(simpler)
    (out / spec_io.ONNX).write_bytes(onnx_shapes.infer(simpler, source).SerializeToString())


def _same_file(source: Path, digest: str) -> str:
    """`digest` again; raises UsageError when the file is not the one that the parent hashed."""
    if cache.file_digest(source) != digest:
        raise UsageError(f"{source}: changed while it was read; try again")
    return digest


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def _payloads(job: Mapping[str, Any], inputs: tuple[TensorSpec, ...], limits: Mapping[str, int]) -> list[dict[str, np.ndarray]]:
    """The user's payloads first, seeded ones up to the number that parity needs; what is put aside to calibrate is written."""
    given = payload_files.load(Path(job["payload_dir"]), inputs) if job["payload_dir"] else []
    given, aside = calibration.split(given)
    if aside:
        spec_io.write_payloads(Path(job["out"]), aside, spec_io.CALIBRATION)
    return given + seeded(inputs, count=max(0, PAYLOADS - len(given)), limits=limits)


def _finish(job: Mapping[str, Any], out: Path, found: _Found) -> dict[str, Any]:
    """Write payloads, reference and spec beside the model."""
    outputs = _output_specs(found.output_names, found.reference)
    model = onnx_shapes.infer(onnx_checks.parse((out / spec_io.ONNX).read_bytes(), out), out)
    counted = flops.count(onnx_shapes.operations(model))
    program = (out / spec_io.PROGRAM).exists()
    spec = ModelSpec(
        name=job["name"],
        digest=found.digest,
        inputs=found.inputs,
        outputs=outputs,
        parameters=found.parameters,
        flops=counted.flops,
        weights=found.weights,
        weights_note=found.weights_note,
        reference=_TORCH_REFERENCE if program else _ONNX_REFERENCE,
        batch_axis=0 if all(tensor.shape and tensor.shape[0] == 1 for tensor in [*found.inputs, *outputs]) else None,
        has_program=program,
    )
    spec_io.write_payloads(out, found.payloads)
    spec_io.write_reference(out, found.reference)
    spec_io.write_spec(out, spec)
    cache.write_json(out / spec_io.NOTES, _notes(spec, counted, found.reference, given=job["payload_dir"]))
    return {"digest": found.digest}


def _output_specs(names: list[str], reference: list[list[np.ndarray]]) -> tuple[TensorSpec, ...]:
    """Outputs as they really came; raises UsageError for those that cannot be served or compared."""
    size_bytes = sum(array.nbytes for arrays in reference for array in arrays)
    if size_bytes > _MAX_REFERENCE_BYTES:
        raise UsageError(f"the outputs over {len(reference)} payloads take {size_bytes >> 20} MiB, too much to compare")
    for index, name in enumerate(names):
        arrays = [result[index] for result in reference]
        if not all(isinstance(array, np.ndarray) and array.dtype.kind in "biuf" for array in arrays):
            raise UsageError(f"output {name!r} is not a tensor of numbers, so it cannot be served")
        if len({array.shape for array in arrays}) > 1:
            raise UsageError(f"the shape of output {name!r} depends on the values of the input, which is not supported")
        if not all(np.isfinite(array).all() for array in arrays):
            raise UsageError(f"output {name!r} of the reference is NaN or infinite for some payload; try --payload DIR")
    first = reference[0]
    return tuple(TensorSpec(name=name, dtype=first[at].dtype.name, shape=first[at].shape) for at, name in enumerate(names))


def _notes(spec: ModelSpec, counted: flops.Count, reference: list[list[np.ndarray]], *, given: str | None) -> list[str]:
    notes = [f"weights: {spec.weights}, {spec.weights_note}", f"reference outputs: {spec.reference}"]
    if counted.reason is not None:
        notes.append(f"FLOPs are not known: {counted.reason}")
    if spec.parameters is None:
        notes.append("parameters are not known: the file has no trainable weights")
    if distinct_top1(reference) == 1:
        notes.append("top-1 is the same for every payload, so its agreement says little; the relative error decides")
    if given is None:
        notes.append("payloads are seeded and random in structure; give real ones with --payload DIR")
    return notes


if __name__ == "__main__":
    sys.exit(main(sys.argv))
