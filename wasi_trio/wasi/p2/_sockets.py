"""wasi:sockets 0.2."""

from __future__ import annotations

import select
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

import trio

from wasi_trio.component._billed import Billed
from wasi_trio.component._errors import Trap
from wasi_trio.component._values import Err, Variant
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi.p2._io import (
    AlwaysReady,
    Error,
    InputStream,
    Interest,
    OutputStream,
    Pollable,
    StreamError,
    closed,
    failed,
)
from wasi_trio.wasi.sockets import _tcp as tcp
from wasi_trio.wasi.sockets import _udp as udp
from wasi_trio.wasi.sockets._answers import Answers
from wasi_trio.wasi.sockets._context import NetworkContext
from wasi_trio.wasi.sockets._errors import Code, SocketError, code_of, would_block
from wasi_trio.wasi.sockets._flows import Receiving, Sending
from wasi_trio.wasi.sockets._states import Step, next_state
from wasi_trio.wasi.sockets._transports import Option
from wasi_trio.wasi.sockets._values import FAMILIES, FAMILY_NAMES, from_socket_address, to_ip_address, to_socket_address

#: maximum datagrams of one call, and the number of bytes that ends a receive
DATAGRAMS = 64
DATAGRAM_BYTES = 256 << 10

#: names of codes that this version lacks
_OTHER_NAMES = {Code.CONNECTION_BROKEN: "connection-aborted", Code.OTHER: "unknown"}


def _named(error: OSError) -> str:
    code = code_of(error)
    return _OTHER_NAMES.get(code, code.value)


_answers = Answers(_named)


class Network:
    """The resource ``network``: the network of the instance."""

    __slots__ = ()


class _Operation(Enum):
    """The stage of an operation between its start and its finish."""

    BIND = auto()
    CONNECT = auto()
    LISTEN = auto()


class _Progress:
    """The unfinished operation of a socket, if any."""

    __slots__ = ("operation",)

    def __init__(self) -> None:
        self.operation: _Operation | None = None

    def check_none(self) -> None:
        if self.operation is not None:
            raise SocketError(Code.CONCURRENCY_CONFLICT)

    def check(self, operation: _Operation) -> None:
        if self.operation is not operation:
            raise SocketError(Code.NOT_IN_PROGRESS)


class TcpInput(InputStream):
    """The stream from the peer."""

    __slots__ = ("_receiving",)

    def __init__(self, receiving: Receiving) -> None:
        super().__init__()
        self._receiving = receiving

    def _take(self, limit: int) -> bytes | None:
        try:
            return self._receiving.take(limit)
        except OSError as error:
            raise _stream_error(error) from None

    def _ready(self) -> bool:
        return self._receiving.ready()

    async def _wait(self) -> None:
        await self._receiving.wait()

    def _interest(self) -> Interest | None:
        return self._receiving.interest()

    def on_drop(self) -> None:
        self._receiving.close()


class TcpOutput(OutputStream):
    """The stream to the peer."""

    __slots__ = ("_sending",)

    def __init__(self, sending: Sending) -> None:
        super().__init__()
        self._sending = sending

    def _permit(self) -> int:
        if self._sending.closed:
            raise closed()
        try:
            return self._sending.permit()
        except OSError as error:
            raise _stream_error(error) from None

    def _put(self, data: bytes) -> None:
        if self._sending.closed:
            raise closed()
        try:
            self._sending.put(data)
        except OSError as error:
            raise _stream_error(error) from None

    def _flushed(self) -> bool:
        try:
            return self._sending.flushed()
        except OSError as error:
            raise _stream_error(error) from None

    async def _wait(self) -> None:
        await self._sending.wait()

    def on_drop(self) -> None:
        self._sending.close()


def _stream_error(error: OSError) -> Err[StreamError]:
    code = code_of(error)
    return closed() if code is Code.CONNECTION_BROKEN else failed(SocketError(code))


class TcpReady(Pollable):
    """A pollable that is ready when the current operation can finish, or a connection can be accepted."""

    __slots__ = ("_progress", "_socket")

    def __init__(self, socket: tcp.TcpSocket, progress: _Progress) -> None:
        self._socket = socket
        self._progress = progress

    @property
    def source(self) -> object:
        return TcpReady, id(self._socket)

    @property
    def interest(self) -> Interest | None:
        return self._socket.interest()

    def ready(self) -> bool:
        # A started listen can finish, whether or not a connection waits already.
        return self._progress.operation is _Operation.LISTEN or self._socket.ready()

    async def block(self) -> None:
        while not self.ready():
            await self._socket.wait()


