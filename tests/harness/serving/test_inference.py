"""From body to answer, whoever carries the bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.serving.engine import QueueFull, Ran, SessionFailed, Statistics
from harness.serving.inference import Form, Inference, refusal
from harness.serving.protocol import Codec
from harness.serving.tensors import ProtocolError, Tensor
from tests.harness.serving.fake_models import NULL

CODEC = Codec(NULL)
FORM = Form(lambda body, headers: CODEC.decode(body, 0), CODEC.encode)


def ran(*outputs: Tensor) -> Ran:
    return Ran(outputs=list(outputs), queue_ns=1_500_000, compute_ns=2_250_000)


def test_an_answer_says_how_long_it_waited_and_ran() -> None:
    inference = Inference(FORM, {})
    assert inference.inputs(memoryview(np.float32(3).tobytes()))["x"].tolist() == [3]
    answer = inference.answer(ran(np.array([4], np.float32)))
    headers = dict(answer.headers)
    assert answer.status == 200
    assert headers[b"server-timing"] == b"queue;dur=1.500, compute;dur=2.250"
    assert answer.body[int(headers[b"inference-header-content-length"]) :] == np.float32(4).tobytes()


def test_statistics_count_it_once_it_is_answered() -> None:
    statistics, inference = Statistics(), Inference(FORM, {})
    inference.inputs(memoryview(bytes(4)))
    inference.answer(ran(np.array([4], np.float32)))
    assert statistics.success.count == 0
    inference.count(statistics)
    assert statistics.success.count == statistics.decode.count == statistics.encode.count == 1
    assert statistics.success.ns >= statistics.decode.ns + statistics.encode.ns


def test_outputs_that_cannot_be_sent_are_the_models_failure() -> None:
    def refuse(call: object, outputs: list[Tensor]) -> None:
        raise KeyError("no such output")

    inference = Inference(Form(FORM.decode, refuse), {})  # type: ignore[arg-type]
    inference.inputs(memoryview(bytes(4)))
    with pytest.raises(SessionFailed, match="no such output"):
        inference.answer(ran(np.array([4], np.float32)))


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (ProtocolError("the body is empty"), 400, "the body is empty"),
        (ProtocolError("not that type", status=415), 415, "not that type"),
        (QueueFull(), 503, "too many requests are waiting; try again later"),
        (SessionFailed("ValueError: negative"), 500, "inference failed: ValueError: negative"),
    ],
)
def test_every_error_has_one_form(error: ProtocolError | QueueFull | SessionFailed, status: int, says: str) -> None:
    answer = refusal(error)
    assert (answer.status, json.loads(answer.body)) == (status, {"error": says})
    assert ((b"retry-after", b"1") in answer.headers) == (status == 503)
