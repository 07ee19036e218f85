"""What the generator is asked to do and what it answers: one JSON line each way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from harness.errors import UsageError
from harness.timeline import Timeline

_TARGET_CHARACTERS = frozenset(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """End the run early after `count` violations: requests slower than `limit_ms` from due, or not answered well."""

    limit_ms: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One load on one address. Open loop: `arrivals` and `in_flight_cap`. Closed loop: `users`. Paths are of files.

    Raises UsageError, when made, for a plan that contradicts itself.
    """

    host: str
    port: int
    path: str
    headers: dict[str, str]
    """Of every request, beside Host and Content-Length; the content type belongs here."""
    bodies: tuple[str, ...]
    """Raw bytes ready to send, one file per payload."""
    order: str
    """.npy uint16: the payload of each request, as many as arrivals; a closed loop goes through it cyclically."""
    samples: str
    """Where the samples are appended, as `loadprofiles.samples` frames."""
    duration_s: float
    """Length of the window in which requests are due (open) or sent (closed)."""
    connections: int
    """Opened before the window; at least `in_flight_cap` or `users`, so that no request ever waits for one."""
    arrivals: str | None = None
    """.npy int64, sorted: offsets from the start, ns."""
    also: tuple[int, ...] = ()
    """Other ports of the host, whose servers share an open loop with `port`; each has `connections` of its own."""
    targets: str | None = None
    """.npy uint8: whom each arrival asks, 0 for `port`, k for the k-th of `also`; None: all ask `port`."""
    in_flight_cap: int | None = None
    """A request due while this many are unanswered is dropped, and counted."""
    users: int | None = None
    """The highest number at any time."""
    changes: str | None = None
    """.npy int64[k, 2], sorted: offset from the start in ns, and how many users join (+) or leave (-) then; None: all join at
    once. Who leaves is the one whose request ends next."""
    requests: int | None = None
    """A closed loop sends this many and no more."""
    own_core: bool = False
    """Nothing else that is measured runs on the generator's core, so it may poll there instead of sleeping."""
    method: str = "POST"
    drain_timeout_s: float = 10.0
    """How long after the last request the replies are waited for; those still open then are undrained."""
    request_timeout_s: float = 30.0
    """A request unanswered for this long after it was sent has failed."""
    expect_status: int = 200
    expect_body_bytes: int | None = None
    """Exact length of a good reply's body; None accepts any."""
    expect_body: str | None = None
    """What any good reply's body is: `some` (not empty), `json` (a document); None accepts all."""
    expect_outputs: str | None = None
    """Of a `json` body: the outputs of an Open Inference Protocol reply, as `expectation.outputs` has them; empty: any."""
    stop_after: StopRule | None = None

    def __post_init__(self) -> None:
        if (self.arrivals is None) == (self.users is None):
            raise UsageError("a load plan needs either arrivals (open loop) or users (closed loop)")
        needed = self.users if self.arrivals is None else self.in_flight_cap
        if needed is None or not 1 <= needed <= self.connections:
            raise UsageError(f"a load plan for {needed} requests at a time cannot run on {self.connections} connections")
        self._check_ends()
        if (self.targets is None) != (not self.also) or (self.also and self.arrivals is None):
            raise UsageError("a load plan with other ports needs arrivals, and a target for each of them")
        if not self.bodies:
            raise UsageError("a load plan needs at least one request body")
        if min(self.duration_s, self.request_timeout_s) <= 0 or self.drain_timeout_s < 0:
            raise UsageError("a load plan needs a duration and a request timeout above 0, and no negative drain timeout")
        for text in (self.method, self.path):
            if not text or not set(text) <= _TARGET_CHARACTERS:
                raise UsageError(f"{text!r} cannot be part of an HTTP request line; percent-encode it")
        if any(set("\r\n\0") & set(text) for pair in self.headers.items() for text in pair):
            raise UsageError("a header of the load plan holds a line break")
        try:
            self.head(0)
        except UnicodeEncodeError as error:
            raise UsageError(f"a header of the load plan is not Latin-1: {error.object!r}") from error

    def _check_ends(self) -> None:
        if self.users is None and (self.changes is not None or self.requests is not None):
            raise UsageError("a load plan in an open loop has neither changes of users nor a number of requests")
        if self.requests is not None and self.requests < 1:
            raise UsageError(f"a load plan cannot end after {self.requests} requests")
        if self.expect_body not in (None, "some", "json"):
            raise UsageError(f"a load plan knows bodies that are some or json, not {self.expect_body!r}")

    def head(self, body_bytes: int) -> bytes:
        """The request line and headers for a body of that length, ready to send."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        given = {name.lower() for name in self.headers}
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        if "host" not in given:
            lines.append(f"Host: {host}:{self.port}")
        if "accept-encoding" not in given:
            lines.append("Accept-Encoding: identity")  # no compression: its cost is not the model's
        lines += [f"{name}: {value}" for name, value in self.headers.items() if name.lower() != "content-length"]
        return "\r\n".join([*lines, f"Content-Length: {body_bytes}", "", ""]).encode("latin-1")

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Raises UsageError when `line` is not a plan."""
        try:
            data = json.loads(line)
            stop = data.pop("stop_after", None)
            data["bodies"] = tuple(data["bodies"])
            data["also"] = tuple(data.get("also", ()))
            return cls(**data, stop_after=None if stop is None else StopRule(**stop))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(f"not a load plan: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of a plan, as counted by the generator itself; the samples say the rest."""

    planned: int
    """Requests whose time came: every arrival, unless the run was stopped early; for a closed loop, every one sent."""
    succeeded: int
    failed: int
    dropped: int
    undrained: int
    start_ns: int
    """Monotonic; the arrivals are offsets from here."""
    window_ns: int
    """From the start until no more requests were due: the duration, or less when stopped early."""
    active_ns: int
    """From the start until the last request had ended."""
    cpu_s: float
    """User and system time of the generator, all threads, over `active_ns`, less what it polled for nothing."""
    cpu_peak: float | None
    """Highest share of one core over any whole second of the run; None when it was shorter than that."""
    loop_lag_p99_ms: float | None
    """How late a 200 Hz timer ran in the same loop (nearest rank); None when it never was due."""
    run_queue_wait_s: float | None
    """How long the generator was ready to run but had no CPU, over `active_ns`; None where the kernel does not tell."""
    connections_opened_in_window: int
    max_in_flight: int
    in_flight_integral_ns: int
    """Time integral of the requests in flight, kept by the dispatcher's own counter: equals the sum of done - sent."""
    locust_requests: int
    """Locust's own counters: all requests sent, and those of them that did not succeed."""
    locust_failures: int
    stopped_early: bool = False
    errors: dict[str, int] = field(default_factory=dict)
    """What went wrong, in a few words each, and how often."""
    seconds: Timeline = field(default_factory=Timeline)
    """The generator's own lag, CPU and wait for it, second by second; see `loadprofiles.monitor`."""

    def contradiction(self) -> str | None:
        """Why the counts cannot all be true, in one line; None when they agree."""
        ended = self.succeeded + self.failed + self.dropped + self.undrained
        if ended != self.planned:
            return f"{self.planned} requests were planned but {ended} are accounted for"
        if self.locust_requests != self.planned - self.dropped:
            return f"{self.planned - self.dropped} requests were sent but Locust counted {self.locust_requests}"
        if self.locust_failures != self.failed + self.undrained:
            return f"{self.failed + self.undrained} requests went wrong but Locust counted {self.locust_failures}"
        return None

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """Raises ValueError when a field is missing or unknown."""
        if set(data) != {each.name for each in fields(cls)}:
            raise ValueError(f"not a generator's reply: {sorted(data)}")
        return cls(**{**data, "seconds": Timeline.from_mapping(data["seconds"])})
