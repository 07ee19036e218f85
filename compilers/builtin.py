"""The built-in architectures as torch modules, with pretrained weights when a hub answers and seeded random ones otherwise.

Runs in the intake child.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from compilers.models import BuiltinModel
from compilers.onnx_checks import first_line
from compilers.payloads import seeded

_HUB_TIMEOUT_S = 4.0
_CALIBRATION_SEED = 7919  # other images than the payloads of seed 0
_CALIBRATION_IMAGES = 32


class Served(torch.nn.Module):
    """A `transformers` model as a function of positional tensors with one tensor as its result."""

    def __init__(self, model: torch.nn.Module, names: Sequence[str], output: str) -> None:
        super().__init__()
        self.model = model
        self._names = tuple(names)
        self._output = output

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = getattr(self.model(**dict(zip(self._names, tensors, strict=True))), self._output)
        return result


def build(facts: BuiltinModel) -> tuple[torch.nn.Module, str, str]:
    """The network in eval mode, `pretrained` or `seeded-random`, and where the weights came from or why they did not."""
    import transformers

    head = getattr(transformers, facts.head)
    options = {"add_pooling_layer": False} if facts.head == "BertModel" else {}
    names = [spec.name for spec in facts.inputs]
    model, note = _pretrained(head, facts, options)
    if model is not None:
        return Served(model, names, facts.output).eval(), "pretrained", note
    torch.manual_seed(0)
    config = getattr(transformers, f"{facts.architecture}Config")(**dict(facts.config))
    served = Served(head(config, **options), names, facts.output).eval()
    if facts.output == "logits":
        _calibrate(served, facts)
    return served, "seeded-random", f"random weights of seed 0: {note}"


def _pretrained(head: Any, facts: BuiltinModel, options: Mapping[str, Any]) -> tuple[Any | None, str]:
    """The pretrained model and its revision, from the hub or the hub's local cache; or None and the reason."""
    from huggingface_hub import constants

    revision, reason = (None, "HF_HUB_OFFLINE is set") if constants.HF_HUB_OFFLINE else _hub_revision(facts.hub_id)
    try:
        model = head.from_pretrained(
            facts.hub_id,
            revision=revision,
            local_files_only=revision is None,
            use_safetensors=True,
            dtype=torch.float32,
            **options,
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        why = reason if revision is None else first_line(error)
        return None, f"{facts.hub_id} could not be had ({why}, and it is not in the local hub cache)"
    return model, f"{facts.hub_id} revision {revision or 'in the local hub cache'}"


def _hub_revision(repository: str) -> tuple[str | None, str]:
    """The commit that the hub serves, or None and why; gives up after a few seconds whatever the network does."""
    answer: list[tuple[str | None, str]] = []

    def ask() -> None:
        from huggingface_hub import HfApi

        try:
            answer.append((HfApi().model_info(repository, timeout=_HUB_TIMEOUT_S).sha, ""))
        except Exception as error:  # noqa: BLE001 - any refusal, by network or hub, means the same: no pretrained weights
            answer.append((None, f"the hub did not answer: {first_line(error, 120)}"))

    # A thread, because looking up a host name cannot be given a time limit.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_HUB_TIMEOUT_S + 0.5)
    return answer[0] if answer else (None, f"the hub did not answer within {_HUB_TIMEOUT_S:g} s")


def _calibrate(served: Served, facts: BuiltinModel) -> None:
    """Make a random classifier's answers depend on its input.

    Untrained, activations vanish or explode from layer to layer and the mean feature alone decides the class, the same for
    every image. So, as a trained network has them, batch normalisation gets the statistics of 32 seeded images, and the
    last layer's bias takes the mean logits off and a scale of one is given to their spread.
    """
    names = [spec.name for spec in facts.inputs]
    images = seeded(facts.inputs, count=_CALIBRATION_IMAGES, seed=_CALIBRATION_SEED)
    batch = [torch.from_numpy(np.concatenate([image[name] for image in images])) for name in names]
    norms = [module for module in served.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average: after one batch, that batch's statistics
        norm.train()
    with torch.no_grad():
        if norms:
            served(*batch)
        served.eval()
        last = [module for module in served.modules() if isinstance(module, torch.nn.Linear)][-1]
        logits = served(*batch)
        scale = logits.std(0).mean()
        last.bias.copy_((last.bias - logits.mean(0)) / scale)
        last.weight.div_(scale)
