"""The Component Model's concurrency without I/O: tasks, subtasks, waitables, streams and futures.

The runtime creates a ``ComponentInstance`` for each of its stores. It provides a ``Scheduler``, which runs the threads
of ``start_task``. Guests use ``Lowering`` and the functions from ``bind``. The host uses ``HostOperation`` and its ends
of streams and futures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_trio.lazy import lazily

if TYPE_CHECKING:
    from wasi_trio.component.concurrency._builtins import bind, core_signature, may_wait
    from wasi_trio.component.concurrency._copying import CopyResult
    from wasi_trio.component.concurrency._futures import SharedFuture
    from wasi_trio.component.concurrency._host_ends import (
        Given,
        HostFutureReader,
        HostFutureWriter,
        HostReader,
        HostWriter,
    )
    from wasi_trio.component.concurrency._instance import ComponentInstance
    from wasi_trio.component.concurrency._lifted import LiftedFunction
    from wasi_trio.component.concurrency._streams import SharedStream
    from wasi_trio.component.concurrency._subtasks import (
        Callee,
        GuestCallee,
        HostCallee,
        HostOperation,
        Lowering,
        Subtask,
        SubtaskState,
    )
    from wasi_trio.component.concurrency._tasks import CANCELLED, Task, TaskState, start_task
    from wasi_trio.component.concurrency._threads import DEADLOCK, Body, CallCore, Scheduler, Thread, Until

__all__ = [
    "CANCELLED",
    "DEADLOCK",
    "Body",
    "CallCore",
    "Callee",
    "ComponentInstance",
    "CopyResult",
    "Given",
    "GuestCallee",
    "HostCallee",
    "HostFutureReader",
    "HostFutureWriter",
    "HostOperation",
    "HostReader",
    "HostWriter",
    "LiftedFunction",
    "Lowering",
    "Scheduler",
    "SharedFuture",
    "SharedStream",
    "Subtask",
    "SubtaskState",
    "Task",
    "TaskState",
    "Thread",
    "Until",
    "bind",
    "core_signature",
    "may_wait",
    "start_task",
]

if not TYPE_CHECKING:  # Type checkers would accept any name.
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "Body": "wasi_trio.component.concurrency._threads",
            "CANCELLED": "wasi_trio.component.concurrency._tasks",
            "CallCore": "wasi_trio.component.concurrency._threads",
            "Callee": "wasi_trio.component.concurrency._subtasks",
            "ComponentInstance": "wasi_trio.component.concurrency._instance",
            "CopyResult": "wasi_trio.component.concurrency._copying",
            "DEADLOCK": "wasi_trio.component.concurrency._threads",
            "Given": "wasi_trio.component.concurrency._host_ends",
            "GuestCallee": "wasi_trio.component.concurrency._subtasks",
            "HostCallee": "wasi_trio.component.concurrency._subtasks",
            "HostFutureReader": "wasi_trio.component.concurrency._host_ends",
            "HostFutureWriter": "wasi_trio.component.concurrency._host_ends",
            "HostOperation": "wasi_trio.component.concurrency._subtasks",
            "HostReader": "wasi_trio.component.concurrency._host_ends",
            "HostWriter": "wasi_trio.component.concurrency._host_ends",
            "LiftedFunction": "wasi_trio.component.concurrency._lifted",
            "Lowering": "wasi_trio.component.concurrency._subtasks",
            "Scheduler": "wasi_trio.component.concurrency._threads",
            "SharedFuture": "wasi_trio.component.concurrency._futures",
            "SharedStream": "wasi_trio.component.concurrency._streams",
            "Subtask": "wasi_trio.component.concurrency._subtasks",
            "SubtaskState": "wasi_trio.component.concurrency._subtasks",
            "Task": "wasi_trio.component.concurrency._tasks",
            "TaskState": "wasi_trio.component.concurrency._tasks",
            "Thread": "wasi_trio.component.concurrency._threads",
            "Until": "wasi_trio.component.concurrency._threads",
            "bind": "wasi_trio.component.concurrency._builtins",
            "core_signature": "wasi_trio.component.concurrency._builtins",
            "may_wait": "wasi_trio.component.concurrency._builtins",
            "start_task": "wasi_trio.component.concurrency._tasks",
        },
    )
