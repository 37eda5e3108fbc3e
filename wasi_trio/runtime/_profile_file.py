"""Profile files in the processed format of the Firefox profiler, as wasmtime and wasi_trio write them.

``docs-developer/processed-profile-format.md`` and ``src/types/profile.ts`` of firefox-devtools/profiler describe the
format. wasmtime writes version 55. Later versions of the Firefox profiler convert it when they read it. A thread's
stacks form a tree: a stack is a frame and the calling stack (``prefix``).
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from wasi_trio._files import parse_json

VERSION = 55
#: The corresponding version of Firefox's own format.
_GECKO_VERSION = 24
#: The categories of frames, with the profiler's colour names. The first grey one is the default category.
CATEGORIES = (("Other", "grey"), ("WebAssembly", "blue"), ("Host function", "orange"))
OTHER, WASM, HOST = range(3)
#: Maximum number of frames kept of a stack, which are the innermost.
MAX_DEPTH = 256
#: Maximum number of characters kept of a name.
MAX_NAME = 200
#: The frame in place of those that are not kept.
MORE_CALLERS = "(more callers)"
#: The frame in place of all frames if a guest has too many different stacks.
TOO_MANY_STACKS = "(one of too many stacks)"
#: Maximum number of distinct stacks kept for each instance, and for all live instances.
MAX_STACKS, MAX_TOTAL_STACKS = 20_000, 100_000
#: The frame in place of a stack that would have taken too long.
NOT_TAKEN = "(stack not taken)"
#: Number of entries of a table's column that are converted to text at once.
PIECE_SIZE = 1_000
#: The advice in messages about other files.
_WANTED = "it takes the files that `--profile guest` of serve or run writes"
#: Exclusive upper limit of numbers in a file.
_MAX_NUMBER = 1e15
#: Milliseconds in a second.
_MS = 1000.0
#: Phases of markers.
_INTERVAL, _INTERVAL_START = 1, 2

#: A frame: the function's name, the module or interface that contains it, and its category.
Frame = tuple[str, str, int]


class ProfileError(Exception):
    """The file is not a profile. The message is one line, which follows the name of the file."""


class Room:
    """The number of stacks that may still be added, in all trees together."""

    def __init__(self, left: int = MAX_TOTAL_STACKS) -> None:
        self.left = left


class StackTree:
    """Stacks by number. Each is a frame and the number of the calling stack, or -1.

    The owner of a tree must return its stacks to ``room`` in the end.
    """

    def __init__(self, room: Room | None = None) -> None:
        self.room = Room() if room is None else room
        self.frames: list[Frame] = []
        self.parents: list[int] = []
        self._numbers: dict[tuple[int, Frame], int] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def number(self, frames: Sequence[Frame]) -> int:
        """Return the number of a stack, given from the outermost frame to the innermost."""
        if len(frames) > MAX_DEPTH:
            frames = [(MORE_CALLERS, "", OTHER), *frames[-MAX_DEPTH:]]
        stack = -1
        for frame in frames:
            full = len(self.frames) >= MAX_STACKS or self.room.left <= 0
            if full and (stack, frame) not in self._numbers:
                return self._add(-1, (TOO_MANY_STACKS, "", OTHER))
            stack = self._add(stack, frame)
        return stack

    def _add(self, parent: int, frame: Frame) -> int:
        found = self._numbers.setdefault((parent, frame), len(self.frames))
        if found == len(self.frames):
            self.frames.append(frame)
            self.parents.append(parent)
            self.room.left -= 1
        return found


@dataclass(slots=True)
class Samples:
    """The samples of one thread: times in seconds, numbers of stacks, and the number of intervals for each sample."""

    times: array[float] = field(default_factory=lambda: array("d"))
    stacks: array[int] = field(default_factory=lambda: array("l"))
    weights: array[int] = field(default_factory=lambda: array("l"))

    def add(self, time: float, stack: int, weight: int) -> None:
        self.times.append(time)
        self.stacks.append(stack)
        self.weights.append(weight)

    def drop_oldest(self, count: int) -> float:
        """Remove the ``count`` oldest samples. Return the time of the last one removed."""
        until = self.times[count - 1]
        for column in (self.times, self.stacks, self.weights):
            del column[:count]
        return until


@dataclass(slots=True)
class RequestSpan:
    """A request, during its time in an instance. ``ended`` is None until the request ends."""

    method: str
    path: str
    began: float
    ended: float | None = None
    status: int | None = None


@dataclass(slots=True)
class Recorded:
    """The content of an instance's profile. Times are in seconds since ``epoch``, which is in seconds since 1970.

    Samples before ``since`` were removed, so the times of computation before that are unknown.
    """

    name: str
    pid: int
    epoch: float
    interval: float
    began: float
    ended: float
    tree: StackTree
    threads: dict[str, Samples]
    requests: Sequence[RequestSpan]
    notes: Sequence[str] = ()
    since: float = 0.0


# ---- writing ---------------------------------------------------------------------------------------------


def write(recorded: Recorded) -> Iterator[str]:
    """Yield the text of a profile in pieces. Making JSON blocks all other threads, so no piece may take long."""
    threads = recorded.threads or {"guest": Samples()}
    computed = _computed(recorded)
    return _pieces(
        {
            "meta": _meta(recorded),
            "libs": [],
            "threads": [
                _thread(recorded, name, samples, computed, first=number == 0)
                for number, (name, samples) in enumerate(threads.items())
            ],
            "pages": [],
            "profilerOverhead": [],
            "counters": [],
        }
    )


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        before = "{"
        for key, part in value.items():
            yield f"{before}{json.dumps(key)}:"
            yield from _pieces(part)
            before = ","
        yield "}" if value else "{}"
    elif isinstance(value, list) and value and isinstance(value[0], dict) and "samples" in value[0]:
        before = "["
        for part in value:
            yield before
            yield from _pieces(part)
            before = ","
        yield "]"
    elif isinstance(value, list):
        for start in range(0, len(value), PIECE_SIZE):
            text = json.dumps(value[start : start + PIECE_SIZE], separators=(",", ":"))
            yield ("," if start else "[") + text[1:-1]
        yield "]" if value else "[]"
    else:
        yield json.dumps(value)


def _meta(recorded: Recorded) -> dict[str, Any]:
    extra = [{"label": "Note", "format": "string", "value": note} for note in recorded.notes]
    return {
        "interval": recorded.interval * _MS,
        "startTime": recorded.epoch * _MS,
        "profilingStartTime": recorded.began * _MS,
        "profilingEndTime": recorded.ended * _MS,
        "processType": 0,
        "product": recorded.name,
        "importedFrom": "wasi_trio",
        "stackwalk": 1,
        "debug": False,
        "version": _GECKO_VERSION,
        "preprocessedProfileVersion": VERSION,
        "symbolicated": True,
        "symbolicationNotSupported": True,
        "usesOnlyOneStackType": True,
        "sourceCodeIsNotOnSearchfox": True,
        "keepProfileThreadOrder": True,
        "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "µs"},
        "extensions": {"baseURL": [], "id": [], "length": 0, "name": []},
        "categories": [{"name": name, "color": colour, "subcategories": ["Other"]} for name, colour in CATEGORIES],
        "markerSchema": [
            {
                "name": "Request",
                "tooltipLabel": "{marker.data.request}",
                "tableLabel": "{marker.data.request}",
                "chartLabel": "{marker.data.request}",
                "display": ["marker-chart", "marker-table", "timeline-overview"],
                "fields": [
                    {"key": "request", "label": "Request", "format": "string"},
                    {"key": "status", "label": "Status", "format": "string"},
                    {"key": "computed", "label": "The instance computed meanwhile", "format": "milliseconds"},
                    {"key": "others", "label": "Other requests of the instance meanwhile", "format": "integer"},
                ],
            },
            {
                "name": "Waiting",
                "tooltipLabel": "the guest waits",
                "tableLabel": "the guest waits",
                "chartLabel": "waits",
                "display": ["marker-chart", "marker-table", "timeline-overview"],
                "fields": [],
            },
        ],
        "extra": [{"label": "wasi_trio", "entries": extra}] if extra else [],
    }


def _thread(
    recorded: Recorded, name: str, samples: Samples, computed: Sequence[tuple[float, float]], first: bool
) -> dict[str, Any]:
    strings: dict[str, int] = {}

    def string(text: str) -> int:
        return strings.setdefault(text, len(strings))

    frames: dict[Frame, int] = {}
    tree = recorded.tree
    stack_frames = [frames.setdefault(frame, len(frames)) for frame in tree.frames]
    resources: dict[str, int] = {}
    for _, part, _ in frames:
        if part:
            resources.setdefault(part, len(resources))
    count = len(frames)
    nothing = [None] * count
    markers = _markers(recorded, computed, string) if first else []
    label = recorded.name if first else f"{recorded.name}: {name}"
    return {
        "name": label,
        "processName": recorded.name,
        "processType": "default",
        "isMainThread": first,
        "pid": str(recorded.pid),
        "tid": f"{recorded.pid}: {name}",
        "processStartupTime": recorded.began * _MS,
        "processShutdownTime": None,
        "registerTime": recorded.began * _MS,
        "unregisterTime": None,
        "showMarkersInTimeline": first,
        "pausedRanges": [],
        "frameTable": {
            "length": count,
            "address": [-1] * count,
            "inlineDepth": [0] * count,
            "category": [category for _, _, category in frames],
            "subcategory": [0] * count,
            "func": list(range(count)),
            "nativeSymbol": nothing,
            "innerWindowID": nothing,
            "line": nothing,
            "column": nothing,
        },
        "funcTable": {
            "length": count,
            "name": [string(function) for function, _, _ in frames],
            "isJS": [False] * count,
            "relevantForJS": [False] * count,
            "resource": [resources[part] if part else -1 for _, part, _ in frames],
            "fileName": nothing,
            "lineNumber": nothing,
            "columnNumber": nothing,
        },
        "resourceTable": {
            "length": len(resources),
            "lib": [None] * len(resources),
            "name": [string(part) for part in resources],
            "host": [None] * len(resources),
            "type": [0] * len(resources),
        },
        "nativeSymbols": {"length": 0, "address": [], "functionSize": [], "libIndex": [], "name": []},
        "stackTable": {
            "length": len(tree),
            "prefix": [None if parent < 0 else parent for parent in tree.parents],
            "frame": stack_frames,
        },
        "samples": _samples(recorded, samples),
        "markers": {
            "length": len(markers),
            "category": [OTHER] * len(markers),
            "name": [name for name, _, _, _ in markers],
            "startTime": [began * _MS for _, began, _, _ in markers],
            "endTime": [None if ended is None else ended * _MS for _, _, ended, _ in markers],
            "phase": [_INTERVAL_START if ended is None else _INTERVAL for _, _, ended, _ in markers],
            "data": [data for _, _, _, data in markers],
        },
        "stringArray": list(strings),
    }


def _samples(recorded: Recorded, samples: Samples) -> dict[str, Any]:
    """Return the samples, with an empty stack where computing ended. The timeline would otherwise extend the sample."""
    times: list[float] = []
    stacks: list[int | None] = []
    weights: list[int] = []
    until = recorded.began
    for time, stack, weight in zip(samples.times, samples.stacks, samples.weights, strict=True):
        since = time - weight * recorded.interval
        if since - until > recorded.interval:
            times += [until, max(until, since)]
            stacks += [None, None]
            weights += [0, 0]
        times.append(time)
        stacks.append(None if stack < 0 else stack)
        weights.append(weight)
        until = time
    if recorded.ended > until:
        times.append(until)
        stacks.append(None)
        weights.append(0)
    return {
        "length": len(times),
        "weightType": "samples",
        "stack": stacks,
        "time": [time * _MS for time in times],
        "weight": weights,
        "threadCPUDelta": [round(weight * recorded.interval * 1e6) for weight in weights],
    }


def _computed(recorded: Recorded) -> list[tuple[float, float]]:
    """Return the spans in which the instance computed, according to the samples, in order."""
    spans = sorted(
        (time - weight * recorded.interval, time)
        for samples in recorded.threads.values()
        for time, weight in zip(samples.times, samples.weights, strict=True)
    )
    merged: list[tuple[float, float]] = []
    for since, until in spans:
        if merged and since - merged[-1][1] <= recorded.interval:
            merged[-1] = (merged[-1][0], max(until, merged[-1][1]))
        else:
            merged.append((since, until))
    return merged


_Marker = tuple[int, float, float | None, dict[str, Any]]


def _markers(recorded: Recorded, computed: Sequence[tuple[float, float]], string: Any) -> list[_Marker]:
    requests = recorded.requests
    ends = [recorded.ended if request.ended is None else request.ended for request in requests]
    weights = sorted(
        (time, weight)
        for samples in recorded.threads.values()
        for time, weight in zip(samples.times, samples.weights, strict=True)
    )
    times = [time for time, _ in weights]
    sums = [0]
    for _, weight in weights:
        sums.append(sums[-1] + weight)
    starts, stops = sorted(request.began for request in requests), sorted(ends)
    markers: list[_Marker] = []
    for request, end in zip(requests, ends, strict=True):
        sampled = sums[bisect_right(times, end)] - sums[bisect_left(times, request.began)]
        data = {
            "type": "Request",
            "request": f"{request.method} {request.path}",
            "status": "" if request.status is None else str(request.status),
            # The requests that began before this one ended, except those that ended before it began.
            "others": bisect_left(starts, end) - bisect_right(stops, request.began) - 1,
        }
        if request.began >= recorded.since:
            data["computed"] = sampled * recorded.interval * _MS
        markers.append((string("Request"), request.began, request.ended, data))
    began = (max(request.began, recorded.since) for request in requests)
    busy = [(since, end) for since, end in zip(began, ends, strict=True) if since < end]
    for since, until in _idle(_busy(busy), computed):
        if until - since > recorded.interval:
            markers.append((string("Waiting"), since, until, {"type": "Waiting"}))
    return sorted(markers, key=lambda marker: marker[1])


def _busy(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the spans with at least one request."""
    merged: list[tuple[float, float]] = []
    for since, until in sorted(spans):
        if merged and since <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(until, merged[-1][1]))
        else:
            merged.append((since, until))
    return merged


