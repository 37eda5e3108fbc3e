"""Listening sockets: at IP addresses, at Unix paths, and inherited from the parent process."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from wasi_trio.wasi._arguments import InheritedSocket, ListenAddress, UnixAddress

#: The maximum length of the accept queue, enough for a burst of clients.
BACKLOG = 2048


class SocketOptions(NamedTuple):
    """The options of listening sockets: their backlog, and the mode and owner of Unix sockets (None: the default)."""

    backlog: int = BACKLOG
    umask: int | None = None
    user: int | None = None
    group: int | None = None


class ListenError(Exception):
    """The server cannot listen on an address. The message is one line."""


class Listener(NamedTuple):
    """A listening socket, and whether it speaks TLS."""

    sock: socket.socket
    secure: bool = False

    def announce(self, what: str = "Serving") -> None:
        """Print the address to standard error."""
        scheme = "https" if self.secure else "http"
        if self.sock.family == socket.AF_UNIX:
            name = self.sock.getsockname()
            url = f"unix:{os.fsdecode(name) if isinstance(name, bytes) else name}"
        else:
            url = f"{scheme}://{address_of(self.sock)}/"
        print(f"{what} {scheme.upper()} on {url}", file=sys.stderr, flush=True)


@contextmanager
def listening(
    secure: Iterable[ListenAddress], plain: Iterable[ListenAddress], options: SocketOptions
) -> Iterator[list[Listener]]:
    """Listen on addresses. On exit, close the sockets and remove the Unix sockets' files. Raise ListenError."""
    with ExitStack() as stack:
        listeners = []
        for kind, addresses in ((True, secure), (False, plain)):
            for address in addresses:
                listener = stack.enter_context(open_listener(address, options))
                listeners.append(Listener(listener, kind))
        yield listeners


@contextmanager
def open_listener(address: ListenAddress, options: SocketOptions) -> Iterator[socket.socket]:
    """Open a listening socket, and close it on exit. Raise ListenError."""
    try:
        if isinstance(address, UnixAddress):
            listener = _bind_unix(address.path, options)
        elif isinstance(address, InheritedSocket):
            listener = _inherit(address.descriptor, options)
        else:
            listener = bind(address, options.backlog)
    except OSError as error:
        name = str(address) if isinstance(address, UnixAddress | InheritedSocket) else "{}:{}".format(*address)
        raise ListenError(f"cannot listen on {name}: {error.strerror or error}") from None
    mine = _identity(address.path) if isinstance(address, UnixAddress) else None
    with listener:
        try:
            yield listener
        finally:
            if isinstance(address, UnixAddress) and mine is not None and _identity(address.path) == mine:
                os.unlink(address.path)


def _bind_unix(path: str, options: SocketOptions) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        old = None if options.umask is None else os.umask(options.umask)
        try:
            listener.bind(path)
        finally:
            if old is not None:
                os.umask(old)
        if options.user is not None or options.group is not None:
            os.chown(path, -1 if options.user is None else options.user, -1 if options.group is None else options.group)
        listener.listen(options.backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    """Remove the file of a Unix socket without a listener."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # bind() reports that the path is in use
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            return  # a full queue has a listener


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _inherit(descriptor: int, options: SocketOptions) -> socket.socket:
    listener = socket.socket(fileno=descriptor)
    try:
        if listener.type != socket.SOCK_STREAM:
            raise OSError("it is not a stream socket")
        if listener.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            raise OSError("it is neither an IP socket nor a Unix socket")
        if listener.family != socket.AF_UNIX:
            # Accepted sockets inherit this option.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.listen(options.backlog)
        listener.setblocking(False)
        listener.set_inheritable(False)
    except BaseException:
        listener.close()
        raise
    return listener


def bind(address: tuple[str, int], backlog: int = BACKLOG) -> socket.socket:
    """Listen at an IP address and port (0: a free port), and return the socket. Raise OSError."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restarted server can bind while connections of its predecessor are in TIME_WAIT.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit this option. Small parts of a response must not wait for acknowledgements.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def address_of(listener: socket.socket) -> str:
    """Return ``HOST:PORT``, as in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
