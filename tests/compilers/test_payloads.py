from __future__ import annotations

import numpy as np
import pytest

from compilers.models import VOCABULARY, builtin
from compilers.payloads import PAYLOADS, seeded
from harness.nouns import TensorSpec

IMAGE = builtin("resnet50").inputs
TOKENS = builtin("bert_base").inputs


def test_payloads_repeat_with_the_seed_and_differ_from_one_another() -> None:
    first, again, other = seeded(IMAGE, count=4), seeded(IMAGE, count=4), seeded(IMAGE, count=4, seed=1)
    name = IMAGE[0].name
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0][name], other[0][name])
    assert len({payload[name].tobytes() for payload in first}) == 4


def test_images_vary_in_mean_and_contrast_and_are_smooth() -> None:
    images = np.concatenate([payload["pixel_values"] for payload in seeded(IMAGE)])
    assert images.shape == (PAYLOADS, 3, 224, 224)
    assert images.dtype == np.float32
    assert np.ptp(images.mean((1, 2, 3))) > 0.5
    assert np.ptp(images.std((1, 2, 3))) > 0.3
    step = np.abs(np.diff(images, axis=-1)).mean()
    assert step < 0.6 * images.std()  # white noise would give about 1.1


def test_tokens_cover_the_vocabulary_and_masks_vary() -> None:
    payloads = seeded(TOKENS, limits={"input_ids": VOCABULARY})
    ids = np.concatenate([payload["input_ids"] for payload in payloads])
    masks = np.concatenate([payload["attention_mask"] for payload in payloads])
    assert ids.dtype == masks.dtype == np.int64
    assert ids.min() >= 0
    assert VOCABULARY * 0.9 < ids.max() < VOCABULARY
    lengths = masks.sum(1)
    assert set(np.unique(masks)) == {0, 1}
    assert len(set(lengths)) > 10
    assert lengths.min() >= 16
    assert (np.diff(masks, axis=1) <= 0).all()  # ones first


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_integers_without_a_limit_are_safe_indices(dtype: str) -> None:
    values = np.stack([p["x"] for p in seeded([TensorSpec(name="x", dtype=dtype, shape=(1, 9))])])
    assert values.dtype == dtype
    assert set(np.unique(values)) == {0, 1}


@pytest.mark.parametrize("shape", [(), (1,), (1, 0), (2, 3, 4, 5), (1, 7)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "bool", "int16"])
def test_any_shape_and_dtype(shape: tuple[int, ...], dtype: str) -> None:
    (payload,) = seeded([TensorSpec(name="mask" if dtype == "bool" else "x", dtype=dtype, shape=shape)], count=1)
    (array,) = payload.values()
    assert np.shape(array) == shape
    assert np.asarray(array).dtype == dtype


def test_a_limit_beyond_the_dtype_is_cut() -> None:
    (payload,) = seeded([TensorSpec(name="x", dtype="int8", shape=(500,))], count=1, limits={"x": 100_000})
    assert payload["x"].min() >= 0
