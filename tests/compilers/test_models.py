from __future__ import annotations

import pytest

from compilers.models import builtin, list_models
from compilers.registry import BACKENDS, DEFAULT_BACKENDS, backend
from harness.errors import UsageError


def test_the_list_is_complete_and_in_order() -> None:
    assert [model.name for model in list_models()] == ["resnet50", "mobilenet_v2", "vit_b16", "bert_base", "distilbert"]
    assert all(model.flops > 0 and model.parameters > 0 and model.flops_source for model in list_models())


@pytest.mark.parametrize(("wrong", "right"), [("resnet", "resnet50"), ("bert", "bert_base"), ("vit-b16", "vit_b16")])
def test_unknown_models_get_the_nearest_names(wrong: str, right: str) -> None:
    with pytest.raises(UsageError, match=right):
        builtin(wrong)


def test_a_name_like_no_other_gets_the_whole_list() -> None:
    with pytest.raises(UsageError, match="built in are resnet50"):
        builtin("zzzzzz")


def test_every_backend_can_be_made_without_its_library() -> None:
    made = [backend(name) for name in BACKENDS]
    assert [one.name for one in made] == list(BACKENDS)
    assert set(DEFAULT_BACKENDS) < set(BACKENDS)
    assert not set(DEFAULT_BACKENDS) & {"null", "ort-cuda", "torch-cuda", "neuron", "tvm-bundle", "tvm-cuda"}


def test_unknown_backends_get_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="openvino"):
        backend("openvno")
