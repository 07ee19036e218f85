from __future__ import annotations

from compilers import latency
from compilers.interface import Layer


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def takes(self, seconds: float) -> None:
        self.now_s += seconds

    def __call__(self) -> float:
        return self.now_s


def test_engines_are_called_in_turn_and_each_has_its_own_median() -> None:
    clock, order = Clock(), list[str]()

    def engine(name: str, seconds: float) -> None:
        order.append(name)
        clock.takes(seconds)

    took = latency.in_turn({"a": lambda: engine("a", 0.010), "b": lambda: engine("b", 0.030)}, 0.5, clock)
    assert took["a"]["p50"] == 10.0
    assert took["b"]["p50"] == 30.0
    assert took["a"]["rounds"] == took["b"]["rounds"] > latency._LEAST_ROUNDS
    assert order[:16] == ["a"] * 4 + ["b"] * 8 + ["a"] * 4, "the order turns from round to round"


def test_a_slow_model_is_called_in_three_rounds_only() -> None:
    clock = Clock()
    took = latency.in_turn({"slow": lambda: clock.takes(5.0)}, 1.0, clock)
    assert took["slow"] == {"p50": 5000.0, "low": 5000.0, "high": 5000.0, "rounds": 3}


def test_layers_have_their_rate_beside_the_peak() -> None:
    layers = [
        Layer(name="relu", kind="Relu", time_ns=1_000, flops=None, fallen_back=False),
        Layer(name="conv", kind="Conv", time_ns=9_000, flops=900_000, fallen_back=True),
    ]
    first, second = latency.layers_table(layers, 200.0)
    assert (first["name"], first["gflop_per_s"], first["of_peak"], first["time_share"]) == ("conv", 100.0, 0.5, 0.9)
    assert (second["gflop_per_s"], second["of_peak"]) == (None, None)
    assert latency.layers_table(layers, None)[0]["of_peak"] is None
    seen = latency.coverage(layers)
    assert (seen["covered"], seen["scheduled"], seen["fallen_back"], seen["fallen_back_share"]) == (2, 1, 1, 0.9)
    assert seen["by_kind"] == {"Conv": 0.9, "Relu": 0.1}
