"""An event loop with the face of gevent's, turned by hand, for tests inside this process."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

from loadprofiles.timer import READ, Watcher


class HandWatcher:
    def __init__(self, loop: HandLoop, fd: int, events: int) -> None:
        self.loop, self.fd, self.events = loop, fd, events
        self.callback: Callable[[], Any] | None = None

    def start(self, callback: Callable[..., Any], *args: Any) -> None:
        self.callback = lambda: callback(*args)
        if self not in self.loop.watchers:
            self.loop.watchers.append(self)

    def stop(self) -> None:
        if self in self.loop.watchers:
            self.loop.watchers.remove(self)

    def close(self) -> None:
        assert self not in self.loop.watchers


class HandIdle:
    """Called back in every turn in which nothing else is."""

    def __init__(self, loop: HandLoop) -> None:
        self.loop = loop
        self.callback: Callable[[], Any] | None = None

    def start(self, callback: Callable[..., Any], *args: Any) -> None:
        self.callback = lambda: callback(*args)
        self.loop.idlers.append(self)

    def stop(self) -> None:
        self.loop.idlers.remove(self)

    def close(self) -> None:
        assert self not in self.loop.idlers


class HandLoop:
    def __init__(self) -> None:
        self.watchers: list[HandWatcher] = []
        self.idlers: list[HandIdle] = []

    def io(self, fd: int, events: int, ref: bool = True, priority: int | None = None) -> Watcher:
        return HandWatcher(self, fd, events)

    def idle(self) -> Watcher:
        return HandIdle(self)

    def turn(self, timeout_s: float = 0.05) -> None:
        """Call back whatever is ready, once."""
        reads, writes = ([each.fd for each in self.watchers if (each.events == READ) is read] for read in (True, False))
        ready = select.select(reads, writes, [], 0 if self.idlers else timeout_s)
        if not any(ready):
            for idler in list(self.idlers):
                assert idler.callback is not None
                idler.callback()
        for watcher in list(self.watchers):
            if watcher in self.watchers and watcher.fd in ready[watcher.events != READ]:
                assert watcher.callback is not None
                watcher.callback()

    def turn_until(self, done: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Call back whatever is ready until `done()`."""
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, "nothing came of it"
            self.turn()