class _Socket(Billed):
    """The common part of the resources for TCP and UDP."""

    __slots__ = ("_socket",)

    #: the charge for data that waits to be sent, and for received data
    COST = 96 << 10

    _socket: tcp.TcpSocket | udp.UdpSocket

    @_answers.now
    def local_address(self) -> Variant:
        return to_socket_address(self._socket.local_address())

    @_answers.now
    def remote_address(self) -> Variant:
        return to_socket_address(self._socket.remote_address())

    def address_family(self) -> str:
        return FAMILY_NAMES[self._socket.family]

    @_answers.now
    def receive_buffer_size(self) -> int:
        return self._socket.get(Option.RECEIVE_BUFFER)

    @_answers.now
    def set_receive_buffer_size(self, value: int) -> None:
        self._socket.set(Option.RECEIVE_BUFFER, value)

    @_answers.now
    def send_buffer_size(self) -> int:
        return self._socket.get(Option.SEND_BUFFER)

    @_answers.now
    def set_send_buffer_size(self, value: int) -> None:
        self._socket.set(Option.SEND_BUFFER, value)


class TcpSocket(_Socket):
    """The resource ``tcp-socket``."""

    __slots__ = ("_progress",)

    _socket: tcp.TcpSocket

    def __init__(self, socket: tcp.TcpSocket) -> None:
        self._socket = socket
        self._progress = _Progress()

    @_answers.now
    def start_bind(self, network: Network, local_address: Variant) -> None:
        self._progress.check_none()
        self._socket.bind(from_socket_address(local_address))
        self._progress.operation = _Operation.BIND

    @_answers.now
    def finish_bind(self) -> None:
        self._progress.check(_Operation.BIND)
        self._progress.operation = None

    @_answers.now
    def start_connect(self, network: Network, remote_address: Variant) -> None:
        self._progress.check_none()
        self._socket.connect(from_socket_address(remote_address))
        self._progress.operation = _Operation.CONNECT

    @_answers.now
    def finish_connect(self) -> tuple[TcpInput, TcpOutput]:
        self._progress.check(_Operation.CONNECT)
        try:
            connected = self._socket.finish_connect()
        except OSError:
            self._progress.operation = None
            raise
        if not connected:
            raise would_block()
        self._progress.operation = None
        return _streams(self._socket)

    @_answers.now
    def start_listen(self) -> None:
        self._progress.check_none()
        if not self._socket.is_bound:
            next_state(self._socket.state, Step.LISTEN)
            # Later versions bind the socket to a free port.
            raise SocketError(Code.INVALID_STATE)
        self._socket.listen()
        self._progress.operation = _Operation.LISTEN

    @_answers.now
    def finish_listen(self) -> None:
        self._progress.check(_Operation.LISTEN)
        self._progress.operation = None

    @_answers.now
    def accept(self) -> tuple[TcpSocket, TcpInput, TcpOutput]:
        accepted = self._socket.accept()
        return TcpSocket(accepted), *_streams(accepted)

    def is_listening(self) -> bool:
        return self._socket.is_listening

    @_answers.now
    def set_listen_backlog_size(self, value: int) -> None:
        self._socket.set_backlog(value)

    @_answers.now
    def keep_alive_enabled(self) -> bool:
        return bool(self._socket.get(Option.KEEP_ALIVE))

    @_answers.now
    def set_keep_alive_enabled(self, value: bool) -> None:
        self._socket.set(Option.KEEP_ALIVE, int(value))

    @_answers.now
    def keep_alive_idle_time(self) -> int:
        return self._socket.get(Option.KEEP_ALIVE_IDLE)

    @_answers.now
    def set_keep_alive_idle_time(self, value: int) -> None:
        self._socket.set(Option.KEEP_ALIVE_IDLE, value)

    @_answers.now
    def keep_alive_interval(self) -> int:
        return self._socket.get(Option.KEEP_ALIVE_INTERVAL)

    @_answers.now
    def set_keep_alive_interval(self, value: int) -> None:
        self._socket.set(Option.KEEP_ALIVE_INTERVAL, value)

    @_answers.now
    def keep_alive_count(self) -> int:
        return self._socket.get(Option.KEEP_ALIVE_COUNT)

    @_answers.now
    def set_keep_alive_count(self, value: int) -> None:
        self._socket.set(Option.KEEP_ALIVE_COUNT, value)

    @_answers.now
    def hop_limit(self) -> int:
        return self._socket.get(Option.HOP_LIMIT)

    @_answers.now
    def set_hop_limit(self, value: int) -> None:
        self._socket.set(Option.HOP_LIMIT, value)

    def subscribe(self) -> Pollable:
        return TcpReady(self._socket, self._progress)

    @_answers.now
    def shutdown(self, shutdown_type: str) -> None:
        self._socket.shut_down(receive=shutdown_type != "send", send=shutdown_type != "receive")

    def on_drop(self) -> None:
        self._socket.drop()


