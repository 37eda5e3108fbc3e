"""Applications below a path that their guests know nothing of."""

from __future__ import annotations

from urllib.parse import quote, unquote


def below(root: str, target: str, path: str | None = None) -> str:
    """The part of a request's target that is below ``root``, or all of a target that is not.

    ``path`` is the target decoded and without its query, if that is at hand.
    """
    target, separator, query = target.partition("?")
    if path is None:
        path = unquote(target)
    return _path_below(root, path, target) + separator + query


def _path_below(root: str, path: str, target: str) -> str:
    rest = path.removeprefix(root)
    if rest == path or (rest and not rest.startswith("/")):
        return target
    # The root is decoded, and the target goes to the guest as it was sent: it is cut after as many slashes.
    end = -1
    for _ in range(root.count("/") + 1):
        end = target.find("/", end + 1)
        if end < 0:
            end = len(target)
            break
    if unquote(target[:end]) != root:
        # It was sent with a slash encoded, in the root or before it.
        return quote(rest, safe="/:@!$&'()*+,;=~") or "/"
    return target[end:] or "/"
