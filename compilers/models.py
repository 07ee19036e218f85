"""The built-in models, as data: what they take, what they give, what they cost.

Parameter counts are those of the network as built here. FLOPs are 2 × multiply-accumulates for one input, from the sources
named per model: torchvision's weight metadata, timm's benchmark tables, or derived from the published configuration.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from harness.errors import UsageError
from harness.nouns import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinModel:
    """A published architecture: the class of `transformers` that builds it, with its defaults except `config`."""

    name: str
    architecture: str
    """Prefix of the `transformers` configuration class."""
    head: str
    """The `transformers` model class."""
    config: tuple[tuple[str, int], ...]
    output: str
    """The field of the model's output that is served."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int
    flops: int
    flops_source: str
    hub_id: str
    """Repository of the pretrained weights on the Hugging Face hub."""
    description: str


_IMAGE = (TensorSpec(name="pixel_values", dtype="float32", shape=(1, 3, 224, 224)),)
_TOKENS = (
    TensorSpec(name="input_ids", dtype="int64", shape=(1, 128)),
    TensorSpec(name="attention_mask", dtype="int64", shape=(1, 128)),
)


def _logits(classes: int) -> tuple[TensorSpec, ...]:
    return (TensorSpec(name="logits", dtype="float32", shape=(1, classes)),)


_HIDDEN = (TensorSpec(name="last_hidden_state", dtype="float32", shape=(1, 128, 768)),)

VOCABULARY = 30522
"""Word pieces of bert-base-uncased, which distilbert shares."""

_MODELS = (
    BuiltinModel(
        name="resnet50",
        architecture="ResNet",
        head="ResNetForImageClassification",
        config=(("num_labels", 1000),),
        output="logits",
        inputs=_IMAGE,
        outputs=_logits(1000),
        parameters=25_557_032,
        flops=8_180_000_000,
        flops_source="torchvision weight metadata (4.089 GMAC)",
        hub_id="microsoft/resnet-50",
        description="ResNet-50 v1.5 image classifier",
    ),
    BuiltinModel(
        name="mobilenet_v2",
        architecture="MobileNetV2",
        head="MobileNetV2ForImageClassification",
        config=(("num_labels", 1001),),
        output="logits",
        inputs=_IMAGE,
        outputs=_logits(1001),
        parameters=3_506_153,
        flops=602_000_000,
        flops_source="torchvision weight metadata (0.301 GMAC)",
        hub_id="google/mobilenet_v2_1.0_224",
        description="MobileNet v2 1.0 image classifier",
    ),
    BuiltinModel(
        name="vit_b16",
        architecture="ViT",
        head="ViTForImageClassification",
        config=(("num_labels", 1000),),
        output="logits",
        inputs=_IMAGE,
        outputs=_logits(1000),
        parameters=86_567_656,
        flops=35_130_000_000,
        flops_source="torchvision weight metadata (17.564 GMAC)",
        hub_id="google/vit-base-patch16-224",
        description="Vision Transformer B/16 image classifier",
    ),
    BuiltinModel(
        name="bert_base",
        architecture="Bert",
        head="BertModel",
        config=(),
        output="last_hidden_state",
        inputs=_TOKENS,
        outputs=_HIDDEN,
        parameters=108_891_648,
        flops=22_350_000_000,
        flops_source="derived from the published configuration, 128 tokens (11.17 GMAC)",
        hub_id="google-bert/bert-base-uncased",
        description="BERT base uncased encoder, 128 tokens, without the pooler",
    ),
    BuiltinModel(
        name="distilbert",
        architecture="DistilBert",
        head="DistilBertModel",
        config=(),
        output="last_hidden_state",
        inputs=_TOKENS,
        outputs=_HIDDEN,
        parameters=66_362_880,
        flops=11_170_000_000,
        flops_source="derived from the published configuration, 128 tokens (5.59 GMAC)",
        hub_id="distilbert/distilbert-base-uncased",
        description="DistilBERT base uncased encoder, 128 tokens",
    ),
)

MODELS = {model.name: model for model in _MODELS}


def list_models() -> tuple[BuiltinModel, ...]:
    """The built-in models, in the order in which they are listed."""
    return _MODELS


def builtin(name: str) -> BuiltinModel:
    """The built-in model `name`; raises UsageError with the nearest names."""
    try:
        return MODELS[name]
    except KeyError:
        near = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.5)
        meant = f"did you mean {' or '.join(near)}?" if near else f"built in are {', '.join(MODELS)}."
        raise UsageError(f"unknown model {name!r}: {meant} A path to an .onnx or .pt2 file works too.") from None
