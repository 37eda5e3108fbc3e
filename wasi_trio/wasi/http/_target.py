"""Methods, schemes and targets of guests' requests, in terms of wasi:http."""

from __future__ import annotations

from wasi_trio.component._account import FREE, Account, Charge
from wasi_trio.component._values import Err, Ok, Variant
from wasi_trio.wasi.http._fields import is_token
from wasi_trio.wasi.http._uri import is_path_with_query, is_scheme, split_authority

_DONE: Ok[None] = Ok(None)
_REFUSED: Err[None] = Err(None)

#: maximum length of a path with its query, and of an authority; the URIs of wasmtime's HTTP library have this limit
MAX_URI = 65_534
#: maximum bytes of a method
MAX_METHOD = 1024

_METHODS = {
    name: Variant(name.lower())
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
}
_SCHEMES = {"http": Variant("HTTP"), "https": Variant("HTTPS")}


def method_variant(method: str) -> Variant:
    """Return WIT's ``method`` for a method of HTTP."""
    return _METHODS.get(method) or Variant("other", method)


def scheme_variant(scheme: str) -> Variant:
    """Return WIT's ``scheme`` for the scheme of a URI."""
    return _SCHEMES.get(scheme.lower()) or Variant("other", scheme)


def method_text(variant: Variant) -> str:
    """Return HTTP's spelling of a ``method``."""
    return str(variant.value) if variant.case == "other" else variant.case.upper()


def scheme_text(variant: Variant | None) -> str:
    """Return the URI spelling of a ``scheme``; the default is https."""
    if variant is None:
        return "https"
    return str(variant.value) if variant.case == "other" else variant.case.lower()


class RequestTarget:
    """Method, path, scheme and authority of a guest's request, with their checks.

    A method or scheme that WIT has a case for becomes that case. Methods are case-sensitive, schemes are not. With an
    authority, an empty path is the root (RFC 9110, section 4.2.3).
    """

    __slots__ = ("_account", "_charge", "authority", "method", "path_with_query", "scheme")

    def __init__(
        self,
        method: Variant = _METHODS["GET"],
        path_with_query: str | None = None,
        scheme: Variant | None = None,
        authority: str | None = None,
    ) -> None:
        self.method = method
        self.path_with_query = path_with_query
        self.scheme = scheme
        self.authority = authority
        self._account: Account | None = None
        self._charge: Charge | None = None

    def bill(self, account: Account) -> None:
        """Charge the target to an account from its next change on."""
        self._account = account

    def _count(self) -> None:
        size = len(self.path_with_query or "") + len(self.authority or "")
        if size > FREE and self._account is not None:
            self._charge = None
            self._charge = Charge(self._account, size)

    def set_method(self, method: Variant) -> Ok[None] | Err[None]:
        text = method_text(method)
        if len(text) > MAX_METHOD or not is_token(text):
            return _REFUSED
        self.method = method_variant(text)
        return _DONE

    def set_path_with_query(self, path_with_query: str | None) -> Ok[None] | Err[None]:
        if path_with_query is not None and (len(path_with_query) > MAX_URI or not is_path_with_query(path_with_query)):
            return _REFUSED
        self.path_with_query = "/" if path_with_query == "" else path_with_query
        self._count()
        return _DONE

    def set_scheme(self, scheme: Variant | None) -> Ok[None] | Err[None]:
        if scheme is not None and scheme.case == "other":
            if not is_scheme(scheme.value):
                return _REFUSED
            scheme = scheme_variant(scheme.value)
        self.scheme = scheme
        return _DONE

    def set_authority(self, authority: str | None) -> Ok[None] | Err[None]:
        if authority is not None:
            if len(authority) > MAX_URI:
                return _REFUSED
            try:
                split_authority(authority)
            except ValueError:
                return _REFUSED
        self.authority = authority
        self._count()
        return _DONE
