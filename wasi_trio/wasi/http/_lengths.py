"""Rules on content and its length (RFC 9110, sections 6.4.1 and 8.6)."""

from __future__ import annotations


def may_have_content(method: str, status: int) -> bool:
    """Return whether the response with this status to a request with this method has content.

    Responses to HEAD and responses with status 304 announce the length of content that they do not have.
    """
    if status < 200 or status in (204, 304) or method == "HEAD":
        return False
    return method != "CONNECT" or status >= 300  # otherwise it opens a tunnel


def may_announce_length(method: str, status: int) -> bool:
    """Return whether that response may have a ``content-length``, even if it has no content."""
    return status >= 200 and status != 204 and (method != "CONNECT" or status >= 300)


def response_headers(method: str, status: int, headers: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return the headers of that response, without a ``content-length`` that it must not have."""
    if may_announce_length(method, status):
        return headers
    return [field for field in headers if field[0].lower() != "content-length"]


class ContentLength:
    """Checks the content of a message against its announced length.

    ``expected`` is that length, or None if the headers announce none. ``applies`` is true if the message has
    content. None means that it is unknown, as for a response that has no request yet.
    """

    __slots__ = ("applies", "expected", "written")

    def __init__(self, expected: int | None, applies: bool | None = True) -> None:
        self.expected = expected
        self.applies = applies
        self.written = 0

    def add(self, size: int) -> bool:
        """Count written bytes. Return false if they exceed the announced length."""
        self.written += size
        return self.expected is None or self.applies is False or self.written <= self.expected

    @property
    def reached(self) -> bool:
        """Whether all announced bytes are written."""
        return self.written == self.expected

    @property
    def wrong(self) -> bool:
        """Whether content that ends here has the wrong length. Without content, it may be a response to HEAD."""
        if self.expected is None or self.applies is False or (self.applies is None and not self.written):
            return False
        return self.written != self.expected
