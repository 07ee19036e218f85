from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.edge import emit
from compilers.edge.plan import ALIGNMENT, Call, Graph, Life, Value, arrange, lifetimes, pack
from harness.nouns import TensorSpec


def tensor(*shape: int) -> Value:
    return Value(dtype="float32", shape=shape)


def constant(*values: float) -> Value:
    return Value(dtype="float32", shape=(len(values),), constant=np.array(values, "f"))


CHAIN = Graph(
    values=(tensor(16), constant(1, 2, 3), tensor(32), tensor(8, 4), tensor(64), constant(1, 2, 3), tensor(16)),
    calls=(
        Call(kernel="a", arguments=(0, 1, 2)),
        Call(kernel="b", arguments=(2, 4)),  # 3 is 2 in another shape
        Call(kernel="c", arguments=(3, 5, 6)),
    ),
    inputs=(0,),
    outputs=(6, 4),
)


def chain() -> Graph:
    values = list(CHAIN.values)
    values[3] = Value(dtype="float32", shape=(8, 4), view_of=2)
    return Graph(values=tuple(values), calls=CHAIN.calls, inputs=CHAIN.inputs, outputs=CHAIN.outputs)


def test_a_view_keeps_its_owner_alive_and_outputs_last_to_the_end() -> None:
    lives = {life.value: (life.first, life.last) for life in lifetimes(chain())}
    assert lives == {0: (-1, 0), 2: (0, 2), 4: (1, 3), 6: (2, 3)}


def test_equal_constants_are_stored_once_and_views_share_their_place() -> None:
    plan = arrange(chain())
    assert plan.constants == (1,)
    assert plan.places[1] == plan.places[5]
    assert plan.places[3] == plan.places[2]
    assert plan.weights_bytes == 12
    assert emit.weights(plan) == np.array([1, 2, 3], "f").tobytes()
    assert all(place.offset % ALIGNMENT == 0 for place in plan.places)


@given(
    st.lists(
        st.tuples(st.integers(0, 2000), st.integers(-1, 20), st.integers(0, 8)).map(
            lambda drawn: (drawn[0], drawn[1], drawn[1] + drawn[2])
        ),
        max_size=30,
    )
)
def test_what_is_needed_at_once_never_overlaps(drawn: list[tuple[int, int, int]]) -> None:
    lives = [Life(value=at, size_bytes=size, first=first, last=last) for at, (size, first, last) in enumerate(drawn)]
    offsets, total = pack(lives)
    for life in lives:
        assert offsets[life.value] % ALIGNMENT == 0
        assert offsets[life.value] + life.size_bytes <= total
        for other in lives:
            if other.value != life.value and life.meets(other) and life.size_bytes and other.size_bytes:
                begin, end = offsets[life.value], offsets[life.value] + life.size_bytes
                assert end <= offsets[other.value] or offsets[other.value] + other.size_bytes <= begin
    # Never more than each in a place of its own, and never less than what one moment needs.
    assert total <= sum(-(-life.size_bytes // ALIGNMENT) * ALIGNMENT for life in lives)
    moments = [sum(life.size_bytes for life in lives if life.first <= at <= life.last) for at in range(-1, 30)]
    assert total >= max(moments)


def test_a_chain_needs_the_memory_of_two_neighbours() -> None:
    sizes = [1024] * 10
    lives = [Life(value=at, size_bytes=size, first=at, last=at + 1) for at, size in enumerate(sizes)]
    assert pack(lives)[1] == 2 * 1024


def test_the_tables_name_kernels_shapes_and_types() -> None:
    values = (Value(dtype="int64", shape=()), Value(dtype="bool", shape=(2, 3)))
    graph = Graph(values=values, calls=(Call(kernel="k", arguments=(0, 1)),), inputs=(0,), outputs=(1,))
    ports = [TensorSpec(name='a "b"', dtype="int64", shape=()), TensorSpec(name="out", dtype="bool", shape=(2, 3))]
    text = emit.model(arrange(graph), "net", ports[:1], ports[1:], 1e-4, "weights.bin")
    assert '{__tvm_ffi_k, "k", 0, 2}' in text
    assert '{"a \\"b\\"", "int64", 0, shape_scalar, 8U}' in text
    assert '{"out", "bool", 2, shape_2_3, 6U}' in text
    assert "{0, 64, 1}" in text  # int64 as DLPack has it
    assert "{6, 8, 1}" in text  # bool
    assert '.incbin \\"weights.bin\\"' in text


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]"])
def test_a_type_that_kernels_do_not_speak_is_not_guessed(dtype: str) -> None:
    graph = Graph(values=(Value(dtype=dtype, shape=(1,)),), calls=(), inputs=(0,), outputs=(0,))
    with pytest.raises(KeyError):
        emit.model(arrange(graph), "net", [], [], 1e-4, "weights.bin")
