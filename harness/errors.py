"""The errors a command can end with, each with its documented exit code.

LoadstoneError
├── UsageError           2  the request cannot be served as written: unknown name, bad file, bad option, port taken
├── MeasurementInvalid   3  a run broke one of its own rules and decides nothing
├── InfrastructureError  3  the machine refused: no disk, no memory, a child that would not start
└── Interrupted        130  the user stopped it

A candidate that cannot be compiled, served or measured is not an error but a `Failure` row (see `nouns`).
Every message says what happened, where, and what to do, in one line.
"""


class LoadstoneError(Exception):
    """Base of every error that a command reports as one line; `exit_code` is what the process returns."""

    exit_code = 3


class UsageError(LoadstoneError):
    """The request cannot be served as written; nothing was started."""

    exit_code = 2


class MeasurementInvalid(LoadstoneError):
    """A run broke one of its own rules (conservation, lateness …) and may decide nothing."""


class InfrastructureError(LoadstoneError):
    """The machine refused: no disk, no memory, a child that would not start."""


class Interrupted(LoadstoneError):
    """The user asked to stop; what was measured so far is kept."""

    exit_code = 130
