"""asyncio's end of a simulated wire: a transport under asyncio's own StreamReader and StreamWriter.

What arrives is handed to the event loop with `call_soon_threadsafe`, the one public way to wake a loop from outside;
the simulation's loop parks in the kernel and is woken there.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from tasksim.network.wire import Listener, Network
from tasksim.unix.socket import StreamFile
from tasksim.unix.system import Unix

#: The buffer limit of asyncio.open_connection, in bytes.
_LIMIT = 2**16


class StreamWorld(Protocol):
    """What a stream needs of the simulation."""

    unix: Unix
    network: Network


class _AsyncFile(StreamFile):
    """The open file behind a stream of an event loop."""

    def __init__(self, system: Unix, loop: asyncio.AbstractEventLoop, protocol: asyncio.StreamReaderProtocol) -> None:
        super().__init__(system)
        self._loop, self._protocol = loop, protocol

    def feed(self, payload: bytes) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._protocol.data_received, payload)

    def hang_up(self) -> None:
        self.ended = True
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._protocol.connection_lost, None)


class _WireTransport(asyncio.Transport):
    """asyncio's view of the open file."""

    def __init__(self, system: Unix, file: _AsyncFile, loop: asyncio.AbstractEventLoop, peer: tuple[str, int]) -> None:
        super().__init__({"peername": peer, "sockname": ("127.0.0.1", 0)})
        self._system, self._file, self._loop = system, file, loop
        self._descriptor = system.open(file)

    def write(self, data: Any) -> None:
        """Hand the bytes over; as with a real transport an error shows as the loss of the connection."""
        if self._descriptor < 0 or self._file.ended:
            return
        self._system.kernel.poll_point()
        try:
            self._file.line.send(bytes(data))
        except OSError:
            self._file.hang_up()

    def is_closing(self) -> bool:
        return self._descriptor < 0 or self._file.ended

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._system.close_own(descriptor, self._file)
            if not self._file.ended:
                self._file.hang_up()

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Nothing to pause: what has arrived is in the reader already."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""


def connect_stream(
    world: StreamWorld, server: Listener, peer: tuple[str, int]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """What asyncio.open_connection returns, connected to a simulated server.

    Raises:
        ConnectionRefusedError: the server is down or refuses.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LIMIT, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    file = _AsyncFile(world.unix, loop, protocol)
    file.line = world.network.connect(server, file)
    transport = _WireTransport(world.unix, file, loop, peer)
    protocol.connection_made(transport)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
