"""Carries out one plan in the event loop: sends what is due when it is due, waits for nobody, accounts for everything.

All of it runs in callbacks of the loop. The dispatcher walks the absolute schedule with a timerfd and hands each request to an
open connection; the connection reports the end. What need not be on time (timeouts, the end of the drain, writing samples) is
done by the monitor's slow ticks.
"""

from __future__ import annotations

import math
import time
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from harness.errors import InfrastructureError
from loadprofiles.expectation import fault
from loadprofiles.monitor import Monitor
from loadprofiles.outlook import Outlook
from loadprofiles.plan import Plan, Reply
from loadprofiles.poller import Poller
from loadprofiles.pool import Pool
from loadprofiles.recorder import Recorder
from loadprofiles.samples import ABSENT_NS, DROPPED, FAILED, SUCCEEDED, UNDRAINED
from loadprofiles.script import read
from loadprofiles.timer import Loop, Timer
from loadprofiles.transport import Connection

_NS_PER_S = 1_000_000_000
_LEAD_NS = 50_000_000
_LEAD_PER_ARRIVAL_NS = 200
"""Between opening the connections and the first request: for setting the timers and turning offsets into instants."""

_BATCH = 32
"""Requests sent in one turn of the loop before replies get theirs."""

_EARLY_NS = 200_000
"""How long before a request is due a loop that may poll stops sleeping: longer than a timerfd is usually late."""

_NAP_NS = 100_000
"""A loop that would have to be awake sooner than this does not go to sleep."""

_MISSED_NS = 30_000
"""How long after a request was due a polling loop is woken for it, should it be too busy to poll: the interrupt of a timer set
to the very instant would itself make the request late."""

_ERROR_KINDS = 10
_OTHER = "other errors"

Report = Callable[[float, int, str | None], None]
"""Told of every request that was sent: latency in ms, bytes of the body, error."""


