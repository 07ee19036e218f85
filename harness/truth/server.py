"""The truth server's loop: one thread that owns its core.

A request's answer is due at an instant that follows from its arrival alone (`discipline`), whatever this process did meanwhile.
The loop sleeps in epoll until shortly before the next answer is due, woken by a timerfd, then polls without sleeping, so that
the answer leaves within a few microseconds of its instant. With a core of its own it polls while requests keep coming, so that
arrivals are seen as soon.
"""

from __future__ import annotations

import errno
import gc
import heapq
import select
import signal
import socket
import time
from types import FrameType

from harness.truth.answers import Answer, Answers
from harness.truth.connection import READ_BYTES, Connection
from harness.truth.discipline import Line
from harness.truth.draws import draws
from harness.truth.log import ABSENT_NS, Log
from harness.truth.spec import Kind, Truth
from loadprofiles.timer import Alarm

SPIN_NS = 150_000
"""How long before an answer is due the loop stops sleeping: longer than a timerfd is usually late."""

AWAKE_NS = 20_000_000
"""How long after the last request the loop goes on polling if it has a core of its own. One that has gone to sleep takes some
ten microseconds to notice the next request, and that is charged to whoever measures."""

_BATCH = 8
"""Answers sent before arrivals get their turn, and their instant."""

