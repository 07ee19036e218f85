"""The one line that describes a truth server: a law, and options behind semicolons. Pure.

    LAW [; OPTION]...                            for example "exponential:10ms; servers=1; errors=0.01:503; seed=7"

    constant:T                    always T
    exponential:T                 mean T
    lognormal:T,sigma=S           median T; sigma of the natural logarithm
    bimodal:T1,T2,p=P             T2 with probability P, else the shorter T1
    pareto:T,alpha=A              at least T; P(longer than t) = (T/t)^A, A > 1

    servers=N|inf                 parallel servers behind one queue, first come first served; inf (default): no queue
    stall=L/P                     nothing is answered for the last L of every P since the start, then all that is held
    errors=SHARE:KIND             that share is answered so, at once: 503, empty, truncated, reset, never or garbage;
                                  may be given once per kind
    wrong=SHARE                   that share gets a well-formed answer with wrong values
    churn                         every reply closes its connection
    seed=N                        of all draws; default 0

Times are numbers with us, ms or s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.errors import UsageError
from harness.truth.discipline import Stall
from harness.truth.law import Bimodal, Constant, Exponential, Law, Lognormal, Pareto

MAX_SERVERS = 10_000
MAX_TIME_S = 3600.0
MAX_SIGMA = 5.0

_NUMBER = re.compile(r"\d+(\.\d*)?|\.\d+")
_TIME = re.compile(rf"(?P<number>{_NUMBER.pattern})\s*(?P<unit>us|ms|s)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class Kind(StrEnum):
    """How one request is answered."""

    GOOD = "good"
    WRONG = "wrong"
    """As the law says, in the right form, with wrong values."""
    UNAVAILABLE = "503"
    EMPTY = "empty"
    """200 without a body."""
    TRUNCATED = "truncated"
    """Half of the announced body, then the connection is closed."""
    RESET = "reset"
    """The connection is reset."""
    NEVER = "never"
    """No answer; the connection stays open."""
    GARBAGE = "garbage"
    """Bytes that are not HTTP, then the connection is closed."""


KINDS = tuple(Kind)
FAULTS = tuple(kind for kind in Kind if kind not in (Kind.GOOD, Kind.WRONG))


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a truth server does. `servers` None: every request has its own. `shares` holds the kinds that are not good, each
    with a positive share; together at most 1."""

    law: Law
    servers: int | None = None
    stall: Stall | None = None
    shares: tuple[tuple[Kind, float], ...] = ()
    churn: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Form:
    """How one law is written: its times, its one named parameter if any, and what it makes of them."""

    written: str
    times: int
    parameter: str | None
    make: Callable[[Sequence[float], float], Law]


_FORMS: dict[str, _Form] = {
    "constant": _Form("constant:10ms", 1, None, lambda t, _: Constant(value_s=t[0])),
    "exponential": _Form("exponential:10ms", 1, None, lambda t, _: Exponential(mean_s=t[0])),
    "lognormal": _Form("lognormal:10ms,sigma=0.5", 1, "sigma", lambda t, x: Lognormal(median_s=t[0], sigma=x)),
    "bimodal": _Form("bimodal:4ms,50ms,p=0.01", 2, "p", lambda t, x: Bimodal(fast_s=t[0], slow_s=t[1], slow_share=x)),
    "pareto": _Form("pareto:5ms,alpha=2.5", 1, "alpha", lambda t, x: Pareto(scale_s=t[0], alpha=x)),
}
_RANGES = {"sigma": (0.0, MAX_SIGMA), "p": (0.0, 1.0), "alpha": (1.0, 1000.0)}
"""Allowed values of the named parameters, both ends excluded."""

_OPTIONS = "servers=N|inf, stall=1s/10s, errors=0.01:503, wrong=0.01, churn, seed=N"


