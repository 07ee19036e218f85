"""What a good reply is: the expected status, and a body of the expected length or kind. Pure."""

from __future__ import annotations

from typing import Any, Protocol

import orjson

from loadprofiles.plan import Plan


class Received(Protocol):
    """A complete reply. `body` is the beginning of it when it was kept; `body_bytes` is its length in any case."""

    status: int
    body_bytes: int
    body: bytearray | None


def fault(plan: Plan, reply: Received) -> str | None:
    """Why a complete reply is not what `plan` expects, in a few words; None when it is."""
    if reply.status != plan.expect_status:
        return f"status {reply.status}"
    expected = plan.expect_body_bytes
    if expected is not None and reply.body_bytes != expected:
        return f"body of {reply.body_bytes} bytes instead of {expected}" if reply.body_bytes else "empty body"
    if plan.expect_body is None:
        return None
    if not reply.body_bytes:
        return "empty body"
    if plan.expect_body == "json" and reply.body is not None:
        return _fault_in_document(reply.body, reply.body_bytes, plan.expect_outputs)
    return None


def _fault_in_document(kept: bytearray, body_bytes: int, expected: str | None) -> str | None:
    """Why a body is not the expected JSON document; of one kept only in part, whether it begins like an object or a list."""
    if len(kept) < body_bytes:
        return None if kept.lstrip()[:1] in (bytearray(b"{"), bytearray(b"[")) else "body is not a JSON document"
    try:
        document = orjson.loads(kept)
    except orjson.JSONDecodeError:
        return "body is not a JSON document"
    if expected is None:
        return None
    found = outputs(document)
    if found is None:
        return "body has no outputs of the Open Inference Protocol"
    return f"outputs {found} instead of {expected}" if expected and found != expected else None


def outputs(document: Any) -> str | None:
    """Name, datatype and shape of each output of an Open Inference Protocol reply, in one line; None when it is none."""
    try:
        return ", ".join(
            f"{each['name']} {each['datatype']} {'x'.join(str(int(size)) for size in each['shape'])}"
            for each in document["outputs"]
        )
    except (TypeError, KeyError, ValueError):
        return None
