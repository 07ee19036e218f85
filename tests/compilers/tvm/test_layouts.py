from __future__ import annotations

import pytest

from compilers.tvm.layouts import conv_layouts


@pytest.mark.parametrize(
    ("data", "weight", "groups", "want"),
    [
        ((1, 64, 7, 7), (128, 64, 3, 3), 1, ("NCHW8c", "OIHW", "NCHW8c")),
        ((1, 3, 7, 7), (64, 3, 7, 7), 1, ("NCHW", "OIHW", "NCHW8c")),
        ((1, 24, 7, 7), (20, 24, 1, 1), 1, ("NCHW8c", "OIHW", "NCHW4c")),
        ((1, 24, 7, 7), (24, 1, 3, 3), 24, ("NCHW8c", "OIHW", "NCHW8c")),
        ((1, 32, 7, 7), (48, 16, 3, 3), 2, ("NCHW8c", "OIHW", "NCHW8c")),
        ((1, 24, 7, 7), (24, 6, 3, 3), 4, None),  # a group of 6 channels ends inside a chunk
        ((1, 64, 7, 7), (10, 64, 1, 1), 1, None),
        ((1, 16, 7, 7), (32, 1, 3, 3), 16, None),  # two filters per channel
    ],
)
def test_layouts(data: tuple[int, ...], weight: tuple[int, ...], groups: int, want: tuple[str, str, str] | None) -> None:
    assert conv_layouts(data, weight, groups, 8) == want


def test_neighbours_agree_on_a_channel_count() -> None:
    """What one convolution writes is what the next one reads, whatever else they are."""
    for lanes in (4, 8, 16):
        for channels in range(4, 200, 4):
            first = conv_layouts((1, 64, 9, 9), (channels, 64, 1, 1), 1, lanes)
            second = conv_layouts((1, channels, 9, 9), (64, channels, 3, 3), 1, lanes)
            depthwise = conv_layouts((1, channels, 9, 9), (channels, 1, 3, 3), channels, lanes)
            assert first is not None
            assert second is not None
            assert depthwise is not None
            assert first[2] == second[0] == depthwise[0] == depthwise[2]
