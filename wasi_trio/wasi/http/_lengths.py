"""Which messages have content, and of what length it may be (RFC 9110, sections 6.4.1 and 8.6)."""

from __future__ import annotations


def may_have_content(method: str, status: int) -> bool:
    """Whether the response with this status to a request with this method has content.

    The response to HEAD is the head of that to GET, and what it and 304 announce is the length of what is not sent.
    """
    if status < 200 or status in (204, 304) or method == "HEAD":
        return False
    return not _opens_tunnel(method, status)


def may_announce_length(method: str, status: int) -> bool:
    """Whether that response may have a ``content-length`` at all, be it of content or of what is not sent."""
    return status >= 200 and status != 204 and not _opens_tunnel(method, status)


def response_headers(method: str, status: int, headers: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The headers of that response, without the length that it must not have."""
    if may_announce_length(method, status):
        return headers
    return [field for field in headers if field[0].lower() != "content-length"]


def _opens_tunnel(method: str, status: int) -> bool:
    return method == "CONNECT" and 200 <= status < 300


class ContentLength:
    """Holds the content of a message to the length that its headers announce.

    ``expected`` is that length, None where they announce none. ``applies`` says whether the message has content; None
    that it remains to be seen, as for a response that has not been given to the request that it answers.
    """

    __slots__ = ("applies", "expected", "written")

    def __init__(self, expected: int | None, applies: bool | None = True) -> None:
        self.expected = expected
        self.applies = applies
        self.written = 0

    def add(self, size: int) -> bool:
        """Account for so many more bytes; false where there are more now than were announced."""
        self.written += size
        return self.expected is None or self.applies is False or self.written <= self.expected

    @property
    def reached(self) -> bool:
        """Whether all that was announced is written."""
        return self.written == self.expected

    @property
    def wrong(self) -> bool:
        """Whether content that ends here is of another length. As long as nothing is written it may be that of HEAD."""
        if self.expected is None or self.applies is False or (self.applies is None and not self.written):
            return False
        return self.written != self.expected
