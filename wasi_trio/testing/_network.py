"""An in-memory network between a test and its guests."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace

import trio

from wasi_trio.runtime._register import REGISTER
from wasi_trio.wasi.sockets._addresses import Address
from wasi_trio.wasi.sockets._context import NetworkOptions
from wasi_trio.wasi.sockets._memory import PIPE, MemoryNetwork, MemoryTcp, MemoryUdp
from wasi_trio.wasi.sockets._transports import Direction


class Network:
    """An in-memory network that connects guests with the test and with each other.

    ``names`` maps host names for look-ups to their addresses. Guests may connect, listen, send and receive at any
    address, unless ``options`` restrict them. All waits follow trio's clock.
    """

    def __init__(
        self, names: Mapping[str, Sequence[str]] | None = None, *, options: NetworkOptions | None = None
    ) -> None:
        self._memory = MemoryNetwork(names)
        self._options = options or NetworkOptions(inherit=True, allow_ip_name_lookup=True)

    def options(self) -> NetworkOptions:
        """Return the options for ``WasiOptions.network``."""
        return replace(self._options, network=self._memory)

    def listen(self, host: str, port: int) -> Listener:
        """Listen at an address for connections from guests. Raises OSError if the address is in use."""
        address = Address(host, port)
        transport = self._memory.tcp(address.family)
        transport.bind(address)
        transport.listen(128)
        return Listener(transport)

    async def connect(self, host: str, port: int) -> MemoryStream:
        """Connect to a guest that listens at the address, or at all addresses. Waits for such a guest."""
        address = Address(host, port)
        transport = self._memory.tcp(address.family)
        while True:
            try:
                transport.connect(address)
            except ConnectionRefusedError:
                await self._memory.listening.park()
            else:
                await trio.lowlevel.checkpoint()
                return MemoryStream(transport)

    def datagrams(self, host: str, port: int) -> Datagrams:
        """Return a UDP socket bound to an address. Raises OSError if the address is in use."""
        address = Address(host, port)
        transport = self._memory.udp(address.family)
        transport.bind(address)
        return Datagrams(transport)


class _Registered:
    """An object that a test must close. It reports its opening and closing to the leak check."""

    def __init__(self, what: str) -> None:
        self._register = REGISTER.get()
        if self._register is not None:
            self._register.opened(self, what)

    def _set_closed(self) -> None:
        if self._register is not None:
            self._register.closed(self)


class MemoryStream(_Registered, trio.abc.HalfCloseableStream):
    """The test's end of an in-memory connection, like trio.SocketStream. Each direction is for one task at a time."""

    def __init__(self, transport: MemoryTcp) -> None:
        super().__init__("a MemoryStream")
        self._transport = transport
        self._sending = _Turn("another task is sending")
        self._receiving = _Turn("another task is receiving")
        self._ended = False

    @property
    def local_address(self) -> tuple[str, int]:
        return self._transport.local_address()[:2]

    @property
    def remote_address(self) -> tuple[str, int]:
        return self._transport.remote_address()[:2]

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all data, as in trio. Waits while the connection is full. Cancellation may leave a part unsent."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check(self._ended)
            left = memoryview(data)
            while left:
                try:
                    left = left[self._transport.send(left) :]
                except BlockingIOError:
                    await self._transport.wait_writable()
                    self._check(self._ended)
                except OSError as error:
                    raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check(self._ended)
            while not self._transport.can_send():
                await self._transport.wait_writable()
                self._check(self._ended)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive data, as in trio. Returns b"" after the guest has shut down its direction."""
        limit = PIPE if max_bytes is None else operator.index(max_bytes)
        if limit < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receiving:
            await trio.lowlevel.checkpoint()
            while True:
                self._check()
                try:
                    return self._transport.receive(limit)
                except BlockingIOError:
                    await self._transport.wait_readable()
                except OSError as error:
                    raise trio.BrokenResourceError(str(error)) from error

    async def send_eof(self) -> None:
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check()
            self._ended = True
            self._transport.shut_down(Direction.SEND)

    def reset(self) -> None:
        """Break the connection, as a crashed host does. The guest gets connection-reset."""
        self._transport.reset()
        self._set_closed()

    async def aclose(self) -> None:
        self._transport.close()
        self._set_closed()
        await trio.lowlevel.checkpoint()

    def _check(self, ended: bool = False) -> None:
        if self._transport.closed or ended:
            raise trio.ClosedResourceError("this connection was closed")


class Listener(_Registered, trio.abc.Listener[MemoryStream]):
    """A listener that accepts connections from guests, for example for trio.serve_listeners."""

    def __init__(self, transport: MemoryTcp) -> None:
        super().__init__("a Listener")
        self._transport = transport

    async def accept(self) -> MemoryStream:
        await trio.lowlevel.checkpoint()
        while True:
            if self._transport.closed:
                raise trio.ClosedResourceError("this listener was closed")
            try:
                return MemoryStream(self._transport.accept())
            except BlockingIOError:
                await self._transport.wait_readable()

    async def aclose(self) -> None:
        self._transport.close()
        self._set_closed()
        await trio.lowlevel.checkpoint()


class Datagrams(_Registered, trio.abc.AsyncResource):
    """The test's UDP socket."""

    def __init__(self, transport: MemoryUdp) -> None:
        super().__init__("a socket for datagrams")
        self._transport = transport

    async def send(self, data: bytes, host: str, port: int) -> None:
        """Send a datagram. It is lost if the address has no socket, or if the socket's buffer is full."""
        await trio.lowlevel.checkpoint()
        self._check()
        self._transport.send(data, Address(host, port))

    async def receive(self) -> tuple[bytes, tuple[str, int]]:
        """Return the next datagram and its source."""
        await trio.lowlevel.checkpoint()
        while True:
            self._check()
            try:
                data, address = self._transport.receive()
            except BlockingIOError:
                await self._transport.wait_readable()
            else:
                return data, (address.host, address.port)

    async def aclose(self) -> None:
        self._transport.close()
        self._set_closed()
        await trio.lowlevel.checkpoint()

    def _check(self) -> None:
        if self._transport.closed:
            raise trio.ClosedResourceError("this socket was closed")


class _Turn:
    """Admits one task at a time. Raises trio.BusyResourceError for others."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            raise trio.BusyResourceError(self._message)
        self._taken = True

    def __exit__(self, *exception: object) -> None:
        self._taken = False
