"""The report on a compiled artifact as names and values, for the page and for a terminal alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reports import result as read
from reports import text

LAYERS = 8
"""The slowest of them, which are shown; result.json has all."""

_ENGINES = {"eager": "eager torch", "onnxruntime": "ONNX Runtime", "artifact": "this artifact"}


def pairs(report: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Name and value of everything the report tells, None where nothing was measured and no reason is known."""
    yield "Operators", _operators(report)
    for kind, share in list(read.mapping(report, "operators", "by_kind").items())[:LAYERS]:
        yield f"Share of {text.name(kind)}", text.percent(share if isinstance(share, int | float) else None)
    for engine, words in _ENGINES.items():
        yield f"Latency, {words}", _latency(report, engine)
    peak = read.number(report, "peak_gflop_per_s")
    yield "Peak of one core", _or_reason(report, "peak_gflop_per_s", f"{peak:.0f} GFLOP/s" if peak is not None else None)
    yield "First load", text.duration(read.number(report, "load_s"))
    first = read.number(report, "first_inference_ms")
    yield "First inference", None if first is None else text.duration(first / 1e3)
    yield "Compiler's peak memory", text.size(read.number(report, "compile_peak_bytes"))
    yield "Digest", read.text(report, "digest")
    yield "Not the same every time", read.text(report, "not_reproducible")
    yield from _layers(report)


def _operators(report: Mapping[str, Any]) -> str | None:
    found = read.mapping(report, "operators")
    covered, fallen = read.number(found, "covered"), read.number(found, "fallen_back")
    if covered is None or fallen is None:
        return _or_reason(report, "operators", None)
    share = read.number(found, "fallen_back_share")
    back = f", {text.percent(share)} of the time" if fallen else ""
    return f"{covered:.0f} covered, {covered - fallen:.0f} scheduled, {fallen:.0f} fallen back{back}"


def _latency(report: Mapping[str, Any], engine: str) -> str | None:
    found = read.mapping(report, "latency_ms", engine)
    middle, low, high = (read.number(found, key) for key in ("p50", "low", "high"))
    if middle is None or low is None or high is None:
        return _or_reason(report, f"latency_ms.{engine}", None) or _or_reason(report, "latency_ms", None)
    times = read.number(report, "times_as_fast_as", engine)
    ratio = "" if times is None else f"; the artifact is {times:.2f} times as fast"
    return f"{middle:.3g} ms (quartiles {low:.3g} to {high:.3g}){ratio}"


def _layers(report: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    layers = read.rows(report, "layers")
    if not layers:
        yield "Layers", _or_reason(report, "layers", None)
    for layer in layers[:LAYERS]:
        said = [
            f"{text.number(read.number(layer, 'time_ms'))} ms",
            f"{text.percent(read.number(layer, 'time_share'))} of the time",
        ]
        rate, share = read.number(layer, "gflop_per_s"), read.number(layer, "of_peak")
        if rate is not None:
            said.append(f"{rate:.0f} GFLOP/s")
        if share is not None:
            said.append(f"{text.percent(share)} of the peak")
        yield f"Layer {text.name(read.text(layer, 'name') or text.DASH, 48)}", ", ".join(said)


def _or_reason(report: Mapping[str, Any], key: str, value: str | None) -> str | None:
    reason = read.text(read.mapping(report, "reasons"), key)
    return value if value is not None or reason is None else f"{text.DASH} ({text.clean(reason)})"


def lines(report: Mapping[str, Any]) -> list[str]:
    """The report for a terminal, a line for each that is known."""
    return [f"  {name}: {value}" for name, value in pairs(report) if value is not None]
