"""Who is still worth measuring: successive halving over the rounds of a search, as pure decisions.

Every round has the same budget of load, shared among those still in the race (Jamieson and Talwalkar, 2016). Who leaves is not
decided by a quota: a candidate leaves when the ranking so far no longer ties it with the best, so none is dropped by noise
that a longer look would have undone. Those who left keep their place in the ranking, with the interval they were measured to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.depth import Round
from harness.ranking import LATENCY, Entry, rank


def contenders(entries: Sequence[Entry], objective: str, names: Sequence[str]) -> Mapping[str, str | None]:
    """For each of `names`, why it can no longer be first, or None when it still can.

    A candidate without a figure has not been judged and stays. By latency everyone stays: the quantiles that decide are
    measured at a rate which only the end of the search gives.
    """
    if objective == LATENCY:
        return dict.fromkeys(names)
    places = rank(entries, objective, np.random.default_rng(0)).places
    lost = {place.id: place.reason for place in places if place.tie_group > 1}
    return {name: lost.get(name) for name in names}


def step_s(plan: Round, contending: int, rate_per_s: float) -> float:
    """Seconds of one step of a round: its share of the budget, longer for slow models so that a step sees some 40 requests.

    `contending` is how many candidates share the round; the stretch ends at the round's `step_max_s`.
    """
    share = plan.load_s / (max(1, contending) * plan.steps)
    return min(max(share, plan.step_requests / rate_per_s, plan.step_min_s), plan.step_max_s)
