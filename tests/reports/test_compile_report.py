from __future__ import annotations

from typing import Any

from reports import compile_report

REPORT: dict[str, Any] = {
    "digest": "abc",
    "operators": {"covered": 61, "scheduled": 59, "fallen_back": 2, "fallen_back_share": 0.03, "by_kind": {"conv2d": 0.9}},
    "latency_ms": {
        "eager": None,
        "onnxruntime": {"p50": 36.4, "low": 36.0, "high": 37.1, "rounds": 9},
        "artifact": {"p50": 30.0, "low": 29.5, "high": 30.2, "rounds": 9},
    },
    "times_as_fast_as": {"onnxruntime": 1.213},
    "peak_gflop_per_s": 262.4,
    "layers": [
        {"name": f"conv{at}", "time_ms": 1.5, "time_share": 0.05, "gflop_per_s": 210.0, "of_peak": 0.8} for at in range(20)
    ],
    "load_s": 0.25,
    "first_inference_ms": 41.0,
    "compile_peak_bytes": 1 << 30,
    "not_reproducible": None,
    "reasons": {"latency_ms.eager": "an ONNX file has no torch program"},
}


def test_everything_measured_is_told_with_its_unit() -> None:
    told = dict(compile_report.pairs(REPORT))
    assert told["Operators"] == "61 covered, 59 scheduled, 2 fallen back, 3 % of the time"
    assert told["Latency, ONNX Runtime"] == "36.4 ms (quartiles 36 to 37.1); the artifact is 1.21 times as fast"
    assert told["Peak of one core"] == "262 GFLOP/s"
    assert told["Layer conv0"] == "1.50 ms, 5 % of the time, 210 GFLOP/s, 80 % of the peak"
    assert told["Compiler's peak memory"] == "1.00 GiB"
    assert sum(name.startswith("Layer") for name in told) == compile_report.LAYERS


def test_what_was_not_measured_has_its_reason() -> None:
    assert dict(compile_report.pairs(REPORT))["Latency, eager torch"] == "– (an ONNX file has no torch program)"
    empty = {"reasons": {"latency_ms": "the child that measures took longer than 180 s", "layers": "torch does not time them"}}
    told = dict(compile_report.pairs(empty))
    assert "took longer" in str(told["Latency, this artifact"])
    assert "does not time" in str(told["Layers"])
    assert told["Digest"] is None


def test_a_terminal_gets_the_lines_that_are_known() -> None:
    lines = compile_report.lines(REPORT)
    assert "  Digest: abc" in lines
    assert not any(": None" in line for line in lines)
    assert compile_report.lines({}) == [line for line in compile_report.lines({}) if ": " in line]
