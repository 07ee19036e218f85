"""`--endpoint NAME=URL,instance=TYPE` as a value."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness import remote
from harness.errors import UsageError
from harness.request import Remote

_EXAMPLE = "--endpoint NAME=http://HOST:PORT/v2/models/MODEL,instance=ml.c7i.large (or …/invocations)"
_OPTION = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)=(?P<url>[^,]+),instance=(?P<instance>[^,\s]+)")


def parse(texts: Sequence[str]) -> tuple[Remote, ...]:
    """The endpoints, names and URLs each once. Raises UsageError; the instances are looked up elsewhere."""
    found = [_parsed(text) for text in texts]
    for what, values in (("name", [each.name for each in found]), ("URL", [each.url for each in found])):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UsageError(f"--endpoint: the {what} {twice} is given twice; every endpoint is measured once, under one name")
    return tuple(found)


def _parsed(text: str) -> Remote:
    match = _OPTION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--endpoint {text!r} is not {_EXAMPLE}")
    at = remote.address(match["url"])
    protocol = remote.protocol_of(at.path, ())
    if protocol == remote.OIP:
        remote.model_path(at)
    elif protocol != remote.SAGEMAKER:
        raise UsageError(f"--endpoint {match['name']}: {at.url} is neither …/v2/models/MODEL nor …/invocations; {_EXAMPLE}")
    return Remote(name=match["name"], url=at.url, instance=match["instance"])
