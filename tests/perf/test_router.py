"""The router of the replay: the least outstanding first, drained before it goes, and refused when nobody is there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from tests.perf.router import Replica, Router


async def _server(go: asyncio.Event, seen: Counter[str], name: str) -> tuple[asyncio.Server, int]:
    """Answers with the body turned round, once it may."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
                seen[name] += 1
                await go.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body[::-1]))
        except asyncio.IncompleteReadError:
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def _ask(port: int, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    head = await reader.readuntil(b"\r\n\r\n")
    said = head + await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
    writer.close()
    await writer.wait_closed()
    return said


async def _until(said: Callable[[], bool]) -> None:
    while not said():
        await asyncio.sleep(0.005)


async def _proof() -> None:
    seen, answers = Counter[str](), Counter[str]()
    router = Router(lambda: answers.update(["all"]))
    port = await router.start()
    assert (await _ask(port, b"x")).startswith(b"HTTP/1.1 503")
    held, free = asyncio.Event(), asyncio.Event()
    free.set()
    slow, fast = await _server(held, seen, "slow"), await _server(free, seen, "fast")
    replicas = [Replica(port=slow[1]), Replica(port=fast[1])]
    router.admit(replicas[0])
    waiting = asyncio.create_task(_ask(port, b"abc"))
    await _until(lambda: seen["slow"] == 1)
    router.admit(replicas[1])
    said = [await _ask(port, b"abc") for _ in range(5)]
    assert all(each.endswith(b"cba") for each in said)
    assert seen == {"slow": 1, "fast": 5}, "the one that has nothing to do takes all"
    draining = asyncio.create_task(router.drain(replicas[0]))
    await asyncio.sleep(0.02)
    assert (router.serving, draining.done()) == (1, False), "nothing new, but it still has something to answer"
    held.set()
    await draining
    assert (await waiting).endswith(b"cba")
    assert (answers["all"], router.refused, replicas[0].outstanding) == (6, 1, 0)
    await router.stop()
    for server, _ in (slow, fast):
        server.close()
        await server.wait_closed()
    await asyncio.sleep(0.05)  # the servers' own ends see that they were left


def test_the_router() -> None:
    asyncio.run(_proof())
