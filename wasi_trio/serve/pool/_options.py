"""The options of a request handler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wasi_trio.runtime._engine import Limits
from wasi_trio.wasi._context import WasiOptions

if TYPE_CHECKING:
    from wasi_trio.serve.pool._admission import SharedLimit
    from wasi_trio.serve.pool._metrics import Metrics
    from wasi_trio.serve.pool._observer import Listener
    from wasi_trio.serve.pool._tracing import Tracer


@dataclass(frozen=True, slots=True)
class HandlerOptions:
    """The options of a request handler. Times are in seconds. None is no limit, unless stated otherwise.

    **Instances.** An instance serves ``max_instance_reuse_count`` requests before it is dropped. None means 1 for WASI
    0.2, whose guests are not written for reuse, and 128 for 0.3. It serves at most
    ``max_instance_concurrent_reuse_count`` requests at a time. None means 16 for WASI 0.3. A guest of WASI 0.2 always
    serves one. An instance without a request is dropped after ``idle_instance_timeout``. ``instance_prefix`` precedes
    the numbers of instances in logs and in the lines of guests' output, which ``logging_prefix`` enables.

    **Time.** ``request_timeout`` limits the time from a request's arrival to its response's head. ``max_cpu_time``
    limits the processor time of the guest and its host functions for a request. ``body_timeout`` limits a pause between
    two parts of a response's body. Time in which the client does not read does not count. ``cancel_grace`` is the time
    for a guest of WASI 0.3 to end a cancelled request, before its instance is retired. ``post_response_timeout`` limits
    the guest's work on a request after its response was sent. ``drain_timeout`` limits the wait for active requests
    when the handler is left. Requests that are not finished by then are cut.

    **Blocked event loop.** A host function that blocks the event loop for ``stall_limit`` is logged. It is also
    interrupted if ``interrupt_stalls`` is set. It is interrupted at its request's deadline in any case.

    **Load and memory.** Requests beyond ``max_concurrent_requests`` wait in order. Requests beyond
    ``max_queued_requests`` waiting ones are refused. ``shared_limit`` limits the requests of several handlers together.
    ``total_memory`` limits the bytes held for all instances of the component's engine. A request that needs a new
    instance beyond it waits for at most ``memory_timeout``, and is refused then. ``limits`` apply to each instance.

    **Reports.** ``metrics`` collects counts, and ``tracer`` traces requests. Each of ``listeners`` is called with the
    component's name when a handler starts, and returns a Listener. ``observed`` numbers the requests, so that log lines
    can name request and instance. ``route`` is the name of the handler's route, if any, and ``generation`` the number
    of its version. Metrics continue from one generation to the next.
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
    shared_limit: SharedLimit | None = None
    route: str = ""
    generation: int = 0
    metrics: Metrics | None = None
    tracer: Tracer | None = None
    listeners: Sequence[Callable[[str], Listener]] = ()
