"""The sojourn time of a queue with Poisson arrivals and any law of service, exact for one server, without simulation.

One server, where a request that finds it idle takes S0 and one that has to wait takes S (Welch, 1964; caches and connections
are colder for the first). The generating functions,
with rho = rate E S, rho0 = rate E S0 and p0 = (1 - rho) / (1 - rho + rho0):

    waiting   W = p0 + (1 - p0) (1 - rho) R0 / (1 - rho R)          sojourn   T = p0 S0 + (W - p0) S

R and R0 being the residual laws of S and S0, with density P(S > u) / E S; S0 = S gives Pollaczek and Khinchine. For c servers
the chance to wait is Erlang's, and who waits does so as with one server that is c times as fast (exact for M/M/c; Nozaki and
Ross, 1978). Laws live on a lattice that ends at the limit; the one coefficient that is asked for is read off a damped discrete
Fourier transform (Abate and Whitt, 1992), so each rate costs one product per lattice point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

LATTICE = 360
"""Lattice points up to the limit. Rounding splits each value between its neighbours, so errors fall with the square."""
_ALIAS = 18.0
"""Terms beyond the lattice are damped by e^-18 before they fold back onto it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Laws:
    """Service laws, one per row, seen from one latency limit. Spectra have shape (rows, nodes), means (ms) shape (rows,)."""

    servers: int
    idle: Complexes
    busy: Complexes
    shared: Complexes
    """Spectrum of busy services divided by the number of servers."""
    idle_mean_ms: Floats
    busy_mean_ms: Floats
    step_ms: float

    @property
    def highest_per_s(self) -> Floats:
        """The rate at which the servers are saturated, shape (rows,)."""
        return np.asarray(1e3 * self.servers / self.busy_mean_ms, dtype=np.float64)

    def row(self, place: int) -> Laws:
        """One of the laws alone."""
        only = slice(place, place + 1)
        return Laws(
            servers=self.servers,
            idle=self.idle[only],
            busy=self.busy[only],
            shared=self.shared[only],
            idle_mean_ms=self.idle_mean_ms[only],
            busy_mean_ms=self.busy_mean_ms[only],
            step_ms=self.step_ms,
        )


def laws(idle_ms: Floats, idle_weights: Floats, busy_ms: Floats, busy_weights: Floats, servers: int, limit_ms: float) -> Laws:
    """Empirical laws: values of shape (n,), weights of shape (rows, n) that add up to 1 in each row."""
    step_ms = limit_ms / LATTICE
    busy = _spectrum(busy_ms, busy_weights, step_ms)
    return Laws(
        servers=servers,
        idle=_spectrum(idle_ms, idle_weights, step_ms),
        busy=busy,
        shared=busy if servers == 1 else _spectrum(busy_ms / servers, busy_weights, step_ms),
        idle_mean_ms=np.asarray(idle_weights @ idle_ms, dtype=np.float64),
        busy_mean_ms=np.asarray(busy_weights @ busy_ms, dtype=np.float64),
        step_ms=step_ms,
    )


def slower(law: Laws, rates_per_s: Floats) -> Floats:
    """The share of requests slower than the limit, at one rate for each row; 1 at and above saturation."""
    load = rates_per_s * law.busy_mean_ms / 1e3
    rho = np.minimum(load / law.servers, 1 - 1e-9)
    if law.servers == 1:
        first = rates_per_s * law.idle_mean_ms / 1e3
        idle = (1 - rho) / (1 - rho + first)
        entered = _residual(law.idle, law.idle_mean_ms, law.step_ms)
        waiting, straight = 1 - idle, idle[:, None] * law.idle
        residual = _residual(law.busy, law.busy_mean_ms, law.step_ms)
    else:
        empty, waiting = _erlang(rho, law.servers)
        residual = entered = _residual(law.shared, law.busy_mean_ms / law.servers, law.step_ms)
        straight = empty[:, None] * law.idle + (1 - empty - waiting)[:, None] * law.busy
    delay = (1 - rho)[:, None] * entered / (1 - rho[:, None] * residual)
    sojourn = straight + waiting[:, None] * delay * law.busy
    found = 1 - (sojourn @ _TAIL).real
    return np.where(load >= law.servers, 1.0, np.clip(found, 0.0, 1.0))


