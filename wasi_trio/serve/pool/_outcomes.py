"""The outcomes of requests, and the reasons for the ends of instances, as named in logs and metrics."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """The outcome of a request."""

    #: The guest's response was sent completely, whatever its status.
    OK = "ok"
    #: The guest trapped, exited, returned no response, or answered with an error-code.
    GUEST_FAILED = "guest-failed"
    #: No instance could be created.
    INSTANTIATION_FAILED = "instantiation-failed"
    #: The queue was full, or the memory did not suffice for another instance.
    OVERLOADED = "overloaded"
    #: The deadline passed without a response.
    DEADLINE = "deadline"
    #: The guest exceeded the limit of processor time.
    CPU_TIME = "cpu-time"
    #: The handler ended before the response began.
    SHUTDOWN = "shutdown"
    #: The client left before the response was complete.
    CLIENT_LEFT = "client-left"
    #: The response began, but was cut.
    CUT = "cut"


class Retirement(Enum):
    """The reason for the end of an instance."""

    #: The instance has served its maximum number of requests.
    REUSE_COUNT = "reuse-count"
    #: The instance's memory has grown by more than half of the way to its limit.
    MEMORY = "memory"
    #: The instance was idle for too long.
    IDLE = "idle"
    TRAP = "trap"
    EXIT = "exit"
    #: A request's time ran out, before its response or during the work after it.
    DEADLINE = "deadline"
    #: A request exceeded its limit of processor time.
    CPU_TIME = "cpu-time"
    #: The client of an active request left.
    CANCELLED = "cancelled"
    FAILED_TO_START = "failed-to-start"
    #: A host function raised an exception that cannot be passed to the guest.
    HOST_ERROR = "host-error"
    SHUTDOWN = "shutdown"
