from __future__ import annotations

from pathlib import Path

import numpy as np

from compilers import calibration, spec_io
from compilers.intake import resolve
from compilers.payloads import PAYLOADS, seeded
from compilers.spec_io import PreparedModel
from harness.nouns import TensorSpec
from tests.compilers.graphs import embedding, save

IMAGE = (TensorSpec(name="x", dtype="float32", shape=(1, 3)),)


def rows(payloads: list[dict[str, np.ndarray]]) -> set[bytes]:
    return {b"".join(array.tobytes() for array in payload.values()) for payload in payloads}


def test_few_payloads_are_all_compared() -> None:
    given = seeded(IMAGE, count=PAYLOADS)
    assert calibration.split(given) == (given, [])
    assert calibration.split([]) == ([], [])


def test_more_than_parity_needs_are_put_aside_and_never_compared() -> None:
    given = seeded(IMAGE, count=PAYLOADS + 10)
    compared, aside = calibration.split(given)
    assert (len(compared), len(aside)) == (PAYLOADS, 10)
    assert not rows(compared) & rows(aside)
    for many, kept in ((100, 50), (1000, 1000 - calibration.COUNT)):
        compared, aside = calibration.split(seeded(IMAGE, count=many))
        assert (len(compared), len(aside)) == (kept, many - kept)


def test_seeded_ones_differ_from_those_compared_and_keep_to_the_table(tmp_path: Path) -> None:
    path = save(embedding(), tmp_path / "table.onnx")
    model = resolve(str(path), tmp_path / "cache", shapes={"ids": (1, 6)}, log=tmp_path / "log")
    made, source = calibration.payloads(model.folder, model.spec)
    assert not rows(made) & rows(spec_io.read_payloads(model.folder))
    assert 2 < max(int(payload["ids"].max()) for payload in made) < 50
    assert source == "128 seeded payloads, none of them compared"


def test_given_ones_come_from_the_prepared_folder(prepared: PreparedModel, tmp_path: Path) -> None:
    (tmp_path / "payloads").mkdir()
    given = seeded(prepared.spec.inputs, count=PAYLOADS + 3, seed=9)
    for index, payload in enumerate(given):
        spec_io.write_npz(tmp_path / "payloads" / f"{index:03d}.npz", payload)
    source = prepared.folder / "model.onnx"
    model = resolve(str(source), tmp_path / "cache", payload_dir=tmp_path / "payloads", log=tmp_path / "log")
    made, said = calibration.payloads(model.folder, model.spec)
    assert rows(made) == rows(given[-3:])
    assert not rows(made) & rows(spec_io.read_payloads(model.folder))
    assert said == "3 of the given payloads, none of them compared"
