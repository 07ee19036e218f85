"""The shipped tables of published results, of the hardware they were measured on, and of the models."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cache
from importlib import resources

from harness.projection.nouns import CPU, FP16, FP32, INT8, TF32, Hardware, Layer, Published, Tables, Work

_TERA = {"fp32_tflops": FP32, "fp16_tflops": FP16, "tf32_tflops": TF32, "int8_tops": INT8}


@cache
def load() -> Tables:
    """Read once."""
    return Tables(
        hardware={row["key"]: _hardware(row) for row in _rows("published_hardware.csv")},
        models={row["model"]: _work(row) for row in _rows("published_models.csv")},
        results=tuple(_result(row) for row in _rows("published_results.csv")),
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    with resources.files("harness").joinpath(f"data/{name}").open(encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _hardware(row: dict[str, str]) -> Hardware:
    if row["kind"] == CPU:
        cores, clock = int(row["cores"]), float(row["clock_ghz"])
        peaks = {FP32: cores * clock * float(row["fp32_per_cycle"]), INT8: cores * clock * float(row["int8_per_cycle"])}
        return Hardware(name=row["key"], kind=CPU, family=row["family"], peaks=peaks, isa=row["isa"], cores=cores)
    peaks = {precision: 1e3 * float(row[column]) for column, precision in _TERA.items() if row[column]}
    bandwidth = float(row["gb_per_s"])
    return Hardware(name=row["key"], kind=row["kind"], family=row["family"], peaks=peaks, gb_per_s=bandwidth)


def _work(row: dict[str, str]) -> Work:
    only = Layer(
        flops=1e9 * float(row["gflops"]),
        weights=1e6 * float(row["parameters_m"]),
        activations=2e6 * float(row["activations_m"]),
    )
    return Work(layers=(only,), operators=int(row["operators"]))


def _result(row: dict[str, str]) -> Published:
    return Published(
        runtime=row["runtime"],
        model=row["model"],
        precision=row["precision"],
        batch=int(row["batch"]),
        measure=row["measure"],
        hardware=row["hardware"],
        ms=float(row["ms"]),
        source=row["source"],
        date=row["date"],
    )
