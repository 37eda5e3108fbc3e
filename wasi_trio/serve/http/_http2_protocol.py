"""The server's side of HTTP/2 (RFC 9113) with h2, without I/O. Errors of one stream do not affect other streams.

h2 ends the connection for many errors that RFC 9113 limits to one stream. ``Http2Protocol`` resets that stream instead.
``FrameReader`` filters the received bytes: h2 should not see some frames at all, and a turn of the event loop must not
process all frames that a client can send at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, SettingsFrame

#: The initial window of a request: the bytes that a client may send before any were read.
WINDOW = 64 << 10
#: The maximum window of a request whose guest reads as fast as the client sends.
MAX_WINDOW = 512 << 10
#: The window of the connection, for all requests.
_CONNECTION_WINDOW = 1 << 30

#: The maximum size of the table that compresses the fields of responses, in bytes. A client may allow more.
MAX_TABLE = 4096
#: The settings that h2 knows.
_SETTINGS = frozenset(h2.settings.SettingCodes)

#: The GOAWAY frame that directs the client elsewhere, and refuses no request.
LEAVING = GoAwayFrame(0, last_stream_id=(1 << 31) - 1, error_code=ErrorCodes.NO_ERROR).serialize()

PREFACE_SIZE = 24
_FRAME_HEADER = 9
#: The flag of a frame with padding.
_PADDED = 8


class FrameType(IntEnum):
    """The types of frames that need attention before h2."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8


class TooMuch(Exception):
    """The client sends too many frames without effect, or abandons too many requests."""


class Allowance:
    """The number of events of one kind that a client may cause: at most ``limit`` at once, and ``a_second`` more."""

    __slots__ = ("_a_second", "_left", "_limit", "_refilled_at")

    def __init__(self, limit: float, a_second: float) -> None:
        self._limit = self._left = limit
        self._a_second = a_second
        self._refilled_at = 0.0

    def credit(self, events: float) -> None:
        """Allow more events."""
        self._left = min(self._left + events, self._limit)

    def refill(self, now: float) -> None:
        """Allow the events of the time that has passed."""
        self.credit((now - self._refilled_at) * self._a_second)
        self._refilled_at = now

    def take(self) -> None:
        """Count one event. Raise TooMuch beyond the allowance."""
        self._left -= 1
        if self._left < 0:
            raise TooMuch


class FrameReader:
    """Splits received bytes into batches of complete frames, and counts frames without effect.

    A client may send a thousand such frames, and fifty more each second. Each frame of content, received or sent,
    allows two more, and each response some more. Beyond that ``receive`` raises TooMuch.
    """

    __slots__ = ("_allowance", "_buffer", "_max_frame_size", "_preface_left", "credit", "refused_updates")

    #: The maximum number of frames in a batch.
    BATCH = 32

    def __init__(self, max_frame_size: int) -> None:
        self._buffer = b""
        self._max_frame_size = max_frame_size
        self._preface_left = PREFACE_SIZE
        self._allowance = Allowance(1000, 50)
        #: Allows more frames without effect, which may be answers to sent frames.
        self.credit = self._allowance.credit
        #: The streams with a WINDOW_UPDATE of 0.
        self.refused_updates: list[int] = []

    def receive(self, data: bytes, now: float) -> Iterator[bytes]:
        """Yield batches for h2, and keep the incomplete rest."""
        self._allowance.refill(now)
        self._buffer = self._buffer + data if self._buffer else data
        if self._preface_left:
            preface, self._buffer = self._buffer[: self._preface_left], self._buffer[self._preface_left :]
            self._preface_left -= len(preface)
            yield preface
        while len(self._buffer) >= _FRAME_HEADER:
            batch, taken = self._next_batch()
            if not taken:
                return
            self._buffer = self._buffer[taken:]
            yield batch

    def _next_batch(self) -> tuple[bytes, int]:
        """Return some complete frames without the dropped ones, and the number of bytes of all of them."""
        buffer = self._buffer
        parts: list[bytes] = []
        start = first = 0
        for _ in range(self.BATCH):
            if len(buffer) < start + _FRAME_HEADER:
                break
            length = int.from_bytes(buffer[start : start + 3], "big")
            # h2 refuses a frame that is too large by its header.
            end = start + _FRAME_HEADER + (length if length <= self._max_frame_size else 0)
            if len(buffer) < end:
                break
            if self._is_dropped(buffer, start, end, length):
                parts.append(buffer[first:start])
                first = end
            start = end
        parts.append(buffer[first:start])
        return b"".join(parts), start

    def _is_dropped(self, buffer: bytes, start: int, end: int, length: int) -> bool:
        """Count a frame. Return whether to drop it."""
        kind = buffer[start + 3]
        if kind == FrameType.DATA:
            # A frame that consists of padding has no content either.
            padding = 1 + buffer[start + _FRAME_HEADER] if length and buffer[start + 4] & _PADDED else 0
            if length > padding:
                self.credit(2)
                return False
        elif kind == FrameType.HEADERS:
            return False
        self._allowance.take()
        if kind == FrameType.PRIORITY:
            return True  # RFC 9113, section 5.3.2 deprecates it
        if kind == FrameType.GOAWAY:
            # A client's GOAWAY concerns pushed streams, which this server never opens. h2 would send nothing after it.
            return True
        if kind == FrameType.WINDOW_UPDATE and length == 4:
            stream_id = int.from_bytes(buffer[start + 5 : start + 9], "big") & 0x7FFFFFFF
            increment = int.from_bytes(buffer[start + 9 : end], "big") & 0x7FFFFFFF
            if stream_id and not increment:
                self.refused_updates.append(stream_id)
                return True
        return False