def _streams(socket: tcp.TcpSocket) -> tuple[TcpInput, TcpOutput]:
    return TcpInput(socket.receiving()), TcpOutput(socket.sending())


class IncomingDatagram(NamedTuple):
    """The record ``incoming-datagram``."""

    data: bytes
    remote_address: Variant


class _DatagramStream:
    """One of a pair of streams of a UDP socket. Only the latest pair works."""

    __slots__ = ("_owner", "_pair", "_socket")

    def __init__(self, owner: UdpSocket) -> None:
        self._owner = owner
        self._socket = owner._socket
        self._socket.hold()
        self._pair = owner._pairs

    def _check(self) -> None:
        if self._pair != self._owner._pairs:
            raise SocketError(Code.INVALID_STATE)

    def on_drop(self) -> None:
        self._socket.release()


class IncomingDatagramStream(_DatagramStream):
    """The resource ``incoming-datagram-stream``."""

    __slots__ = ()

    @_answers.now
    def receive(self, max_results: int) -> list[IncomingDatagram]:
        self._check()
        datagrams: list[IncomingDatagram] = []
        size = 0
        while len(datagrams) < min(max_results, DATAGRAMS) and size < DATAGRAM_BYTES:
            try:
                data, address = self._socket.receive()
            except BlockingIOError:
                break
            except OSError:
                if datagrams:
                    break
                raise
            size += len(data)
            datagrams.append(IncomingDatagram(data, to_socket_address(address)))
        return datagrams

    def subscribe(self) -> Pollable:
        return DatagramsReady(self._socket)


class OutgoingDatagramStream(_DatagramStream):
    """The resource ``outgoing-datagram-stream``."""

    __slots__ = ("_permitted",)

    def __init__(self, owner: UdpSocket) -> None:
        super().__init__(owner)
        self._permitted = 0

    @_answers.now
    def check_send(self) -> int:
        self._check()
        self._permitted = DATAGRAMS if self._socket.transport.can_send() else 0
        return self._permitted

    @_answers.now
    def send(self, datagrams: Sequence[Any]) -> int:
        """Send datagrams. Raises Trap for more datagrams than permitted."""
        self._check()
        if len(datagrams) > self._permitted:
            raise Trap(f"send of {len(datagrams)} datagrams, but check-send permits {self._permitted}")
        self._permitted = 0
        sent = 0
        for datagram in datagrams:
            remote = datagram.remote_address
            try:
                self._socket.send(datagram.data, None if remote is None else from_socket_address(remote))
            except BlockingIOError:
                break
            except OSError:
                if sent:
                    break
                raise
            sent += 1
        return sent

    def subscribe(self) -> Pollable:
        return RoomForDatagrams(self._socket)


class DatagramsReady(Pollable):
    """A pollable that is ready when a datagram can be received."""

    __slots__ = ("_socket",)

    def __init__(self, socket: udp.UdpSocket) -> None:
        self._socket = socket

    @property
    def source(self) -> object:
        return DatagramsReady, id(self._socket)

    @property
    def interest(self) -> Interest | None:
        return self._socket.transport.interest(select.POLLIN)

    def ready(self) -> bool:
        return self._socket.transport.can_receive()

    async def block(self) -> None:
        while not self.ready():
            await self._socket.transport.wait_readable()


class RoomForDatagrams(Pollable):
    """A pollable that is ready when a datagram can be sent."""

    __slots__ = ("_socket",)

    def __init__(self, socket: udp.UdpSocket) -> None:
        self._socket = socket

    @property
    def source(self) -> object:
        return RoomForDatagrams, id(self._socket)

    @property
    def interest(self) -> Interest | None:
        return self._socket.transport.interest(select.POLLOUT)

    def ready(self) -> bool:
        return self._socket.transport.can_send()

    async def block(self) -> None:
        while not self.ready():
            await self._socket.transport.wait_writable()


class UdpSocket(_Socket):
    """The resource ``udp-socket``."""

    __slots__ = ("_pairs", "_progress")

    _socket: udp.UdpSocket

    def __init__(self, socket: udp.UdpSocket) -> None:
        self._socket = socket
        self._progress = _Progress()
        #: the number of pairs of streams created so far
        self._pairs = 0

    @_answers.now
    def start_bind(self, network: Network, local_address: Variant) -> None:
        self._progress.check_none()
        self._socket.bind(from_socket_address(local_address))
        self._progress.operation = _Operation.BIND

    @_answers.now
    def finish_bind(self) -> None:
        self._progress.check(_Operation.BIND)
        self._progress.operation = None

    @_answers.now
    def stream(self, remote_address: Variant | None) -> tuple[IncomingDatagramStream, OutgoingDatagramStream]:
        self._progress.check_none()
        if not self._socket.is_bound:
            raise SocketError(Code.INVALID_STATE)
        if remote_address is not None:
            self._socket.connect(from_socket_address(remote_address))
        elif self._socket.is_connected:
            self._socket.disconnect()
        self._pairs += 1
        return IncomingDatagramStream(self), OutgoingDatagramStream(self)

    @_answers.now
    def unicast_hop_limit(self) -> int:
        return self._socket.get(Option.HOP_LIMIT)

    @_answers.now
    def set_unicast_hop_limit(self, value: int) -> None:
        self._socket.set(Option.HOP_LIMIT, value)

    def subscribe(self) -> Pollable:
        """Return a pollable that is always ready, because no operation of the socket itself waits."""
        return AlwaysReady()

    def on_drop(self) -> None:
        self._socket.release()


