"""What an operator can set about how requests are handled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wasi_trio.runtime._engine import Limits
from wasi_trio.wasi._context import WasiOptions

if TYPE_CHECKING:
    from wasi_trio.serve.pool._admission import Places
    from wasi_trio.serve.pool._metrics import Metrics
    from wasi_trio.serve.pool._observer import Listener
    from wasi_trio.serve.pool._tracing import Tracer


@dataclass(frozen=True, slots=True)
class HandlerOptions:
    """Options of the request handler; times are in seconds, None is no limit.

    ``max_instance_reuse_count`` requests are given to an instance before it is dropped, by default 1 for WASI 0.2,
    whose guests are not written to be reused, and 128 for 0.3; ``max_instance_concurrent_reuse_count`` of them at a
    time, by default 1 and 16, where a guest of WASI 0.2 cannot take more. ``idle_instance_timeout`` is how long an
    instance is kept without a request. ``request_timeout`` bounds the time from a request's arrival to its response's
    head, and ``max_cpu_time`` the processor time that the guest, and host functions in its calls, use for it.
    Requests beyond ``max_concurrent_requests`` wait in order. ``cancel_grace`` is how long a guest of WASI 0.3
    has to end a request that was cancelled, before its instance is given up. ``post_response_timeout`` bounds what a
    guest does for a request after the client has had its response. ``body_timeout`` bounds the pause between two pieces
    of a response's body, as far as it is the guest's: time in which the client does not take what is there does not
    count. ``drain_timeout`` bounds how long requests under way are waited for when the handler is left; those that are
    not done then are cut. Requests that wait beyond ``max_queued_requests`` are refused. A host function that holds up
    the event loop for longer than ``stall_limit`` is logged, and interrupted if ``interrupt_stalls`` is set; it is
    interrupted at its request's deadline in any case.
    ``total_memory`` bounds the bytes that all instances of the component's engine hold together. A request that needs
    another instance while there is no room for one waits for up to ``memory_timeout``, and is refused then.
    ``instance_prefix`` comes before the numbers of instances in logs and in the lines of guests' output.
    ``observed`` has requests numbered, for logs that tell which request and instance a line is about.
    ``places`` bounds the requests that several handlers work on together. ``route`` is the name of the route that the
    handler is for, where there are routes, and ``generation`` the number of its version; metrics go on from one to the
    next.
    ``metrics`` is where handlers count what they do, and ``tracer`` follows requests. Each of ``listeners`` is
    called with the component's name when a handler starts, and returns the object that is told of its requests and
    instances.
    """

    max_instance_reuse_count: int | None = None
    max_instance_concurrent_reuse_count: int | None = None
    idle_instance_timeout: float = 1.0
    request_timeout: float | None = None
    max_cpu_time: float | None = None
    max_concurrent_requests: int | None = None
    max_queued_requests: int | None = None
    cancel_grace: float = 1.0
    post_response_timeout: float | None = 30.0
    body_timeout: float | None = None
    drain_timeout: float | None = None
    stall_limit: float | None = 5.0
    interrupt_stalls: bool = False
    total_memory: float | None = None
    memory_timeout: float = 5.0
    limits: Limits = field(default_factory=Limits)
    wasi: WasiOptions = field(default_factory=WasiOptions)
    logging_prefix: bool = True
    instance_prefix: str = ""
    observed: bool = False
    places: Places | None = None
    route: str = ""
    generation: int = 0
    metrics: Metrics | None = None
    tracer: Tracer | None = None
    listeners: Sequence[Callable[[str], Listener]] = ()
