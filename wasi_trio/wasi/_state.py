"""State that outlives a guest: its configuration, and buckets of keys and values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from wasi_trio.component._account import Budget
from wasi_trio.wasi.keyvalue._bucket import MAX_VALUE, TIMEOUT, Bucket, Store


@dataclass(frozen=True, slots=True)
class State:
    """The variables of wasi:config and the buckets of wasi:keyvalue. None disables the interface.

    ``config`` maps names to values. ``keyvalue`` maps the names of buckets to stores; the empty name means ``default``.
    An operation on a bucket fails after ``timeout`` seconds. A value has at most ``max_value`` bytes. ``buckets`` are
    the open buckets, which ``opened`` sets. ``wasi_trio.wasi.state_imports`` returns the imports for a state. A repr
    shows no values, because they may be secret.
    """

    config: Mapping[str, str] | None = field(default=None, repr=False)
    keyvalue: Mapping[str, Store] | None = field(default=None, repr=False)
    timeout: float = TIMEOUT
    max_value: int = MAX_VALUE
    buckets: Mapping[str, Bucket] = field(default_factory=dict, repr=False)


#: neither interface
NO_STATE = State()


@asynccontextmanager
async def opened(state: State, budget: Budget | None = None) -> AsyncIterator[State]:
    """Open the buckets of a state for the guests that run within the block.

    The memory of stores counts in ``budget``. A state with open buckets stays as it is.
    """
    if not state.keyvalue or state.buckets:
        yield state
        return
    async with AsyncExitStack() as stack:
        buckets = {
            name: await stack.enter_async_context(store.open(state.timeout, budget))
            for name, store in state.keyvalue.items()
        }
        yield replace(state, buckets=buckets)
