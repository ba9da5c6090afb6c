"""A relay on loopback between clients and one server. It counts bytes and connections, and can cut or slow them. It
knows no HTTP."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

PIECE = 16 << 10


class Relay:
    """`down` counts what the server sent. `cut_after`: bytes of answers after which a connection is cut, 0 for never;
    `pace`: bytes a second of each connection, 0 for all."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = self.down = self.up = self.open = self.peak = self.connections = 0
        self.cut_after = self.pace = 0
        self._listening = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator["Relay"]:
        thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        thread.start()
        self._listening.wait(20)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._ending.set)
            thread.join(20)

    def forget(self) -> None:
        """Counts from nothing."""
        self.down = self.up = self.connections = 0
        self.peak = self.open

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._ending.wait()
        server.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.peak = max(self.peak, self.open)
        try:
            there, answer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
        else:
            await asyncio.gather(self._upwards(reader, answer), self._downwards(there, writer), return_exceptions=True)
        finally:
            self.open -= 1

    async def _upwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(PIECE):
                self.up += len(data)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    async def _downwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = 0
        try:
            while data := await reader.read(PIECE):
                self.down += len(data)
                sent += len(data)
                writer.write(data)
                await writer.drain()
                if self.cut_after and sent >= self.cut_after:
                    writer.transport.abort()
                    return
                if self.pace:
                    await asyncio.sleep(len(data) / self.pace)
        finally:
            writer.close()
