"""The built-ins for the running task: task.return, task.cancel, context.get/set, backpressure and thread.yield."""

from __future__ import annotations

from typing import Any

from wasi_trio.component import abi
from wasi_trio.component._errors import Trap
from wasi_trio.component._plan import AsyncBuiltin
from wasi_trio.component.concurrency._instance import ComponentInstance
from wasi_trio.component.concurrency._threads import GuestTask, Until

_WRONG_RETURN = "invalid `task.return` signature and/or options for current task"
_MAX_BACKPRESSURE = 2**16


def task_return(builtin: AsyncBuiltin) -> Any:
    types = () if builtin.type is None else (builtin.type,)
    result_type, options = builtin.type, builtin.options
    lift = abi.lift_values(types, options.encoding, abi.MAX_FLAT_PARAMS)

    def call(instance: ComponentInstance, *flats: int) -> None:
        task = _async_lifted(instance)
        function = task.function
        if function.type.result is not result_type and function.type.result != result_type:
            raise Trap(_WRONG_RETURN)
        context = instance.context(options)
        if function.options is not options:
            own = instance.context(function.options)
            different_memory = options.memory is not None and own.memory is not context.memory
            if function.options.encoding is not options.encoding or different_memory:
                raise Trap(_WRONG_RETURN)
        if not types:
            task.return_(None)
        elif function.typed is None:
            task.return_(lift(context, flats)[0])
        else:
            typed = abi.lift_values((function.typed,), options.encoding, abi.MAX_FLAT_PARAMS)
            task.return_(typed(context, flats)[0])

    return call


def task_cancel(builtin: AsyncBuiltin) -> Any:
    def call(instance: ComponentInstance) -> None:
        _async_lifted(instance).cancel()

    return call


def _async_lifted(instance: ComponentInstance) -> GuestTask:
    instance.check_leave()
    task = instance.task
    if task is None or not task.function.is_async:
        raise Trap(_WRONG_RETURN)
    return task


def context_get(builtin: AsyncBuiltin) -> Any:
    slot = builtin.slot

    def call(instance: ComponentInstance) -> int:
        task = instance.task
        return (instance.storage if task is None else task.storage)[slot]

    return call


def context_set(builtin: AsyncBuiltin) -> Any:
    slot = builtin.slot

    def call(instance: ComponentInstance, value: int) -> None:
        task = instance.task
        (instance.storage if task is None else task.storage)[slot] = value

    return call


def backpressure_inc(builtin: AsyncBuiltin) -> Any:
    def call(instance: ComponentInstance) -> None:
        instance.backpressure += 1
        if instance.backpressure == _MAX_BACKPRESSURE:
            raise Trap("backpressure counter overflow")

    return call


def backpressure_dec(builtin: AsyncBuiltin) -> Any:
    def call(instance: ComponentInstance) -> None:
        if instance.backpressure == 0:
            raise Trap("backpressure counter underflow")
        instance.backpressure -= 1
        if instance.backpressure == 0:
            instance.hand_over()

    return call


def thread_yield(builtin: AsyncBuiltin) -> Any:
    def call(instance: ComponentInstance) -> int | Until:
        instance.check_leave()
        task = instance.task
        # During instantiation no other task exists. A task without a thread cannot wait (``Interlude``).
        return 0 if task is None or task.thread is None else UntilNextTurn(False)

    return call


class UntilNextTurn(Until):
    """A request of a thread that yields to others."""

    __slots__ = ()

    def ready(self) -> bool:
        return True

    def finish(self, cancelled: bool) -> int:
        return 0
