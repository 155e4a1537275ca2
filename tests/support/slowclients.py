"""Clients that take places and never finish: each begins something, holds on, and comes back the moment it is cut off.

They are of the test's own process, so that a test waits for what happened and never for a time.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Manner:
    """What one connection says at first, then what it says again and again, and whether it reads."""

    beginning: bytes
    drip: bytes = b""
    pause_s: float = 0.01
    is_reading: bool = True


class Flood:
    """Connections that hold on in their manners, and come back at once."""

    def __init__(self, port: int, manners: Sequence[Manner]) -> None:
        self._port = port
        self._manners = manners
        self.begun_count = 0
        self.ended_count = 0

    async def forever(self, index: int) -> None:
        """Be one of these connections, again and again."""
        manner = self._manners[index % len(self._manners)]
        while True:
            with contextlib.suppress(OSError):
                await self._once(manner)
            self.ended_count += 1
            await asyncio.sleep(0)

    async def _once(self, manner: Manner) -> None:
        with socket.socket() as client:
            client.setblocking(False)
            if not manner.is_reading:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, (LOOPBACK, self._port))
            speaking = asyncio.create_task(self._speak(client, manner))
            try:
                if manner.is_reading:
                    while await loop.sock_recv(client, 65_536):
                        pass
                else:
                    await speaking
            finally:
                speaking.cancel()
                await asyncio.gather(speaking, return_exceptions=True)

    async def _speak(self, client: socket.socket, manner: Manner) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, manner.beginning)
        self.begun_count += 1
        while manner.drip or not manner.is_reading:
            await asyncio.sleep(manner.pause_s)
            await loop.sock_sendall(client, manner.drip or b"\r\n")


@asynccontextmanager
async def flooded(port: int, count: int, *manners: Manner) -> AsyncIterator[Flood]:
    """Have so many connections of these manners in turn, all of them begun once, and end them."""
    flood = Flood(port, manners)
    tasks = [asyncio.create_task(flood.forever(index)) for index in range(count)]
    try:
        while flood.begun_count < count:
            await asyncio.sleep(0.001)
        yield flood
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