def parse(text: str) -> Truth:
    """Read one line as above. Raises UsageError naming the part that was not understood and what may stand there."""
    law_text, *options = (part.strip() for part in text.split(";"))
    law = _law(law_text)
    given: dict[str, str] = {}
    shares: dict[Kind, float] = {}
    for option in options:
        name, equals, value = (piece.strip() for piece in option.partition("="))
        if name == "errors":
            kind, share = _errors(value)
            _once(kind, shares, f"errors=...:{kind}")
            shares[kind] = share
            continue
        if name not in _VALUED and name != "churn":
            raise UsageError(f'the truth "{text}": did not understand "{option}"; options are {_OPTIONS}')
        if bool(equals) == (name == "churn"):
            raise UsageError(f'the truth "{text}": "{option}" is not one of {_OPTIONS}')
        _once(name, given, name)
        given[name] = value
    if "wrong" in given:
        shares[Kind.WRONG] = _share(given["wrong"], "wrong")
    if math.fsum(shares.values()) > 1 + 1e-12:
        raise UsageError(f'the truth "{text}": the shares of errors and wrong answers add up to more than 1')
    return Truth(
        law=law,
        servers=_servers(given.get("servers", "inf")),
        stall=_stall(given["stall"]) if "stall" in given else None,
        shares=tuple(shares.items()),
        churn="churn" in given,
        seed=_seed(given.get("seed", "0")),
    )


def _law(text: str) -> Law:
    name, _, rest = text.partition(":")
    form = _FORMS.get(name.strip())
    if form is None:
        allowed = ", ".join(each.written for each in _FORMS.values())
        raise UsageError(f'no law "{text}"; write one of {allowed}')
    times = [part.strip() for part in rest.split(",")]
    named = times.pop() if form.parameter is not None else ""
    if len(times) != form.times:
        raise UsageError(f'the law "{text}" is written like {form.written}')
    values = [_time_s(each, f'the law "{text}", written like {form.written}') for each in times]
    if values != sorted(set(values)):
        raise UsageError(f'the law "{text}": the first time is the shorter one, as in {form.written}')
    return form.make(values, 0.0 if form.parameter is None else _parameter(named, form.parameter, text, form.written))


def _parameter(text: str, name: str, law: str, written: str) -> float:
    given, _, value = (part.strip() for part in text.partition("="))
    low, high = _RANGES[name]
    number = float(value) if given == name and _NUMBER.fullmatch(value) else math.nan
    if not low < number < high:
        raise UsageError(f'the law "{law}" needs {name} between {low:g} and {high:g}, as in {written}')
    return number


def _time_s(text: str, where: str) -> float:
    match = _TIME.fullmatch(text)
    seconds = float(match["number"]) * _SECONDS[match["unit"]] if match else 0.0
    if not 1e-6 <= seconds <= MAX_TIME_S:
        raise UsageError(f'{where}: "{text}" is not a time from 1us to {MAX_TIME_S:g}s, such as 250us, 10ms or 1.5s')
    return seconds


def _servers(text: str) -> int | None:
    if text == "inf":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MAX_SERVERS:
        raise UsageError(f"servers={text}: give 1 to {MAX_SERVERS}, or inf for no queue")
    return int(text)


def _stall(text: str) -> Stall:
    length, _, period = (part.strip() for part in text.partition("/"))
    where = f"stall={text}, written like 1s/10s"
    stall = Stall(length_s=_time_s(length, where), period_s=_time_s(period, where))
    if stall.length_s >= stall.period_s:
        raise UsageError(f"stall={text}: a stall is shorter than the period it comes in, as in 1s/10s")
    return stall


def _errors(text: str) -> tuple[Kind, float]:
    share, _, kind = (part.strip() for part in text.partition(":"))
    if kind not in [fault.value for fault in FAULTS]:
        raise UsageError(f"errors={text}: write a share and one of {'|'.join(FAULTS)}, as in errors=0.01:503")
    return Kind(kind), _share(share, "errors")


def _share(text: str, name: str) -> float:
    share = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not 0 < share <= 1:
        raise UsageError(f"{name}={text}: a share is above 0 and at most 1, as in {name}=0.01")
    return share


def _seed(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise UsageError(f"seed={text}: give a whole number, 0 or more, of at most 18 digits")
    return int(text)


def _once(name: str, seen: Mapping[Kind, float] | Mapping[str, str], shown: str) -> None:
    if name in seen:
        raise UsageError(f"{shown} is given twice; give it once")


_VALUED = frozenset({"servers", "stall", "wrong", "seed"})
