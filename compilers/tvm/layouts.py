"""Which convolutions compute in a blocked layout NCHW[c]: `c` channels side by side fill a vector.

Activations stay blocked from one convolution to the next through what is elementwise, pooling and means; a transform is left
only at the borders. Every channel count takes the widest chunk that divides it, the same wherever it appears, so that
neighbours agree without a word.
"""

from __future__ import annotations

from typing import Any

from compilers.tvm.tiles import chunk

CONV2D = "relax.nn.conv2d"


def conv_layouts(data: tuple[int, ...], weight: tuple[int, ...], groups: int, lanes: int) -> tuple[str, str, str] | None:
    """Layouts of data, weight and result of an NCHW convolution, or None where no blocked one fits.

    The weight keeps OIHW: it is a constant and packed later. Few input channels (an image) are read as they are.
    """
    channels, filters = data[1], weight[0]
    out = chunk(filters, lanes)
    inner = chunk(channels, lanes)
    if out is None:
        return None
    if groups == 1:
        return (f"NCHW{inner}c" if inner else "NCHW", "OIHW", f"NCHW{out}c")
    if groups == channels == filters:
        return (f"NCHW{out}c", "OIHW", f"NCHW{out}c")
    # Every group must begin and end on a chunk of both sides.
    if inner is None or (channels // groups) % inner or (filters // groups) % out:
        return None
    return (f"NCHW{inner}c", "OIHW", f"NCHW{out}c")


def block_convolutions(lanes: int) -> Any:
    """The pass that moves convolutions, and what can follow them, to blocked layouts."""
    from tvm import relax

    def choose(call: Any) -> dict[str, list[str]]:
        if call.op.name != CONV2D or str(call.attrs.data_layout) != "NCHW" or str(call.attrs.kernel_layout) != "OIHW":
            return {}
        shapes = [static_shape(arg) for arg in call.args]
        if shapes[0] is None or shapes[1] is None or str(call.args[0].ty.dtype) != "float32":
            return {}
        found = conv_layouts(shapes[0], shapes[1], int(call.attrs.groups), lanes)
        return {CONV2D: list(found)} if found and is_constant(call.args[1]) else {}

    return relax.transform.ConvertLayout({}, choose)


def is_constant(value: Any) -> bool:
    """Whether a Relax expression is a tensor constant (relax.const makes a GenericConst)."""
    import tvm

    return isinstance(value, tvm.ir.GenericConst)


def static_shape(value: Any) -> tuple[int, ...] | None:
    """The sizes of a Relax tensor, or None where one is not a number."""
    shape = getattr(value.ty, "shape", None)
    if shape is None or not hasattr(shape, "values"):
        return None
    sizes = list(shape.values)
    if not all(hasattr(size, "value") for size in sizes):
        return None
    return tuple(int(size) for size in sizes)
