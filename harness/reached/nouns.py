"""What is known of an endpoint once it was reached."""

from __future__ import annotations

from dataclasses import dataclass

from harness.nouns import Artifact, Parity
from harness.remote import Expectation
from harness.requestset import RequestSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """An endpoint whose answers agree with the reference: over how many payloads, in which `dialect`, with which requests, and
    what every good answer under load must be."""

    parity: Parity
    dialect: str
    requests: RequestSet
    expected: Expectation

    @property
    def reason(self) -> str:
        """Why there is no artifact, as a skipped or failed candidate says it."""
        return "somebody else serves it"


Servable = Artifact | Reached
"""What a visit can be made to."""