def highest_rates(law: Laws, allowed: float, halvings: int = 12) -> Floats:
    """For each row the highest rate (1/s) at which at most the share `allowed` is slower than the limit; 0 where even requests
    that find the servers idle are slower.

    Bisection, then the chord through the last bracket: the share is smooth, and 2^-12 of the way to saturation short.
    """
    low, high = np.zeros_like(law.busy_mean_ms), law.highest_per_s.copy()
    met, missed = slower(law, low), np.ones_like(low)
    never = met > allowed
    for _ in range(halvings):
        middle = (low + high) / 2
        seen = slower(law, middle)
        within = seen <= allowed
        low, met = np.where(within, middle, low), np.where(within, seen, met)
        high, missed = np.where(within, high, middle), np.where(within, missed, seen)
    along = np.clip((allowed - met) / np.where(missed > met, missed - met, 1.0), 0.0, 1.0)
    return np.where(never, 0.0, low + along * (high - low))


def _erlang(rho: Floats, servers: int) -> tuple[Floats, Floats]:
    """(chance to find nobody, chance to wait) of M/M/c at utilisation rho, shape (rows,) each (Erlang, 1917)."""
    load = rho * servers
    term, total = np.ones_like(rho), np.ones_like(rho)
    for k in range(1, servers):
        term = term * load / k
        total = total + term
    queued = term * load / servers / (1 - rho)
    return 1 / (total + queued), queued / (total + queued)


_SIZE = LATTICE + 24
_DAMPING = np.exp(-_ALIAS / _SIZE * np.arange(_SIZE))
_NODES: Complexes = np.exp(-_ALIAS / _SIZE - 2j * np.pi * np.arange(_SIZE // 2 + 1) / _SIZE)


def _coefficient() -> Complexes:
    """What a spectrum is multiplied by, and summed, for P(at most the limit); half of what lies on it is beyond."""
    partial = (1 + _NODES) / (2 * (1 - _NODES))
    turn = np.exp(2j * np.pi * np.arange(_NODES.size) * LATTICE / _SIZE)
    twice = np.where((np.arange(_NODES.size) == 0) | (2 * np.arange(_NODES.size) == _SIZE), 1.0, 2.0)
    return np.asarray(twice * partial * turn * np.exp(_ALIAS * LATTICE / _SIZE) / _SIZE, dtype=np.complex128)


_TAIL = _coefficient()


def _spectrum(values_ms: Floats, weights: Floats, step_ms: float) -> Complexes:
    """The generating function at the nodes of the law with these weights, shape (rows, nodes)."""
    place = np.minimum(values_ms / step_ms, _SIZE - 1.0)
    below = np.minimum(place.astype(int), _SIZE - 2)
    upper = place - below
    # Beyond the limit a law's mass only has to be missing below it.
    spread = np.zeros((values_ms.size, _SIZE))
    rows = np.arange(values_ms.size)
    spread[rows, below] = 1 - upper
    spread[rows, below + 1] += upper
    return np.asarray(np.fft.rfft((weights @ spread) * _DAMPING, axis=1), dtype=np.complex128)


def _residual(spectrum: Complexes, mean_ms: Floats, step_ms: float) -> Complexes:
    """The spectrum of the residual law: P(S > u) / E S is constant within a cell, half of which goes to either end."""
    spread = (1 + _NODES) / (2 * (1 - _NODES))
    return np.asarray((1 - spectrum) * (step_ms / mean_ms)[:, None] * spread, dtype=np.complex128)
