"""Applications mounted at a path that their guests do not see."""

from __future__ import annotations

from urllib.parse import quote, unquote


def below(root: str, target: str, path: str | None = None) -> str:
    """Return the part of a request's target below ``root``, or the whole target if it is not below.

    ``path`` is the decoded target without its query, if the caller has it.
    """
    target, separator, query = target.partition("?")
    if path is None:
        path = unquote(target)
    return _path_below(root, path, target) + separator + query


def _path_below(root: str, path: str, target: str) -> str:
    rest = path.removeprefix(root)
    if rest == path or (rest and not rest.startswith("/")):
        return target
    # The root is decoded, but the guest receives the target as sent. So cut it after the same number of slashes.
    end = -1
    for _ in range(root.count("/") + 1):
        end = target.find("/", end + 1)
        if end < 0:
            end = len(target)
            break
    if unquote(target[:end]) != root:
        # The client encoded a slash, within or before the root.
        return quote(rest, safe="/:@!$&'()*+,;=~") or "/"
    return target[end:] or "/"
