"""The open connections of one run, to one server or to several that take turns."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import InfrastructureError
from loadprofiles.plan import Plan
from loadprofiles.timer import Loop
from loadprofiles.transport import Address, Connection, resolve

_CONNECT_TIMEOUT_S = 3.0


class Pool:
    """Idle connections by target. One that broke is not replaced until a request finds none idle; `opened` counts those."""

    def __init__(self, loop: Loop, plan: Plan, ended: Callable[[Connection], None]) -> None:
        self._loop, self._plan, self._ended = loop, plan, ended
        self._buffer = Connection.buffer()
        self._addresses: list[Address] = []
        self._idle: list[list[Connection]] = []
        self.opened = 0

    def open(self) -> None:
        """Open all connections, blocking. Raises InfrastructureError, and leaves none, when a server cannot be reached."""
        plan = self._plan
        for port in (plan.port, *plan.also):
            idle: list[Connection] = []
            self._idle.append(idle)
            try:
                self._addresses.append(resolve(plan.host, port))
                for _ in range(plan.connections):
                    connection = self._make(len(self._addresses) - 1)
                    idle.append(connection)
                    connection.connect_now(_CONNECT_TIMEOUT_S)
            except OSError as error:
                self.close()
                raise InfrastructureError(
                    f"cannot open connection {len(idle) or 1} of {plan.connections} to {plan.host}:{port}: "
                    f"{error.strerror or error}"
                ) from error

    def take(self, target: int) -> tuple[Connection, bool]:
        """A connection to that target, and whether it is new and not yet connected."""
        idle = self._idle[target]
        if idle:
            return idle.pop(), False
        self.opened += 1
        return self._make(target), True

    def give_back(self, connection: Connection) -> None:
        self._idle[connection.target].append(connection)

    def forget(self, connection: Connection) -> None:
        """An idle connection was closed by the server."""
        self._idle[connection.target].remove(connection)

    def close(self) -> None:
        for idle in self._idle:
            for connection in list(idle):
                connection.close()

    def _make(self, target: int) -> Connection:
        connection = Connection(
            self._loop, self._addresses[target], self._buffer, self._ended, keep=self._plan.expect_body == "json"
        )
        connection.target = target
        return connection
