"""The element types of streams and futures in wasi:filesystem 0.3, as in its WIT."""

from __future__ import annotations

from wasi_trio.component import _types as t

ERROR_CODE = t.Variant(
    (
        ("access", None),
        ("already", None),
        ("bad-descriptor", None),
        ("busy", None),
        ("deadlock", None),
        ("quota", None),
        ("exist", None),
        ("file-too-large", None),
        ("illegal-byte-sequence", None),
        ("in-progress", None),
        ("interrupted", None),
        ("invalid", None),
        ("io", None),
        ("is-directory", None),
        ("loop", None),
        ("too-many-links", None),
        ("message-size", None),
        ("name-too-long", None),
        ("no-device", None),
        ("no-entry", None),
        ("no-lock", None),
        ("insufficient-memory", None),
        ("insufficient-space", None),
        ("not-directory", None),
        ("not-empty", None),
        ("not-recoverable", None),
        ("unsupported", None),
        ("no-tty", None),
        ("no-such-device", None),
        ("overflow", None),
        ("not-permitted", None),
        ("pipe", None),
        ("read-only", None),
        ("invalid-seek", None),
        ("text-file-busy", None),
        ("cross-device", None),
        ("other", t.Option(t.STRING)),
    )
)
RESULT = t.Result(None, ERROR_CODE)

DESCRIPTOR_TYPE = t.Variant(
    (
        ("block-device", None),
        ("character-device", None),
        ("directory", None),
        ("fifo", None),
        ("symbolic-link", None),
        ("regular-file", None),
        ("socket", None),
        ("other", t.Option(t.STRING)),
    )
)
DIRECTORY_ENTRY = t.Record((("type", DESCRIPTOR_TYPE), ("name", t.STRING)))
