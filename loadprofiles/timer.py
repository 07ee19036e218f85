"""A timer on the monotonic clock that is finer than the event loop's own.

libev and CPython's epoll round a timeout up to a whole millisecond; a timerfd becomes readable within about 0.1 ms of the
absolute instant it was set to. `os.timerfd_create` exists from Python 3.13 on, hence ctypes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from harness.errors import InfrastructureError

READ, WRITE = 1, 2
"""Event masks of `Loop.io`."""

_NS_PER_S = 1_000_000_000
_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK, _TFD_CLOEXEC = 0o4000, 0o2000000
_TFD_TIMER_ABSTIME = 1


class Watcher(Protocol):
    """Calls back while its descriptor is ready, or the loop has nothing else to do, until stopped."""

    def start(self, callback: Callable[..., Any], *args: Any) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...


class Loop(Protocol):
    """The part of gevent's event loop that is used here."""

    def io(self, fd: int, events: int, ref: bool = True, priority: int | None = None) -> Watcher: ...
    def idle(self) -> Watcher: ...


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class Alarm:
    """A descriptor `fd` that becomes readable at an absolute instant; set anew for every instant, or periodic."""

    def __init__(self) -> None:
        """Raises InfrastructureError where the system has no timerfd."""
        libc = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None
        if libc is None or not hasattr(libc, "timerfd_create"):
            raise InfrastructureError(f"{sys.platform} has no timerfd, so nothing can be done on time; run on Linux")
        self.fd = int(libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC))
        if self.fd < 0:
            raise InfrastructureError(f"timerfd_create failed: {os.strerror(ctypes.get_errno())}")
        self._settime = libc.timerfd_settime
        self._spec = _Itimerspec()
        self._value = self._spec.it_value
        self._argument = ctypes.byref(self._spec)

    def at(self, instant_ns: int, every_ns: int = 0) -> None:
        """Fire at `instant_ns` of the monotonic clock, at once if that has passed, then every `every_ns` unless 0.

        Whatever was set or had expired before is forgotten.
        """
        self._value.tv_sec, self._value.tv_nsec = divmod(max(1, instant_ns), _NS_PER_S)
        if every_ns != 0 or self._spec.it_interval.tv_nsec or self._spec.it_interval.tv_sec:
            self._spec.it_interval.tv_sec, self._spec.it_interval.tv_nsec = divmod(every_ns, _NS_PER_S)
        if self._settime(self.fd, _TFD_TIMER_ABSTIME, self._argument, None) != 0:
            raise InfrastructureError(f"timerfd_settime failed: {os.strerror(ctypes.get_errno())}")

    def off(self) -> None:
        """Fire no more until set again."""
        self._value.tv_sec = self._value.tv_nsec = 0
        self._settime(self.fd, _TFD_TIMER_ABSTIME, self._argument, None)

    def expirations(self) -> int:
        """How often the timer has expired since it was set or last asked; 0 when it has not."""
        try:
            return int.from_bytes(os.read(self.fd, 8), sys.byteorder)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self.fd)


class Timer(Alarm):
    """Calls `callback()` in the loop at an absolute instant."""

    def __init__(self, loop: Loop, callback: Callable[[], None], *, priority: int = 0) -> None:
        """`priority` is the loop's, -2..2: callbacks of a higher one go first.

        Raises InfrastructureError where the system has no timerfd.
        """
        super().__init__()
        self._watcher = loop.io(self.fd, READ, True, priority)
        self._watcher.start(callback)

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        super().close()
