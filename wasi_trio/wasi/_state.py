"""What guests are given that outlives them: their configuration, and buckets of keys and values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from wasi_trio.component._account import Budget
from wasi_trio.wasi.keyvalue._bucket import MAX_VALUE, TIMEOUT, Bucket, Store


@dataclass(frozen=True, slots=True)
class State:
    """The variables of wasi:config and the buckets of wasi:keyvalue; None keeps the interface from guests.

    ``config`` has the variables by name. ``keyvalue`` has a store for each bucket, by the name that guests open it by;
    the empty name stands for ``default``. An operation on a bucket fails after ``timeout`` seconds, and a value has
    up to ``max_value`` bytes. ``buckets`` are those that are open, as ``opened`` sets them.

    A component is linked with ``wasi_trio.wasi.state_imports`` of it. Its values are in no repr.
    """

    config: Mapping[str, str] | None = field(default=None, repr=False)
    keyvalue: Mapping[str, Store] | None = field(default=None, repr=False)
    timeout: float = TIMEOUT
    max_value: int = MAX_VALUE
    buckets: Mapping[str, Bucket] = field(default_factory=dict, repr=False)


#: neither is given
NO_STATE = State()


@asynccontextmanager
async def opened(state: State, budget: Budget | None = None) -> AsyncIterator[State]:
    """The state with its buckets open inside of the block, for guests that run there.

    The memory that stores hold counts in ``budget``. A state whose buckets are open already is given as it is.
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