class Engine:
    """One run of `plan`. `start()`, let the loop run until `finished` is called, then `reply()`."""

    def __init__(self, loop: Loop, plan: Plan, report: Report, finished: Callable[[], None]) -> None:
        """Reads the plan's files. Raises UsageError when they do not fit, InfrastructureError when the disk refuses."""
        self._loop, self._plan, self._report, self._finished = loop, plan, report, finished
        script = read(plan)
        self._requests, self._order, self._targets, self._changes = (
            script.requests,
            script.order,
            script.targets,
            script.changes,
        )
        self._offsets = script.offsets
        try:
            self._recorder = Recorder(Path(plan.samples))
        except OSError as error:
            raise InfrastructureError(f"cannot open {plan.samples} for the samples: {error.strerror}") from error
        self._cap = plan.in_flight_cap or plan.connections
        self._timeout_ns = round(plan.request_timeout_s * _NS_PER_S)
        self._limit_ns = None if plan.stop_after is None else round(plan.stop_after.limit_ms * 1e6)
        self._violations_left = 0 if plan.stop_after is None else plan.stop_after.count
        self._most = math.inf if plan.requests is None else plan.requests
        self._next = 0
        self._busy: dict[Connection, None] = {}  # in the order sent, so that the first is the oldest
        self._resting_users = self._leaving_users = 0
        self._area_ns = self._area_at_ns = 0
        self._max_in_flight = 0
        self._outlook = Outlook()
        self._errors: Counter[str] = Counter()
        self._window_end_ns = self._drain_end_ns = self._done_ns = 0
        self._dispatched_all = self._stopped_early = self._over = False

    # Preparation and end.

    def start(self) -> None:
        """Open all connections, blocking, and set the timers. Raises InfrastructureError when the server cannot be reached."""
        plan = self._plan
        self._pool = Pool(self._loop, plan, self._ended)
        try:
            self._pool.open()
        except InfrastructureError:
            self._recorder.close()
            raise
        lead_ns = _LEAD_NS + len(self._offsets) * _LEAD_PER_ARRIVAL_NS
        self._start_ns = self._area_at_ns = self._done_ns = time.monotonic_ns() + lead_ns
        self._due = array("q", (self._offsets + self._start_ns).tobytes())
        self._dispatcher = Timer(self._loop, self._wake if plan.users is None else self._change_users, priority=1)
        self._poller, self._alarm = Poller(self._loop, self._poll), Timer(self._loop, self._wake_to_poll)
        self._early_ns = _EARLY_NS if plan.own_core else 0
        self._awaits = plan.own_core and plan.users is not None  # only a closed loop goes on with an answer
        self._monitor = Monitor(self._loop, self._start_ns, self._tick, self._recorder.flush, lambda: self._poller.polled_s)
        self._window_end_ns = self._start_ns + round(plan.duration_s * _NS_PER_S)
        self._dispatcher.at(self._due[0] - self._early_ns if self._due else self._start_ns)

    def reply(self) -> Reply:
        """The counts, once finished; Locust's own are the caller's to fill in."""
        succeeded, failed, dropped, undrained = self._recorder.counts
        return Reply(
            planned=self._next,
            succeeded=succeeded,
            failed=failed,
            dropped=dropped,
            undrained=undrained,
            start_ns=self._start_ns,
            window_ns=self._window_end_ns - self._start_ns,
            active_ns=max(0, self._done_ns - self._start_ns),
            cpu_s=self._monitor.cpu_s,
            cpu_peak=self._monitor.cpu_peak,
            loop_lag_p99_ms=self._monitor.lag_p99_ms(),
            run_queue_wait_s=self._monitor.waited_s,
            connections_opened_in_window=self._pool.opened,
            max_in_flight=self._max_in_flight,
            in_flight_integral_ns=self._area_ns,
            locust_requests=0,
            locust_failures=0,
            stopped_early=self._stopped_early,
            errors=dict(self._errors),
            seconds=self._monitor.seconds(),
        )

    def _finish(self) -> None:
        self._over = True
        self._monitor.close()
        self._dispatcher.close()
        self._poller.close()
        self._alarm.close()
        self._pool.close()
        for connection in list(self._busy):
            connection.close()
        self._recorder.close()
        self._finished()

    # Sending.

    def _wake(self) -> None:
        due_ns = self._due[self._next] if self._next < len(self._due) else 0
        if due_ns > time.monotonic_ns():
            self._dispatcher.at(due_ns + _MISSED_NS)
            self._poller.on()
        else:
            self._send_due()

    def _wake_to_poll(self) -> None:
        self._alarm.off()
        self._poller.on()

    def _poll(self, now: int) -> None:
        """Nothing else to do: see whether a request is due, and sleep until it or an answer is near."""
        due_ns = self._due[self._next] if self._next < len(self._due) and not self._dispatched_all else None
        if due_ns is not None and due_ns <= now:
            self._send_due()
            return
        event_ns = due_ns
        if self._awaits and self._busy and self._outlook.short:
            answer_ns = next(iter(self._busy)).sent_ns + self._outlook.earliest_ns
            event_ns = answer_ns if due_ns is None else min(due_ns, answer_ns)
        if event_ns is None:
            self._poller.off()
        elif event_ns - self._early_ns - now > _NAP_NS:
            self._poller.off()
            self._alarm.at(event_ns - self._early_ns)

    def _send_due(self) -> None:
        due, at, now = self._due, self._next, time.monotonic_ns()
        last = min(at + _BATCH, len(due))
        while at < last and due[at] <= now and not self._stopped_early:
            self._next = at + 1
            if len(self._busy) >= self._cap:
                self._recorder.add(due[at], ABSENT_NS, ABSENT_NS, -1, -1, 0, self._order[at], 0, DROPPED)
                self._violation()
            else:
                self._send(due[at], now, self._order[at], self._targets[at] if self._targets else 0)
            at += 1
            now = time.monotonic_ns()
        if at < len(due) and not self._stopped_early:
            self._dispatcher.at(due[at] - self._early_ns)
        else:
            self._all_dispatched(now)

    def _change_users(self) -> None:
        now = time.monotonic_ns()
        while self._changes and self._start_ns + self._changes[0][0] <= now and not self._dispatched_all:
            change = self._changes.popleft()[1]
            for _ in range(change):
                if self._leaving_users:
                    self._leaving_users -= 1  # stays after all
                else:
                    self._next_of_user(time.monotonic_ns())
            self._leaving_users += max(0, -change)
        if self._changes and not self._dispatched_all:
            self._dispatcher.at(self._start_ns + self._changes[0][0])
        elif not self._over:
            self._dispatcher.off()

    def _next_of_user(self, now: int) -> None:
        if now >= self._window_end_ns or self._stopped_early or self._next >= self._most:
            return self._all_dispatched(now)
        if self._leaving_users:
            self._leaving_users -= 1
            return None
        self._next += 1
        return self._send(now, now, self._order[(self._next - 1) % len(self._order)])

    def _send(self, due: int, now: int, payload: int, target: int = 0) -> None:
        connection, fresh = self._pool.take(target)
        connection.due_ns, connection.sent_ns, connection.payload = due, now, payload
        in_flight = len(self._busy)
        self._area_ns += in_flight * (now - self._area_at_ns)
        self._area_at_ns = now
        self._busy[connection] = None
        if self._awaits and self._outlook.short:
            self._poller.on()
        if in_flight >= self._max_in_flight:
            self._max_in_flight = in_flight + 1
        if fresh:
            connection.connect_and_send(self._requests[payload])
        else:
            connection.send(self._requests[payload])

    def _all_dispatched(self, now: int) -> None:
        if not self._dispatched_all:
            self._dispatched_all = True
            self._dispatcher.off()
            if self._stopped_early:
                self._window_end_ns = now
            self._drain_end_ns = now + round(self._plan.drain_timeout_s * _NS_PER_S)
        if not self._busy and not self._over:
            self._finish()

    # Ends.

    def _ended(self, connection: Connection) -> None:
        if not connection.busy:
            self._pool.forget(connection)
            return
        now = time.monotonic_ns()
        error = connection.error or fault(self._plan, connection)
        done = max(connection.arrived_ns, connection.sent_ns) if connection.arrived_ns else now
        self._account(connection, now, done, FAILED if error else SUCCEEDED, error)
        if connection.open:
            self._pool.give_back(connection)
        if self._dispatched_all:
            self._all_dispatched(now)
        elif self._plan.users is not None:
            if connection.error:
                self._resting_users += 1  # until the next tick: a dead server is not to be asked as fast as it can refuse
            else:
                self._next_of_user(now)

    def _account(self, connection: Connection, now: int, done: int, outcome: int, error: str | None) -> None:
        """Its request ended at `done`, of which this process knows since `now`."""
        self._area_ns += len(self._busy) * (now - self._area_at_ns) - (now - done)
        self._area_at_ns, self._done_ns = now, max(self._done_ns, done)
        del self._busy[connection]
        connection.busy = False
        latency_ns = done - connection.due_ns
        self._outlook.took(now - connection.sent_ns)
        self._recorder.add(
            connection.due_ns,
            connection.sent_ns,
            done if outcome != UNDRAINED else ABSENT_NS,
            connection.queue_us,
            connection.compute_us,
            connection.body_bytes,
            connection.payload,
            connection.status,
            outcome,
        )
        if error is not None:
            self._errors[error if error in self._errors or len(self._errors) < _ERROR_KINDS else _OTHER] += 1
        if error is not None or (self._limit_ns is not None and latency_ns > self._limit_ns):
            self._violation()
        self._report(latency_ns / 1e6, connection.body_bytes, error)

    def _violation(self) -> None:
        self._violations_left -= 1
        if self._violations_left == 0:
            self._stopped_early = True

    def _tick(self, now: int) -> None:
        while self._busy:
            oldest = next(iter(self._busy))
            if now - oldest.sent_ns < self._timeout_ns:
                break
            self._abandon(oldest, now, FAILED, f"no reply within {self._plan.request_timeout_s:g} s")
        if self._dispatched_all and now >= self._drain_end_ns:
            for connection in list(self._busy):
                self._abandon(connection, now, UNDRAINED, f"no reply within the drain of {self._plan.drain_timeout_s:g} s")
        resting, self._resting_users = self._resting_users, 0
        for _ in range(resting):
            self._next_of_user(now)
        if self._dispatched_all or (self._plan.users is not None and now >= self._window_end_ns):
            self._all_dispatched(now)

    def _abandon(self, connection: Connection, now: int, outcome: int, error: str) -> None:
        connection.close()
        self._account(connection, now, now, outcome, error)
        if self._plan.users is not None:
            self._resting_users += 1
