"""The instances that answer a test's requests."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from wasi_trio.serve.pool._handler import ProxyHandler
from wasi_trio.serve.pool._outcomes import Retirement
from wasi_trio.testing._output_text import OutputText
from wasi_trio.wasi._stdio import CopyingSink, StdoutSink

#: The reasons that make an instance a failed one.
_FAILED = frozenset(Retirement) - {Retirement.SHUTDOWN, Retirement.REUSE_COUNT, Retirement.IDLE, Retirement.CANCELLED}


class InstanceRecord(OutputText):
    """One instance of a component. The record remains after the instance has ended."""

    def __init__(self, component: str, number: int) -> None:
        #: The component's name.
        self.component = component
        #: The number of the instance. Each component's numbers begin at 1.
        self.number = number
        #: The number of requests so far.
        self.requests = 0
        #: The reason for its end, or None before its end.
        self.retired: Retirement | None = None
        self._stdout: CopyingSink | None = None
        self._stderr: CopyingSink | None = None

    @property
    def stdout_bytes(self) -> bytes:
        return b"" if self._stdout is None else self._stdout.getvalue()

    @property
    def stderr_bytes(self) -> bytes:
        return b"" if self._stderr is None else self._stderr.getvalue()

    @property
    def failed(self) -> bool:
        """Whether it ended by a failure, for example a trap."""
        return self.retired in _FAILED

    @property
    def alive(self) -> bool:
        return self.retired is None

    @property
    def name(self) -> str:
        """Its name in reports."""
        return f"instance {self.number} of {self.component}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        requests = "1 request" if self.requests == 1 else f"{self.requests} requests"
        state = "alive" if self.retired is None else self.retired.value
        return f"{self.name}: {requests}, {state}"


class Pools:
    """The instances of some components, and the activity of their handlers."""

    def __init__(self) -> None:
        #: The instances, in the order of their start.
        self.instances: list[InstanceRecord] = []
        self.handlers: Iterable[ProxyHandler] = ()
        self._changed = trio.lowlevel.ParkingLot()

    def listen(self, component: str) -> _Pool:
        """Return a listener for the handler of a component."""
        return _Pool(self, component)

    def changed(self) -> None:
        self._changed.unpark_all()

    @property
    def live(self) -> int:
        return sum(instance.alive for instance in self.instances)

    def lingering(self) -> list[str]:
        """Return the names of the instances that still work after their responses."""
        found = []
        for handler in self.handlers:
            for worker in handler.workers:
                if worker.lingers:
                    found.append(f"instance {worker.number} of {handler.component.name}")
        return found

    def find(self, component: str, number: int | None) -> InstanceRecord | None:
        """Return the instance with that number of a component; None unless exactly one has it."""
        found = [record for record in self.instances if (record.component, record.number) == (component, number)]
        return found[0] if len(found) == 1 else None

    async def idle(self) -> None:
        """Return when no handler has a request, and no guest works after its responses."""
        await trio.lowlevel.checkpoint()
        while any(handler.active or handler.lingers for handler in self.handlers):
            await self._changed.park()

    async def settled(self) -> None:
        """Return when, in addition, no instance exists."""
        await self.idle()
        while self.live:
            await self._changed.park()


class _Pool:
    """Listens to one handler."""

    def __init__(self, pools: Pools, component: str) -> None:
        self._pools = pools
        self._component = component
        self._instances: dict[int, InstanceRecord] = {}

    def instance_started(self, number: int) -> None:
        record = self._instances[number] = InstanceRecord(self._component, number)
        self._pools.instances.append(record)

    def sinks(self, instance: int, stdout: StdoutSink, stderr: StdoutSink) -> tuple[StdoutSink, StdoutSink]:
        record = self._instances[instance]
        record._stdout, record._stderr = CopyingSink(stdout), CopyingSink(stderr)
        return record._stdout, record._stderr

    def began(self, instance: int) -> None:
        self._instances[instance].requests += 1

    def instance_ended(self, number: int, reason: Retirement) -> None:
        self._instances[number].retired = reason
        self._pools.changed()

    def idle(self) -> None:
        self._pools.changed()
