"""What a tunable kernel computes, as plain values: the shapes that a rule's parameters depend on. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvShape:
    """A 2-d convolution: sizes in elements, padding as (top, left, bottom, right)."""

    batch: int
    channels: int
    height: int
    width: int
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def out_height(self) -> int:
        top, _, bottom, _ = self.padding
        return (self.height + top + bottom - (self.kernel[0] - 1) * self.dilation[0] - 1) // self.strides[0] + 1

    @property
    def out_width(self) -> int:
        _, left, _, right = self.padding
        return (self.width + left + right - (self.kernel[1] - 1) * self.dilation[1] - 1) // self.strides[1] + 1

    @property
    def is_pointwise(self) -> bool:
        return self.kernel == (1, 1) and not any(self.padding) and self.groups == 1

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.channels == self.filters and self.groups > 1

    @property
    def suits_winograd(self) -> bool:
        plain = self.strides == self.dilation == (1, 1) and self.groups == 1 and self.kernel == (3, 3)
        # With few channels the transforms outweigh what the products save.
        return plain and min(self.channels, self.filters) >= 32

    @property
    def flops(self) -> int:
        """Multiplications and additions of the definition, however they are computed."""
        taps = self.kernel[0] * self.kernel[1] * self.channels // self.groups
        return 2 * self.batch * self.filters * self.out_height * self.out_width * taps


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A convolution with a constant weight, in a blocked layout; `in_chunk` is None where the data is not blocked."""

    shape: ConvShape
    in_chunk: int | None
    out_chunk: int

    @property
    def weight_bytes(self) -> int:
        return 4 * self.shape.filters * self.shape.channels // self.shape.groups * prod(self.shape.kernel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A matrix product [rows, depth] x [depth, columns] of which the right side is constant."""

    rows: int
    depth: int
    columns: int

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.depth * self.columns

    @property
    def weight_bytes(self) -> int:
        return 4 * self.depth * self.columns


Work = Convolution | Product


def describe(work: Work) -> dict[str, Any]:
    """`work` as JSON values, which `parse` reads."""
    return {"kind": "product" if isinstance(work, Product) else "convolution", **asdict(work)}


def parse(described: Any) -> Work:
    """The work that `describe` wrote; raises ValueError, TypeError or KeyError for anything else."""
    given = dict(described)
    kind = given.pop("kind")
    if kind == "product":
        return Product(**{name: _count(value) for name, value in given.items()})
    if kind != "convolution":
        raise ValueError(f"unknown kind of work {kind!r}")
    sizes: dict[str, Any] = {
        name: tuple(_count(each) for each in value) if isinstance(value, list | tuple) else _count(value)
        for name, value in given["shape"].items()
    }
    inner = None if given["in_chunk"] is None else _count(given["in_chunk"])
    return Convolution(shape=ConvShape(**sizes), in_chunk=inner, out_chunk=_count(given["out_chunk"]))


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a size")
    return value
