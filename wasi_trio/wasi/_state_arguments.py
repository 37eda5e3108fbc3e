"""Parsers of options for configuration, keys and values. Messages omit values, which may be secret."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from wasi_trio.wasi._arguments import parse_switch
from wasi_trio.wasi._wasmtime_options import check, is_known

if TYPE_CHECKING:
    from wasi_trio.wasi._state import State
    from wasi_trio.wasi.keyvalue._bucket import Store

#: the bucket of ``-S keyvalue``; guests can also open it by the empty name
DEFAULT: Final = "default"

#: the settings of ``-S``, for its help
SWITCHES: Final = """\
  -S config[=y|n]
      wasi:config, which --config-var enables too
  -S config-var=NAME=VALUE
      the same as --config-var NAME=VALUE
  -S keyvalue[=y|n]
      wasi:keyvalue with a bucket in memory, as by --keyvalue memory:
  -S keyvalue-in-memory-data=NAME=VALUE
      a value in that bucket
"""
_SWITCHES: Final = {"y": "true", "n": "false", "": "true"}


class WasiSwitch(NamedTuple):
    """One setting of ``-S``. ``value`` is a bool, or a pair of strings."""

    name: str
    value: bool | tuple[str, str]

    def __repr__(self) -> str:
        return f"WasiSwitch({self.name!r})"


def parse_switches(text: str) -> tuple[WasiSwitch, ...]:
    """Parse ``NAME[=VALUE],...``, in wasmtime's notation."""
    parts = text.split(",")
    for part in parts:
        if is_known("S", part):
            check("S", part)
    return tuple(_parse_switch(part) for part in parts if not is_known("S", part))


def _parse_switch(part: str) -> WasiSwitch:
    name, _, value = part.partition("=")
    match name:
        case "config" | "keyvalue":
            try:
                return WasiSwitch(name, parse_switch(_SWITCHES.get(value, value)))
            except ValueError:
                raise ValueError(f"{name} must be y or n") from None
        case "config-var" | "keyvalue-in-memory-data":
            key, _, content = value.partition("=")
            if not key:
                raise ValueError(f"{name} must have the form {name}=NAME=VALUE")
            return WasiSwitch(name, (_check_utf8(name, key), _check_utf8(name, content)))
    raise ValueError(
        f"{name!r} is no setting of wasmtime 49; supported are config, config-var=NAME=VALUE, keyvalue and "
        "keyvalue-in-memory-data=NAME=VALUE"
    )


def parse_config_variable(text: str) -> tuple[str, str] | None:
    """Parse ``NAME=VALUE`` or ``NAME``, whose value comes from the environment. Return None if it has none."""
    name, equals, value = text.partition("=")
    if not name:
        raise ValueError("it is not of the form NAME or NAME=VALUE")
    if equals:
        return _check_utf8("the name", name), _check_utf8(f"the value of {name}", value)
    inherited = os.environ.get(_check_utf8("the name", name))
    return None if inherited is None else (name, _check_utf8(f"the environment variable {name}", inherited))


def _check_utf8(what: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} is not UTF-8 text") from None
    return text


def parse_keyvalue(text: str) -> tuple[str, Store]:
    """Parse ``NAME=URL``: the name of a bucket and the URL of its store. A URL alone is for ``default``."""
    name, equals, url = text.partition("=")
    if not equals or ":" in name:
        name, url = DEFAULT, text
    if not name or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
        raise ValueError("the name of a bucket may contain only letters, digits, '.', '_' and '-'")
    # Imported late, because most command lines use no bucket.
    from wasi_trio.wasi.keyvalue._urls import parse_store

    return name, parse_store(url, name)


def unique(pairs: Iterable[tuple[str, Store]]) -> dict[str, Store]:
    """Return stores by the names of their buckets. Raises ValueError for duplicate names."""
    found: dict[str, Store] = {}
    for name, store in pairs:
        if name in found:
            raise ValueError(f"the bucket {name} is given twice")
        found[name] = store
    return found


@dataclass(frozen=True, slots=True)
class StateArguments:
    """All options for the state of guests. None selects the default; that of ``timeout`` depends on ``deadline``."""

    switches: Iterable[WasiSwitch] = ()
    config: Iterable[tuple[str, str] | None] = ()
    stores: Iterable[tuple[str, Store]] = ()
    timeout: float | None = None
    max_value: int | None = None
    memory: int | None = None
    deadline: float | None = None

    def state(self) -> State:
        """Return the state. Raises ValueError with a one-line message for invalid options."""
        from wasi_trio.wasi._state import State
        from wasi_trio.wasi.keyvalue._bucket import MAX_VALUE, TIMEOUT
        from wasi_trio.wasi.keyvalue._memory import MemoryStore

        on: dict[str, bool] = {}
        pairs: dict[str, list[tuple[str, str]]] = {"config-var": [], "keyvalue-in-memory-data": []}
        for switch in self.switches:
            if isinstance(switch.value, bool):
                on[switch.name] = switch.value
            else:
                pairs[switch.name].append(switch.value)
        variables = dict([*pairs["config-var"], *filter(None, self.config)])
        stores = unique(self.stores)
        data = pairs["keyvalue-in-memory-data"]
        if on.get("keyvalue") or data:
            stores.setdefault(DEFAULT, MemoryStore())
        self._fill(stores, data)
        timeout = self.timeout
        if timeout is None:
            # Half the deadline, so that the guest can still answer after the error.
            timeout = TIMEOUT if self.deadline is None else min(TIMEOUT, self.deadline / 2)
        return State(
            variables if on.get("config", bool(variables or self._names_variables)) else None,
            stores if on.get("keyvalue", bool(stores)) else None,
            timeout,
            MAX_VALUE if self.max_value is None else self.max_value,
        )

    @property
    def _names_variables(self) -> bool:
        """Whether options name variables, even ones without a value in the environment."""
        return any(True for _ in self.config)

    def _fill(self, stores: Mapping[str, Store], data: Iterable[tuple[str, str]]) -> None:
        from wasi_trio.wasi.keyvalue._bucket import StoreError
        from wasi_trio.wasi.keyvalue._memory import MemoryStore

        for name, store in stores.items():
            if isinstance(store, MemoryStore) and self.memory is not None:
                store.limit = self.memory
            try:
                store.check()
            except ValueError as error:
                raise ValueError(f"the bucket {name}: {error}") from None
        for key, value in data:
            store = stores[DEFAULT]
            if not isinstance(store, MemoryStore):
                raise ValueError("keyvalue-in-memory-data requires the URL memory: for the bucket default")
            try:
                store[key] = value.encode()
            except StoreError as error:
                raise ValueError(f"keyvalue-in-memory-data: {error}") from None
