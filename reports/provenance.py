"""Where and with what a result was measured, flattened into names and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reports import result as read
from reports import text
from reports.details import Pair
from reports.result import Result

_GENERATOR = (
    ("capacity_per_s", "generator capacity", "requests/s"),
    ("cpu_ms_per_request", "generator CPU per request", "ms"),
    ("null_p50_ms", "generator p50 against an empty server", "ms"),
)


def _pairs(data: Mapping[str, Any], above: str = "") -> Iterator[Pair]:
    for key, value in data.items():
        name = f"{above} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _pairs(value, name)
        elif key.endswith("_bytes"):
            yield Pair(name=text.name(name.removesuffix(" bytes")), value=text.size(read.number(data, key)))
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            yield from _pairs({f"{key}_{place}": one for place, one in enumerate(value, start=1)}, above)
        elif isinstance(value, list):
            yield Pair(
                name=text.name(name), value=text.clean(", ".join(text.DASH if one is None else str(one) for one in value))
            )
        else:
            said = {None: text.DASH, True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else value
            yield Pair(name=text.name(name), value=text.clean(said))


def packages(result: Result) -> Iterator[Pair]:
    """The versions of the packages that took part."""
    return _pairs(read.mapping(result, "environment", "packages"))


def environment(result: Result) -> Iterator[Pair]:
    """The machine, the run, the model and the load generator, in that order."""
    found = read.mapping(result, "environment")
    yield from _pairs({key: value for key, value in found.items() if key != "packages"})
    yield from _pairs(read.mapping(result, "run"), "run")
    for key in ("digest", "parameters", "flops", "weights", "weights_note", "reference"):
        value = read.number(result, "model", key)
        said = text.compact(value) if value is not None else read.text(result, "model", key)
        yield Pair(name=f"model {key.replace('_', ' ')}", value=text.clean(said) if said else text.DASH)
    for side in ("inputs", "outputs"):
        for tensor in read.rows(result, "model", side):
            shape = "×".join("?" if size is None else f"{size:g}" for size in read.numbers(tensor, "shape"))
            name, dtype = (text.name(read.text(tensor, key) or text.DASH) for key in ("name", "dtype"))
            yield Pair(name=f"model {side[:-1]}", value=f"{name}: {dtype} {shape}")
    for key, name, unit in _GENERATOR:
        measured = read.number(result, "generator", key)
        yield Pair(name=name, value=text.DASH if measured is None else f"{text.number(measured)} {unit}")
