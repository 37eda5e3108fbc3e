"""Parsing of store URLs. Messages omit the URL, which may contain a password."""

from __future__ import annotations

import importlib.util
import re
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from wasi_trio.wasi.keyvalue._bucket import Store
from wasi_trio.wasi.keyvalue._memory import MemoryStore

FORMS: Final = "memory:, sqlite:FILE, redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE] or rediss://..."

_prefix = re.compile(r"[A-Za-z0-9._:{}/-]{0,64}").fullmatch
_database = re.compile(r"/?|/([0-9]{1,4})").fullmatch


def parse_store(url: str, bucket: str) -> Store:
    """Return the store of a URL for a bucket. Raises ValueError with a one-line message."""
    scheme, colon, rest = url.partition(":")
    match scheme.lower() if colon else "":
        case "memory" if not rest:
            return MemoryStore()
        case "sqlite" if rest and "\0" not in rest:
            from wasi_trio.wasi.keyvalue._sqlite import SqliteStore

            # In URL form, the path of a file follows an empty authority.
            return SqliteStore(rest.removeprefix("//") if rest.startswith("///") else rest, bucket)
        case "redis" | "rediss" | "valkey" | "valkeys":
            return _redis(url, bucket)
    raise ValueError(f"the URL of the bucket {bucket} must have the form {FORMS}")


def _redis(url: str, bucket: str) -> Store:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"the URL of the bucket {bucket} has no valid host and port") from None
    database = _database(parts.path)
    if not parts.hostname or database is None or parts.fragment:
        raise ValueError(f"the URL of the bucket {bucket} must have the form {FORMS}")
    if importlib.util.find_spec("coredis") is None:
        raise ValueError(f"the bucket {bucket} requires coredis: pip install 'wasi-trio[redis]'")
    from wasi_trio.wasi.keyvalue._redis import RedisStore

    return RedisStore(
        parts.hostname,
        port or 6379,
        int(database[1] or 0),
        _prefix_of(parts, bucket),
        parts.scheme.lower() in ("rediss", "valkeys"),
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
    )


def _prefix_of(parts: SplitResult, bucket: str) -> str:
    """Return the prefix of a bucket's keys, from ``?prefix=``. The default is the name of the bucket and a colon."""
    query = parse_qs(parts.query, keep_blank_values=True)
    given = query.pop("prefix", [f"{bucket}:"])
    if query or len(given) != 1 or _prefix(given[0]) is None:
        raise ValueError(
            f"the query of the URL of the bucket {bucket} must be ?prefix= and up to 64 letters, digits and ._:/-"
        )
    return given[0]