_AT_ONCE = frozenset({Kind.UNAVAILABLE, Kind.EMPTY, Kind.TRUNCATED, Kind.RESET, Kind.GARBAGE})
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TruthServer:
    """Answers on `listener` as `truth` says, from `run` until SIGTERM or SIGINT; `log` gets every inference."""

    def __init__(self, truth: Truth, listener: socket.socket, log: Log, *, release: str, own_core: bool) -> None:
        self._truth, self._listener, self._log = truth, listener, log
        self._answers = Answers(release)
        self._line = Line(truth.servers)
        self._draws = draws(truth)
        self._next_draw = next(self._draws)  # the first block is drawn before anybody waits for it
        self._connections: dict[int, Connection] = {}
        self._due: list[tuple[int, int, Connection, Answer, int]] = []  # a heap: instant, order of arrival, what and to whom
        self._count = 0
        self._epoll = select.epoll()
        self._alarm = Alarm()
        self._alarm_ns = 0  # 0 while it is off
        self._awake_ns = AWAKE_NS if own_core else 0
        self._awake_until_ns = 0
        self._accepting = False
        self._stop_ns: int | None = None

    def run(self, grace_s: float) -> None:
        """Serve; once asked to stop, answer what is due within `grace_s` and return with everything closed."""
        self._buffer = memoryview(bytearray(READ_BYTES))
        wake, woken = socket.socketpair()
        with wake, woken, self._listener, self._epoll:
            for each in (wake, woken, self._listener):
                each.setblocking(False)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, _note)
            before = signal.set_wakeup_fd(wake.fileno())
            self._epoll.register(self._alarm.fd, select.EPOLLIN)
            self._epoll.register(woken.fileno(), select.EPOLLIN)
            self._accept_more()
            gc.collect()
            gc.freeze()
            self._origin_ns = time.monotonic_ns()
            try:
                while not self._finished():
                    self._turn(woken, grace_s)
            finally:
                signal.set_wakeup_fd(before)
                for connection in list(self._connections.values()):
                    connection.close()
                self._alarm.close()

    def _finished(self) -> bool:
        if self._stop_ns is None:
            return False
        return not self._due or time.monotonic_ns() >= self._stop_ns

    def _turn(self, woken: socket.socket, grace_s: float) -> None:
        """Wait for something to do, and do it."""
        events = self._epoll.poll(self._timeout())
        now_ns = time.monotonic_ns()
        for fd, event in events:
            connection = self._connections.get(fd)
            if connection is not None:
                self._serve(fd, connection, event, now_ns)
            elif fd == self._alarm.fd:
                self._alarm.expirations()
                self._alarm_ns = 0
            elif fd == woken.fileno():
                self._stop(now_ns + round(grace_s * 1e9))
                self._epoll.unregister(fd)
            elif self._accepting:
                self._accept()
        self._send_due()

    def _timeout(self) -> float:
        """For epoll: 0 when an answer is nearly due, otherwise without end, with the alarm set."""
        wake_ns = self._due[0][0] - SPIN_NS if self._due else None
        if self._stop_ns is not None:
            wake_ns = self._stop_ns if wake_ns is None else min(wake_ns, self._stop_ns)
        now_ns = time.monotonic_ns()
        if now_ns < self._awake_until_ns or (wake_ns is not None and wake_ns <= now_ns):
            return 0.0
        if wake_ns is None:
            return -1.0
        if wake_ns != self._alarm_ns:
            self._alarm.at(wake_ns)
            self._alarm_ns = wake_ns
        return -1.0

    def _send_due(self) -> None:
        due = self._due
        for _ in range(_BATCH):
            if not due or due[0][0] > time.monotonic_ns():
                return
            _, _, connection, answer, record = heapq.heappop(due)
            if connection.open:
                fd = connection.sock.fileno()
                self._log.answered(record, time.monotonic_ns())
                connection.answer(answer)
                self._tidy(fd, connection)

    def _serve(self, fd: int, connection: Connection, event: int, now_ns: int) -> None:
        if event & (select.EPOLLHUP | select.EPOLLERR):
            connection.close()  # nobody is left to answer
        if connection.open and event & select.EPOLLOUT:
            connection.writable()
        if connection.open and event & select.EPOLLIN and connection.read(self._buffer):
            self._arrived(connection, now_ns)
        self._tidy(fd, connection)

    def _arrived(self, connection: Connection, now_ns: int) -> None:
        """A request is whole: answer it, or put it in line."""
        form, keep = connection.form, connection.keep and not self._truth.churn
        immediate = self._answers.immediate(connection.method, form, keep=keep)
        if immediate is not None:
            connection.answer(immediate)
            return
        self._awake_until_ns = now_ns + self._awake_ns
        service_ns, kind = self._next_draw
        ready_ns, queue_ns = now_ns, 0
        if kind not in _AT_ONCE and kind is not Kind.NEVER:
            start_ns = self._line.admit(now_ns, service_ns)
            ready_ns, queue_ns = start_ns + service_ns, start_ns - now_ns
        due_ns = ready_ns
        if self._truth.stall is not None:
            due_ns = self._origin_ns + self._truth.stall.release_ns(ready_ns - self._origin_ns)
        if kind is Kind.NEVER:
            self._log.arrived(now_ns, ABSENT_NS, service_ns, kind)
            connection.give_up()
        else:
            record = self._log.arrived(now_ns, due_ns, service_ns, kind)
            answer = self._answers.inference(kind, form, queue_ns, service_ns, keep=keep)
            heapq.heappush(self._due, (due_ns, self._count, connection, answer, record))
        self._count += 1
        self._next_draw = next(self._draws)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_DESCRIPTORS:  # until a connection is closed
                    self._accepting = False
                    self._epoll.unregister(self._listener.fileno())
                    return
                continue  # the client was gone before it was accepted
            self._connections[sock.fileno()] = Connection(sock, self._epoll)

    def _accept_more(self) -> None:
        if not self._accepting and self._stop_ns is None:
            self._accepting = True
            self._epoll.register(self._listener.fileno(), select.EPOLLIN)

    def _tidy(self, fd: int, connection: Connection) -> None:
        if not connection.open and self._connections.pop(fd, None) is not None:
            self._accept_more()

    def _stop(self, stop_ns: int) -> None:
        """Take no more requests; those in line are answered until `stop_ns`."""
        self._stop_ns = stop_ns
        if self._accepting:
            self._accepting = False
            self._epoll.unregister(self._listener.fileno())
        waiting = {id(connection) for _, _, connection, _, _ in self._due}
        for fd, connection in list(self._connections.items()):
            if id(connection) not in waiting:
                connection.close()
                self._tidy(fd, connection)


def _note(number: int, frame: FrameType | None) -> None:
    """The signal's byte in the wake-up socket says enough."""