def _bounded(settings: dict[int, int]) -> dict[int, int]:
    """Return a client's settings without those that could fill the server's memory.

    h2 would keep every unknown setting, and compress fields with a table as large as the client allows.
    """
    known = {name: value for name, value in settings.items() if name in _SETTINGS}
    size = known.get(SettingsFrame.HEADER_TABLE_SIZE)
    if size is not None:
        known[SettingsFrame.HEADER_TABLE_SIZE] = min(size, MAX_TABLE)
    return known


class StreamFailed(h2.events.Event):
    """The server reset a stream, because its client broke a rule for single streams."""

    def __init__(self, stream_id: int) -> None:
        super().__init__()
        self.stream_id = stream_id


class Http2Protocol(h2.connection.H2Connection):
    """The server's side of a connection.

    ``max_streams`` is announced to the client. The caller must refuse requests beyond it, because h2 would end the
    connection.
    """

    #: The number of closed streams that h2 remembers. By default a connection would keep 6 MB of them. h2 ends the
    #: connection at trailers of a stream that it has forgotten, so these may come late by this number of requests.
    MAX_CLOSED_STREAMS = 1024

    def __init__(self, max_streams: int, max_head: int, max_frame_size: int, max_fields: int) -> None:
        # Our own rules validate the fields, as in HTTP/1. For h2 they would be connection errors.
        super().__init__(
            h2.config.H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 2**31 - 1,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: max_fields,
                h2.settings.SettingCodes.MAX_FRAME_SIZE: max_frame_size,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            },
        )
        self.max_inbound_frame_size = max_frame_size
        self.decoder.max_header_list_size = max_fields
        self.initiate_connection()
        # h2 would announce the values that it enforces, which differ.
        self.clear_outbound_data_buffer()
        self._announcement = SettingsFrame(
            0,
            {
                SettingsFrame.HEADER_TABLE_SIZE: self.local_settings.header_table_size,
                SettingsFrame.ENABLE_PUSH: 0,
                SettingsFrame.MAX_CONCURRENT_STREAMS: max_streams,
                SettingsFrame.INITIAL_WINDOW_SIZE: WINDOW,
                SettingsFrame.MAX_FRAME_SIZE: max_frame_size,
                SettingsFrame.MAX_HEADER_LIST_SIZE: max_head,
            },
        ).serialize()
        self.increment_flow_control_window(_CONNECTION_WINDOW)

    def data_to_send(self, amount: int | None = None) -> bytes:
        announcement, self._announcement = self._announcement, b""
        return announcement + super().data_to_send(amount)

    def _receive_frame(self, frame: Frame) -> list[h2.events.Event]:
        if isinstance(frame, SettingsFrame):
            frame.settings = _bounded(frame.settings)
        try:
            return super()._receive_frame(frame)
        except h2.exceptions.ProtocolError as error:
            if not self._concerns_one_stream(frame, error):
                raise
            self.reset_stream(frame.stream_id, error.error_code)
            if isinstance(frame, DataFrame) and frame.flow_controlled_length:
                self.acknowledge_received_data(frame.flow_controlled_length, frame.stream_id)
            return [StreamFailed(frame.stream_id)]

    def _concerns_one_stream(self, frame: Frame, error: h2.exceptions.ProtocolError) -> bool:
        """Return whether an error concerns one stream alone: the stream exists, and its fields were decoded."""
        return (
            isinstance(frame, HeadersFrame | DataFrame)
            and frame.stream_id in self.streams
            and not isinstance(error, h2.exceptions.FlowControlError | h2.exceptions.StreamClosedError)
            and not isinstance(error.__cause__, hpack.HPACKError)
        )

    def reset(self, stream_id: int, code: ErrorCodes) -> None:
        """Reset a stream, unless it is closed."""
        try:
            self.reset_stream(stream_id, code)
        except h2.exceptions.ProtocolError:
            return
