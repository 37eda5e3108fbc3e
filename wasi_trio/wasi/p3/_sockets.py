"""wasi:sockets 0.3: ``types`` and ``ip-name-lookup``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wasi_trio.component._billed import Billed
from wasi_trio.component._types import STRING, U8, Option, Own, ResourceType, Result
from wasi_trio.component._types import Variant as VariantType
from wasi_trio.component._values import Variant
from wasi_trio.component.concurrency._futures import SharedFuture
from wasi_trio.component.concurrency._streams import SharedStream
from wasi_trio.runtime._streams import discard
from wasi_trio.wasi._context import WasiContext
from wasi_trio.wasi._time_slice import TimeSlice
from wasi_trio.wasi.p3._stdio import InputSource, Outcome
from wasi_trio.wasi.p3._upload import Upload
from wasi_trio.wasi.sockets import _tcp as tcp
from wasi_trio.wasi.sockets import _udp as udp
from wasi_trio.wasi.sockets._answers import Answers
from wasi_trio.wasi.sockets._context import NetworkContext
from wasi_trio.wasi.sockets._errors import Code, code_of
from wasi_trio.wasi.sockets._transports import Option as SocketOption
from wasi_trio.wasi.sockets._values import FAMILIES, FAMILY_NAMES, from_socket_address, to_ip_address, to_socket_address

_CASES = (
    Code.ACCESS_DENIED,
    Code.NOT_SUPPORTED,
    Code.INVALID_ARGUMENT,
    Code.OUT_OF_MEMORY,
    Code.TIMEOUT,
    Code.INVALID_STATE,
    Code.ADDRESS_NOT_BINDABLE,
    Code.ADDRESS_IN_USE,
    Code.REMOTE_UNREACHABLE,
    Code.CONNECTION_REFUSED,
    Code.CONNECTION_BROKEN,
    Code.CONNECTION_RESET,
    Code.CONNECTION_ABORTED,
    Code.DATAGRAM_TOO_LARGE,
)
_LOOK_UP_CASES = frozenset(
    (
        Code.ACCESS_DENIED,
        Code.INVALID_ARGUMENT,
        Code.NAME_UNRESOLVABLE,
        Code.TEMPORARY_RESOLVER_FAILURE,
        Code.PERMANENT_RESOLVER_FAILURE,
    )
)
ERROR_CODE = VariantType((*((code.value, None) for code in _CASES), ("other", Option(STRING))))
RESULT = Result(None, ERROR_CODE)


def _named(error: OSError) -> Variant:
    code = code_of(error)
    if code in _CASES:
        return Variant(code.value)
    if code is Code.TOO_MANY_SOCKETS:
        return Variant("other", "too many open sockets")
    return Variant("other", error.strerror)


def _named_look_up(error: OSError) -> Variant:
    code = code_of(error)
    return Variant(code.value) if code in _LOOK_UP_CASES else Variant("other", error.strerror)


_answers = Answers(_named)


def _failed(error: OSError) -> SharedFuture:
    outcome = Outcome(RESULT, _named)
    outcome.settle(error)
    return outcome.future


class _Socket(Billed):
    """The common part of the resources for TCP and UDP."""

    __slots__ = ("_socket",)

    #: the charge for data that waits to be sent, and for received data
    COST = 96 << 10

    _socket: tcp.TcpSocket | udp.UdpSocket

    @_answers.now
    def get_local_address(self) -> Variant:
        return to_socket_address(self._socket.local_address())

    @_answers.now
    def get_remote_address(self) -> Variant:
        return to_socket_address(self._socket.remote_address())

    def get_address_family(self) -> str:
        return FAMILY_NAMES[self._socket.family]

    @_answers.now
    def get_receive_buffer_size(self) -> int:
        return self._socket.get(SocketOption.RECEIVE_BUFFER)

    @_answers.now
    def set_receive_buffer_size(self, value: int) -> None:
        self._socket.set(SocketOption.RECEIVE_BUFFER, value)

    @_answers.now
    def get_send_buffer_size(self) -> int:
        return self._socket.get(SocketOption.SEND_BUFFER)

    @_answers.now
    def set_send_buffer_size(self, value: int) -> None:
        self._socket.set(SocketOption.SEND_BUFFER, value)


class TcpSocket(_Socket):
    """The resource ``tcp-socket``."""

    __slots__ = ("_context",)

    _socket: tcp.TcpSocket

    def __init__(self, context: NetworkContext, socket: tcp.TcpSocket) -> None:
        self._context = context
        self._socket = socket

    @staticmethod
    def create(address_family: str) -> Any:
        raise AssertionError("each instance has its own _Creator")

    @_answers.now
    def bind(self, local_address: Variant) -> None:
        self._socket.bind(from_socket_address(local_address))

    @_answers.later
    async def connect(self, remote_address: Variant) -> None:
        await self._socket.connect_and_wait(from_socket_address(remote_address))

    @_answers.now
    def listen(self) -> SharedStream:
        self._socket.listen()
        incoming = _Incoming(self._context, self._socket)
        source = InputSource(incoming, self._context.nursery, element=CONNECTIONS, on_end=incoming.close)
        return source.stream

    def send(self, data: Any) -> SharedFuture:
        try:
            sending = self._socket.sending()
        except OSError as error:
            discard(data)
            return _failed(error)
        return Upload(data.into_shared(), sending, self._context.nursery, Outcome(RESULT, _named)).future

    def receive(self) -> tuple[SharedStream, SharedFuture]:
        try:
            receiving = self._socket.receiving()
        except OSError as error:
            stream = SharedStream(U8)
            stream.drop()
            return stream, _failed(error)
        receiving.time_slice = TimeSlice()
        outcome = Outcome(RESULT, _named)
        source = InputSource(receiving, self._context.nursery, outcome, on_end=receiving.close)
        return source.stream, source.future

    def get_is_listening(self) -> bool:
        return self._socket.is_listening

    @_answers.now
    def set_listen_backlog_size(self, value: int) -> None:
        self._socket.set_backlog(value)

    @_answers.now
    def get_keep_alive_enabled(self) -> bool:
        return bool(self._socket.get(SocketOption.KEEP_ALIVE))

    @_answers.now
    def set_keep_alive_enabled(self, value: bool) -> None:
        self._socket.set(SocketOption.KEEP_ALIVE, int(value))

    @_answers.now
    def get_keep_alive_idle_time(self) -> int:
        return self._socket.get(SocketOption.KEEP_ALIVE_IDLE)

    @_answers.now
    def set_keep_alive_idle_time(self, value: int) -> None:
        self._socket.set(SocketOption.KEEP_ALIVE_IDLE, value)

    @_answers.now
    def get_keep_alive_interval(self) -> int:
        return self._socket.get(SocketOption.KEEP_ALIVE_INTERVAL)

    @_answers.now
    def set_keep_alive_interval(self, value: int) -> None:
        self._socket.set(SocketOption.KEEP_ALIVE_INTERVAL, value)

    @_answers.now
    def get_keep_alive_count(self) -> int:
        return self._socket.get(SocketOption.KEEP_ALIVE_COUNT)

    @_answers.now
    def set_keep_alive_count(self, value: int) -> None:
        self._socket.set(SocketOption.KEEP_ALIVE_COUNT, value)

    @_answers.now
    def get_hop_limit(self) -> int:
        return self._socket.get(SocketOption.HOP_LIMIT)

    @_answers.now
    def set_hop_limit(self, value: int) -> None:
        self._socket.set(SocketOption.HOP_LIMIT, value)

    def on_drop(self) -> None:
        self._socket.drop()


#: the element type of ``listen``'s stream
CONNECTIONS = Own(ResourceType("tcp-socket", python_class=TcpSocket))


class _Incoming(tcp.Incoming):
    """A supply of incoming connections as resources."""

    __slots__ = ()

    def take(self, limit: int) -> Any:
        return [TcpSocket(self._context, socket) for socket in super().take(limit) or ()]


class UdpSocket(_Socket):
    """The resource ``udp-socket``."""

    __slots__ = ()

    _socket: udp.UdpSocket

    def __init__(self, socket: udp.UdpSocket) -> None:
        self._socket = socket

    @staticmethod
    def create(address_family: str) -> Any:
        raise AssertionError("each instance has its own _Creator")

    @_answers.now
    def bind(self, local_address: Variant) -> None:
        self._socket.bind(from_socket_address(local_address))

    @_answers.now
    def connect(self, remote_address: Variant) -> None:
        self._socket.connect(from_socket_address(remote_address))

    @_answers.now
    def disconnect(self) -> None:
        self._socket.disconnect()

    @_answers.later
    async def send(self, data: bytes, remote_address: Variant | None) -> None:
        address = None if remote_address is None else from_socket_address(remote_address)
        socket = self._socket
        while True:
            try:
                return socket.send(data, address)
            except BlockingIOError:
                await socket.transport.wait_writable()

    @_answers.later
    async def receive(self) -> tuple[bytes, Variant]:
        socket = self._socket
        while True:
            try:
                data, address = socket.receive()
            except BlockingIOError:
                await socket.transport.wait_readable()
            else:
                return data, to_socket_address(address)

    @_answers.now
    def get_unicast_hop_limit(self) -> int:
        return self._socket.get(SocketOption.HOP_LIMIT)

    @_answers.now
    def set_unicast_hop_limit(self, value: int) -> None:
        self._socket.set(SocketOption.HOP_LIMIT, value)

    def on_drop(self) -> None:
        self._socket.release()


class _Creator:
    """The receiver of a resource's ``create`` in one instance."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        self._make = make

    @_answers.now
    def create(self, address_family: str) -> Any:
        return self._make(address_family)


class Types:
    """The interface wasi:sockets/types."""

    TcpSocket: Any = TcpSocket
    UdpSocket: Any = UdpSocket

    def __init__(self, context: WasiContext) -> None:
        network = context.network
        self.TcpSocket = _Creator(lambda family: TcpSocket(network, tcp.TcpSocket(network, FAMILIES[family])))
        self.UdpSocket = _Creator(lambda family: UdpSocket(udp.UdpSocket(network, FAMILIES[family])))


class IpNameLookup:
    """The interface wasi:sockets/ip-name-lookup."""

    def __init__(self, context: WasiContext) -> None:
        self._network = context.network

    @Answers(_named_look_up).later
    async def resolve_addresses(self, name: str) -> list[Variant]:
        addresses, plain = self._network.parse_name(name)
        return [to_ip_address(address) for address in addresses or await self._network.look_up(plain)]
