"""What can become of a request, and why an instance ends: the words that logs and metrics have for it."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """What became of a request."""

    #: the guest's response went out whole, whatever its status
    OK = "ok"
    #: the guest trapped, exited, returned no response, or answered with an error-code
    GUEST_FAILED = "guest-failed"
    #: no instance could be made
    INSTANTIATION_FAILED = "instantiation-failed"
    #: too many requests waited already
    OVERLOADED = "overloaded"
    #: there was no response in time
    DEADLINE = "deadline"
    #: the guest used more processor time than it may for a request
    CPU_TIME = "cpu-time"
    #: the handler ended before there was a response
    SHUTDOWN = "shutdown"
    #: nobody wanted the response any more before it was complete
    CLIENT_LEFT = "client-left"
    #: the response began, but the guest broke it off
    CUT = "cut"


class Retirement(Enum):
    """Why an instance ended."""

    #: it took as many requests as an instance is given
    REUSE_COUNT = "reuse-count"
    #: it was without a request for too long
    IDLE = "idle"
    TRAP = "trap"
    EXIT = "exit"
    #: a request's time was up, before its response or with what it did after that
    DEADLINE = "deadline"
    #: it used more processor time for a request than it may
    CPU_TIME = "cpu-time"
    #: the client of a request it worked on left
    CANCELLED = "cancelled"
    FAILED_TO_START = "failed-to-start"
    #: a host function raised what the guest could not be told
    HOST_ERROR = "host-error"
    SHUTDOWN = "shutdown"
