"""What the person at the terminal sees while a bench runs: what runs now, how far it is, how long still. To standard error."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Display:
    """A live bar on a terminal, one line per step elsewhere. Times ahead are estimates and are shown as such."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._mutex = threading.Lock()
        self._ahead: dict[str, float] = {}
        self._done_s = 0.0
        self._started = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                BarColumn(bar_width=24),
                TextColumn("{task.description}", markup=False),
                TextColumn("{task.fields[left]}", style="dim"),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("starting", total=1.0, left="")

    def __enter__(self) -> Display:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Take the live bar away; lines can still be said."""
        if self._bar:
            self._bar.stop()

    def expect(self, work: dict[str, float]) -> None:
        """Say which pieces of work lie ahead and about how many seconds each will take; replaces what was said before."""
        with self._mutex:
            self._ahead = dict(work)
        self._refresh(None)

    def now(self, text: str) -> None:
        """What is being done at this moment."""
        self._refresh(text)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def finished(self, name: str) -> None:
        """A piece of the expected work is done."""
        with self._mutex:
            self._done_s += self._ahead.pop(name, 0.0)
        self._refresh(None)

    def _refresh(self, text: str | None) -> None:
        with self._mutex:
            ahead_s = sum(self._ahead.values())
            done_s = self._done_s
        if self._bar is not None and self._task is not None:
            left = f"about {_clock(ahead_s)} left" if ahead_s else ""
            if text is None:
                self._bar.update(self._task, completed=done_s, total=done_s + ahead_s or 1.0, left=left)
            else:
                self._bar.update(self._task, description=text[:90], completed=done_s, total=done_s + ahead_s or 1.0, left=left)
        elif text is not None:
            left = f"  (about {_clock(ahead_s)} left)" if ahead_s else ""
            self.say(f"{_clock(time.monotonic() - self._started):>6}  {text}{left}")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes}:{rest:02d}"
