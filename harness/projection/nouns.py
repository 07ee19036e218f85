"""Hardware, work and published results as the projection sees them."""

from __future__ import annotations

from dataclasses import dataclass, field

CPU, GPU = "cpu", "gpu"
FP32, TF32, FP16, INT8 = "fp32", "tf32", "fp16", "int8"
LEVEL = 0.9
"""Of every projected interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A processor, or one core of it. `peaks` are GFLOP/s (int8: GOP/s) of the whole by precision, dense; `isa` is its class as
    in `machines`; `gb_per_s` None where it is not known and then does not limit."""

    name: str
    kind: str
    family: str
    peaks: dict[str, float]
    isa: str = ""
    cores: int = 1
    gb_per_s: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One operator: FLOPs, elements of weights, and elements of activations that it reads and writes."""

    flops: float
    weights: float
    activations: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One inference. `operators` counts those that an accelerator would launch."""

    layers: tuple[Layer, ...]
    operators: int

    @property
    def flops(self) -> float:
        return sum(layer.flops for layer in self.layers)

    @property
    def weights(self) -> float:
        return sum(layer.weights for layer in self.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """`ms` for a batch of `batch` on `hardware`; `measure` is latency (one at a time) or throughput (all of it busy)."""

    runtime: str
    model: str
    precision: str
    batch: int
    measure: str
    hardware: str
    ms: float
    source: str
    date: str

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """What must agree before two hardwares are compared."""
        return self.runtime, self.model, self.precision, self.batch, self.measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Everything that was published and is used."""

    hardware: dict[str, Hardware] = field(default_factory=dict)
    models: dict[str, Work] = field(default_factory=dict)
    results: tuple[Published, ...] = ()

    def without(self, hardware: str) -> Tables:
        """The same without the results of one hardware."""
        kept = tuple(each for each in self.results if each.hardware != hardware)
        return Tables(hardware=self.hardware, models=self.models, results=kept)

    def of(self, kind: str) -> tuple[Published, ...]:
        return tuple(each for each in self.results if self.hardware[each.hardware].kind == kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A factor with its 90 % interval, what class it belongs to and what bounds it."""

    value: float
    low: float
    high: float
    kind: str
    bound: str