def _idle(
    busy: Sequence[tuple[float, float]], computed: Sequence[tuple[float, float]]
) -> Iterator[tuple[float, float]]:
    """Yield the spans with requests but without computation."""
    at = 0
    for since, until in busy:
        while at < len(computed) and computed[at][1] <= since:
            at += 1
        next_ = at
        while next_ < len(computed) and computed[next_][0] < until:
            if computed[next_][0] > since:
                yield since, computed[next_][0]
            since = max(since, computed[next_][1])
            next_ += 1
        if since < until:
            yield since, until


# ---- reading ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile read from a file. Each thread has its name, its stacks with frames from the outermost, and weights.

    ``interval`` is in seconds.
    """

    name: str
    interval: float
    threads: list[tuple[str, list[tuple[list[Frame], float]]]]
    notes: list[str]


def read(text: str | bytes) -> Profile:
    """Read a profile from wasmtime or wasi_trio. Raises ProfileError."""
    try:
        content = parse_json(text.encode() if isinstance(text, str) else text)
    except ValueError as error:
        raise ProfileError(f"{error}; {_WANTED}") from None
    try:
        meta = content["meta"]
        version = meta["preprocessedProfileVersion"]
        if not isinstance(version, int) or version > VERSION:
            raise ProfileError(
                f"has version {version!r} of the Firefox profiler's format; supported are versions up to {VERSION}"
            )
        notes = [str(entry["value"]) for section in meta.get("extra", ()) for entry in section["entries"]]
        libs = [str(lib["name"]) for lib in content["libs"]]
        threads = [(str(thread["name"]), _read_thread(thread, libs)) for thread in content["threads"]]
        return Profile(str(meta["product"]), _amount(meta["interval"]) / _MS, threads, notes)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        raise ProfileError(f"is JSON, but not a profile that this command can draw; {_WANTED}") from None


def _amount(value: Any) -> float:
    """Return a number of milliseconds or samples. Raises ValueError for one that no profile can have."""
    number = float(value)
    if not 0 <= number < _MAX_NUMBER:
        raise ValueError(f"{value!r} is not an amount of time")
    return number


def _read_thread(thread: dict[str, Any], libs: Sequence[str]) -> list[tuple[list[Frame], float]]:
    samples = thread["samples"]
    stacks = samples["stack"]
    weights = samples.get("weight") or [1] * len(stacks)
    known = stack_reader(thread, libs)
    return [
        (known(stack), _amount(weight))
        for stack, weight in zip(stacks, weights, strict=True)
        if stack is not None and weight
    ]


def stack_reader(thread: dict[str, Any], libs: Sequence[str]) -> Any:
    """Return a function from the number of a stack in a profile's thread to its frames, from the outermost."""
    strings, functions = thread["stringArray"], thread["funcTable"]
    resources, frame_table, table = thread["resourceTable"], thread["frameTable"], thread["stackTable"]

    def frame(number: int) -> Frame:
        function = frame_table["func"][number]
        resource = functions["resource"][function]
        part = ""
        if resource is not None and resource >= 0:
            lib = resources["lib"][resource]
            part = str(strings[resources["name"][resource]] if lib is None else libs[lib])
        name = str(strings[functions["name"][function]])
        return name[:MAX_NAME], part[:MAX_NAME], int(frame_table["category"][number] or 0)

    frames: dict[int, Frame] = {}

    def stack(number: int | None) -> list[Frame]:
        found: list[Frame] = []
        while number is not None and len(found) <= MAX_DEPTH:
            at = table["frame"][number]
            if at not in frames:
                frames[at] = frame(at)
            found.append(frames[at])
            number = table["prefix"][number]
        return found[::-1]

    return stack