class ResolveAddressStream:
    """The resource ``resolve-address-stream``."""

    __slots__ = ("_addresses", "_done", "_error", "_scope")

    def __init__(self, addresses: list[str] | None = None) -> None:
        self._addresses = addresses
        self._error: OSError | None = None
        self._done = trio.Event()
        self._scope = trio.CancelScope()

    async def look_up(self, network: NetworkContext, name: str) -> None:
        """Resolve a host name. Runs as a task of the instance."""
        with self._scope:
            try:
                self._addresses = await network.look_up(name)
            except OSError as error:
                self._error = error
            self._done.set()

    @_answers.now
    def resolve_next_address(self) -> Variant | None:
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._addresses is None:
            raise would_block()
        return to_ip_address(self._addresses.pop(0)) if self._addresses else None

    def subscribe(self) -> Pollable:
        return LookedUp(self)

    @property
    def ready(self) -> bool:
        """Whether the resolution has finished. A dropped stream counts, or its pollables would be polled forever."""
        return self._addresses is not None or self._done.is_set()

    async def wait(self) -> None:
        if not self.ready:
            await self._done.wait()

    def on_drop(self) -> None:
        self._scope.cancel()
        self._done.set()


class LookedUp(Pollable):
    """A pollable that is ready when a name resolution has finished or was cancelled."""

    __slots__ = ("_stream",)

    def __init__(self, stream: ResolveAddressStream) -> None:
        self._stream = stream

    @property
    def source(self) -> object:
        return LookedUp, id(self._stream)

    def ready(self) -> bool:
        return self._stream.ready

    async def block(self) -> None:
        await self._stream.wait()


class NetworkInterface:
    """The interface wasi:sockets/network."""

    Network = Network

    def __init__(self, context: WasiContext) -> None:
        pass

    def network_error_code(self, err: Error) -> str | None:
        """Return the error code of a failed socket stream, or None for other errors."""
        return _named(err.reason) if isinstance(err.reason, SocketError) else None


class InstanceNetwork:
    """The interface wasi:sockets/instance-network."""

    def __init__(self, context: WasiContext) -> None:
        pass

    def instance_network(self) -> Network:
        return Network()


class Tcp:
    """The interface wasi:sockets/tcp."""

    TcpSocket = TcpSocket

    def __init__(self, context: WasiContext) -> None:
        pass


class TcpCreateSocket:
    """The interface wasi:sockets/tcp-create-socket."""

    def __init__(self, context: WasiContext) -> None:
        self._network = context.network

    @_answers.now
    def create_tcp_socket(self, address_family: str) -> TcpSocket:
        return TcpSocket(tcp.TcpSocket(self._network, FAMILIES[address_family]))


class Udp:
    """The interface wasi:sockets/udp."""

    UdpSocket = UdpSocket
    IncomingDatagramStream = IncomingDatagramStream
    OutgoingDatagramStream = OutgoingDatagramStream

    def __init__(self, context: WasiContext) -> None:
        pass


class UdpCreateSocket:
    """The interface wasi:sockets/udp-create-socket."""

    def __init__(self, context: WasiContext) -> None:
        self._network = context.network

    @_answers.now
    def create_udp_socket(self, address_family: str) -> UdpSocket:
        return UdpSocket(udp.UdpSocket(self._network, FAMILIES[address_family]))


class IpNameLookup:
    """The interface wasi:sockets/ip-name-lookup."""

    ResolveAddressStream = ResolveAddressStream

    def __init__(self, context: WasiContext) -> None:
        self._network = context.network

    @_answers.now
    def resolve_addresses(self, network: Network, name: str) -> Any:
        addresses, plain = self._network.parse_name(name)
        if addresses:
            return ResolveAddressStream(addresses)
        nursery = self._network.nursery
        if nursery is None:
            raise SocketError(Code.PERMANENT_RESOLVER_FAILURE)
        stream = ResolveAddressStream()
        nursery.start_soon(stream.look_up, self._network, plain)
        return stream
