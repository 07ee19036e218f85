"""The first answer over HTTP, compared with the reference before any load: the whole path must be right."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

import numpy as np

from compilers import parity
from compilers.spec_io import read_reference
from harness.nouns import Tolerance
from harness.requestset import RequestSet
from harness.serving.tensors import NUMPY_OF

_TIMEOUT_S = 60.0


class WrongAnswer(Exception):
    """The server answered, but not what the model says; the message is the reason for the candidate's row."""


def check(host: str, port: int, requests: RequestSet, model_folder: Path, tolerance: Tolerance | None) -> int:
    """Send the first payload; return the length in bytes that every good reply has.

    Raises WrongAnswer when there is no well-formed answer, or (with a `tolerance`) when it is further from the reference.
    """
    status, header_length, body = _post(host, port, requests)
    if status != 200:
        raise WrongAnswer(f"the first request was answered with {status}: {body[:200].decode('utf-8', 'replace')}")
    try:
        outputs = _decode(header_length, body)
    except (ValueError, KeyError, TypeError) as error:
        raise WrongAnswer(f"the first answer is no Open Inference Protocol reply: {error}") from error
    if tolerance is not None:
        distance = parity.compare([outputs], [read_reference(model_folder)[0]])
        wrong = distance if isinstance(distance, str) else parity.verdict(distance, tolerance)
        if wrong is not None:
            raise WrongAnswer(f"the first answer over HTTP differs from the reference: {wrong}")
    return len(body)


def _post(host: str, port: int, requests: RequestSet) -> tuple[int, int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", requests.path, requests.bodies[0].read_bytes(), requests.headers)
        answer = connection.getresponse()
        return answer.status, int(answer.headers.get("Inference-Header-Content-Length") or 0), answer.read()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WrongAnswer(f"the first request was not answered: {error}") from error
    finally:
        connection.close()


def _decode(header_length: int, body: bytes) -> list[np.ndarray]:
    document: dict[str, Any] = json.loads(body[:header_length])
    outputs, at = [], header_length
    for entry in document["outputs"]:
        size = int(entry["parameters"]["binary_data_size"])
        flat = np.frombuffer(body[at : at + size], np.dtype(NUMPY_OF[entry["datatype"]]))
        outputs.append(flat.reshape(entry["shape"]))
        at += size
    return outputs
