"""ModelSpec and Parity to JSON and back, and the arrays of a prepared model's folder."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compilers.cache import read_json, write_json
from harness.errors import UsageError
from harness.nouns import ModelSpec, TensorSpec, Tolerance

SPEC, NOTES = "spec.json", "notes.json"
ONNX, PROGRAM = "model.onnx", "model.pt2"
PAYLOADS, CALIBRATION, REFERENCE = "payloads", "calibration", "reference.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedModel:
    """A model ready to compile: `folder` holds model.onnx, model.pt2 when there is a program, spec.json, payloads/ and
    reference.npz. `notes` are one-line facts a user should see, such as why a figure is absent."""

    spec: ModelSpec
    folder: Path
    notes: tuple[str, ...] = ()


def spec_to_json(spec: ModelSpec) -> dict[str, Any]:
    """`spec` as JSON values."""
    return asdict(spec)


def spec_from_json(value: Mapping[str, Any]) -> ModelSpec:
    """The inverse of `spec_to_json`; raises KeyError, TypeError or ValueError on anything else."""
    return ModelSpec(
        **{
            **value,
            "inputs": tuple(_tensor(entry) for entry in value["inputs"]),
            "outputs": tuple(_tensor(entry) for entry in value["outputs"]),
            "tolerance": Tolerance(**value["tolerance"]),
        }
    )


def _tensor(value: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(name=str(value["name"]), dtype=str(value["dtype"]), shape=tuple(int(size) for size in value["shape"]))


def write_spec(folder: Path, spec: ModelSpec) -> None:
    write_json(folder / SPEC, spec_to_json(spec))


def read_spec(folder: Path) -> ModelSpec:
    """The spec of a prepared model's folder; raises UsageError when it is not one."""
    value = read_json(folder / SPEC)
    try:
        return spec_from_json(value or {})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{folder} is not a prepared model: {SPEC} is missing or damaged; prepare the model again") from error


def read_prepared(folder: Path) -> PreparedModel:
    """A prepared model from its folder; raises UsageError when it is not one."""
    notes = read_json(folder / NOTES)
    return PreparedModel(spec=read_spec(folder), folder=folder, notes=tuple(notes) if isinstance(notes, list) else ())


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An .npz with `arrays` under their own names; numpy.savez would take some of them (`file`) for its parameters."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name; raises ValueError, OSError or zipfile.BadZipFile on anything else."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def write_payloads(folder: Path, payloads: Sequence[Mapping[str, np.ndarray]], kind: str = PAYLOADS) -> None:
    """One payloads/NNN.npz per payload, an array per input name."""
    (folder / kind).mkdir()
    for index, payload in enumerate(payloads):
        write_npz(folder / kind / f"{index:03d}.npz", payload)


def read_payloads(folder: Path) -> list[dict[str, np.ndarray]]:
    """The payloads in order, each {input name: array}."""
    return [read_npz(path) for path in sorted((folder / PAYLOADS).glob("*.npz"))]


def read_calibration(folder: Path) -> list[dict[str, np.ndarray]]:
    """The user's payloads that were put aside for calibration; none where too few were given."""
    return [read_npz(path) for path in sorted((folder / CALIBRATION).glob("*.npz"))]


def write_reference(folder: Path, outputs: Sequence[Sequence[np.ndarray]]) -> None:
    """`outputs[payload][output]`, stacked to one array [payloads, *shape] named output_<index> per output."""
    stacked = {f"output_{at}": np.stack(arrays) for at, arrays in enumerate(zip(*outputs, strict=True))}
    write_npz(folder / REFERENCE, stacked)


def read_reference(folder: Path) -> list[list[np.ndarray]]:
    """The reference outputs as `[payload][output]`."""
    stacked = list(read_npz(folder / REFERENCE).values())
    return [[array[index] for array in stacked] for index in range(len(stacked[0]))]
