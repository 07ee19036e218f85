"""A session that does real work on top of every inference, in proportion to what the inference took: the gate's canary."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from compilers.interface import Session

_SIZE = 32
"""Of the square matrices multiplied: a few microseconds each, too small for any library to use a second thread."""


class ExtraWork:
    """`share` of each call's own time is spent again, in the same thread, on multiplying matrices."""

    def __init__(self, session: Session, share: float) -> None:
        self._session, self._share = session, share
        self.keeps_gil = getattr(session, "keeps_gil", False)
        self._factor = np.full((_SIZE, _SIZE), 1.0 / _SIZE, np.float32)
        self._product = self._factor.copy()

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        begun_ns = time.perf_counter_ns()
        outputs = self._session.run(inputs)
        now_ns = time.perf_counter_ns()
        until_ns = now_ns + round((now_ns - begun_ns) * self._share)
        while time.perf_counter_ns() < until_ns:
            np.dot(self._factor, self._factor, out=self._product)
        return outputs
