"""Samples of what guests do, by wasmtime's guest profiler.

The ticker's thread asks for a sample of the guest that runs (``Profiler.beat``); the guest takes it when wasmtime next
has it look at the epoch. wasmtime's profiler gives its samples away only when it is finished, and to make one costs
milliseconds for a large component. So all instances of a component share one, which is replaced once in a second at
most (a ``_Window``); who was sampled is noted beside it. A thread of the profiler's takes the windows apart, gives each
instance its samples, and writes the files.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from ctypes import byref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasi_trio._texts import get_logger
from wasi_trio.component._errors import MalformedComponent
from wasi_trio.component._reader import Reader
from wasi_trio.component._wasm import sections
from wasi_trio.runtime import _ffi as ffi
from wasi_trio.runtime._profile_file import (
    HOST,
    LONGEST,
    NOT_TAKEN,
    OTHER,
    WASM,
    Frame,
    Recorded,
    RequestSpan,
    Room,
    Samples,
    StackTree,
    stack_reader,
    write,
)
from wasi_trio.runtime._profile_options import GuestProfile
from wasi_trio.runtime._running import Running

if TYPE_CHECKING:
    import wasmtime

log = get_logger("wasi_trio")

#: seconds for which a window is open
WINDOW = 1.0
#: the part of the time that taking samples may cost: a guest chooses how deep its stack is
SHARE = 0.05
#: samples, and requests, that are kept of one instance, and of all that live: the newest
SAMPLES, SAMPLES_IN_ALL = 60_000, 1_000_000
REQUESTS, REQUESTS_IN_ALL = 20_000, 200_000
#: seconds after which a request is worth a file even if its instance was never seen to compute
LONG = 0.1
#: samples that may wait for the profiler's thread, which a slow disk may hold up
WAITING = 50_000
#: files that a process leaves, the newest: without reuse there is an instance for each request; and how many of what
#: has ended are written in a window
FILES = 1_000
FILES_AT_ONCE = 20


#: bytes of a module before its sections, the identifier of those that are custom, and the bytes of one that are read
_PREAMBLE, _CUSTOM, _NAMES = 8, 0, 4096
#: bytes of a file that are gathered before they are written
_BUFFERED = 1 << 18


class _Window:
    """wasmtime's profiler for the instances of a component, and whose each of its samples is.

    ``spent`` are the seconds that samples have taken.
    """

    def __init__(self, engine: int, modules: Sequence[tuple[bytes, wasmtime.Module]], interval: float) -> None:
        #: whose, of which component instance, in which host function, when, for how many beats; and if with a stack
        self.samples: list[tuple[InstanceProfile, int, Any, float, int, bool]] = []
        self.spent = 0.0
        names = [ffi.byte_vec(name) for name, _ in modules]
        listed = (ffi.ProfiledModule * max(1, len(modules)))()
        for slot, name, (_, module) in zip(listed, names, modules, strict=False):
            slot.name = ctypes.pointer(name)
            slot.module = ctypes.cast(module.ptr(), ctypes.c_void_p).value
        label = ffi.byte_vec(b"guest")
        self._pointer = ffi.guestprofiler_new(engine, byref(label), int(interval * 1e9), listed, len(modules))

    def sample(self, store: int) -> None:
        ffi.guestprofiler_sample(self._pointer, store, 0)

    def finish(self) -> bytes:
        """What it has recorded; it is no more after that."""
        pointer, self._pointer = self._pointer, None
        return ffi.take_profile(pointer)


def module_name(code: bytes) -> str:
    """The name that a core module has for itself in its section ``name``, or nothing."""
    for identifier, content in sections(memoryview(code)[_PREAMBLE:]):
        if identifier == _CUSTOM:
            # Custom sections are no part of what was validated.
            with suppress(MalformedComponent):
                reader = Reader(bytes(content[:_NAMES]))
                if reader.raw_name("custom section") == "name" and reader.byte("subsection") == 0:
                    reader.u32("size of a subsection")
                    return reader.raw_name("module name")
    return ""


class ComponentProfile:
    """What the instances of one component have in common."""

    def __init__(
        self, profiler: Profiler, name: str, modules: Sequence[wasmtime.Module], codes: Sequence[bytes]
    ) -> None:
        self.profiler = profiler
        self.name = name
        distinct = {id(module): (module, code) for module, code in zip(modules, codes, strict=True)}
        self._modules = [
            ((module_name(code)[:LONGEST] or f"module {number}").encode(), module)
            for number, (module, code) in enumerate(distinct.values())
        ]
        self.window = self.new_window()

    def new_window(self) -> _Window:
        return _Window(self.profiler.engine.pointer, self._modules, self.profiler.interval)


class InstanceProfile:
    """What was sampled of an instance and which requests it had; used from the loop's thread but for the samples."""

    def __init__(self, component: ComponentProfile) -> None:
        self.component = component
        self.profiler = component.profiler
        self.number = self.profiler.take_number()
        self.began = time.perf_counter()
        self.ended: float | None = None
        self.tree = StackTree(self.profiler.room)
        self.parts: dict[int, Samples] = {}
        #: samples that are kept, and the time up to which they were dropped
        self.kept = 0
        self.since = self.began
        self.requests: list[RequestSpan] = []
        #: what was left out, as there is a limit to it
        self.lost_samples = 0
        self.lost_requests = 0
        self.without_stack = 0
        #: set where something was added since it was written
        self.changed = False

    def begin_request(self, method: str, path: str) -> RequestSpan:
        """The instance is about to be given a request."""
        profiler = self.profiler
        if len(self.requests) >= REQUESTS or profiler.requests >= REQUESTS_IN_ALL:
            half = (len(self.requests) + 1) // 2
            under_way = [span for span in self.requests[:half] if span.ended is None]
            self.lost_requests += half - len(under_way)
            profiler.requests -= half - len(under_way)
            self.requests = under_way + self.requests[half:]
        profiler.requests += 1
        span = RequestSpan(method[:LONGEST], path[:LONGEST], time.perf_counter())
        self.requests.append(span)
        return span

    def end(self) -> None:
        """The instance is gone: what was sampled of it is written soon."""
        if self.ended is None:
            self.ended = time.perf_counter()
            self.profiler.end(self)

    def add(self, part: int, at: float, frames: Sequence[Frame], weight: int) -> None:
        """Take up a sample; on the profiler's thread."""
        self.changed = True
        samples = self.parts.get(part)
        if samples is None:
            samples = self.parts[part] = Samples()
        if len(samples.times) >= SAMPLES or self.profiler.kept >= SAMPLES_IN_ALL:
            half = len(samples.times) // 2
            if half:
                self.since = max(self.since, samples.forget(half))
                self.lost_samples += half
                self._keep(-half)
        samples.add(at, self.tree.number(frames), weight)
        self._keep(1)

    def _keep(self, count: int) -> None:
        self.kept += count
        self.profiler.kept += count

    def forget(self) -> None:
        """It is written and gone: what it had can be others'; on the profiler's thread."""
        self._keep(-self.kept)
        self.profiler.room.left += len(self.tree)

    @property
    def tells(self) -> bool:
        """Whether there is anything to see: a sample, or a request that took long, if only by waiting.

        A single file is written in any case, by the first to end.
        """
        if self.parts or (not self.profiler.options.numbered and not self.profiler.wrote):
            return True
        end = time.perf_counter() if self.ended is None else self.ended
        return any((end if span.ended is None else span.ended) - span.began > LONG for span in self.requests)

    def recorded(self) -> Recorded:
        profiler = self.profiler
        notes = [f"a sample every {profiler.interval * 1000:g} ms, of the guest that ran then"]
        if self.lost_samples:
            notes.append(f"cut: the oldest {self.lost_samples} samples were left out, as only so many are kept")
        if self.lost_requests:
            notes.append(f"cut: the oldest {self.lost_requests} requests were left out, as only so many are kept")
        if self.without_stack:
            notes.append(f"cut: {self.without_stack} samples have no stack, as it would have taken too long to take it")
        several = len(self.parts) > 1
        threads = {
            f"component {part + 1} of the composition" if several else "guest": samples
            for part, samples in sorted(self.parts.items())
        }
        name = self.component.name
        return Recorded(
            name=f"{name}, instance {self.number}" if profiler.options.numbered else name,
            pid=os.getpid(),
            epoch=profiler.epoch,
            interval=profiler.interval,
            began=self.began,
            ended=time.perf_counter() if self.ended is None else self.ended,
            tree=self.tree,
            threads=threads,
            requests=list(self.requests),
            notes=notes,
            since=self.since,
        )

    @property
    def path(self) -> Path:
        """Where its profile is written."""
        path = Path(self.profiler.options.path)
        if not self.profiler.options.numbered:
            return path
        return path.with_name(f"{path.stem}-{self.component.name}-{os.getpid()}-{self.number}{path.suffix}")


class Profiler:
    """Samples the guests of an engine and writes their profiles; an engine has one where that was asked for.

    ``begin`` and ``sample`` are for the loop's thread, ``beat`` for the ticker's; ``flush`` may be called on any.
    """

    def __init__(self, engine: Any, options: GuestProfile) -> None:
        self.engine = engine
        self.options = options
        self.interval = options.interval
        #: what perf_counter() counts from, in seconds since 1970
        self.epoch = time.time() - time.perf_counter()
        #: samples that are kept of all instances that live, and room for stacks; both are the profiler's thread's
        self.kept = 0
        self.room = Room()
        #: requests that are kept of them; the loop's thread's
        self.requests = 0
        #: how many samples were taken, for who wants to know what it costs
        self.taken = 0
        self._due: tuple[Any, Any, float, int] | None = None
        #: for the windows: one may be replaced while a sample is taken
        self._lock = threading.Lock()
        #: for taking windows apart and writing
        self._writing = threading.Lock()
        self._components: dict[int, tuple[Any, ComponentProfile]] = {}
        self._living: dict[InstanceProfile, None] = {}
        #: what has ended since the last window, and what of that before is still to be written
        self._ended: deque[InstanceProfile] = deque()
        self._pending: deque[InstanceProfile] = deque()
        self._files: dict[Path, None] = {}
        #: the number of the next instance, by which a pool knows its instances; it may say another
        self.next = 1
        #: whether there is a file
        self.wrote = False
        self._failed = False
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def take_number(self) -> int:
        self.next += 1
        return self.next - 1

    # ---- on the loop's thread ----------------------------------------------------------------------------

    def begin(self, linked: Any) -> InstanceProfile:
        """An instance of a linked component is about to be made."""
        known = self._components.get(id(linked))
        if known is None:
            component = linked.component
            modules, codes = zip(*[(step.module, step.code) for step in component.steps], strict=True)
            made = ComponentProfile(self, self._label(linked.name), modules, codes)
            known = self._components[id(linked)] = linked, made
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="wasi_trio profiles", daemon=True)
            self._thread.start()
        profile = InstanceProfile(known[1])
        self._living[profile] = None
        return profile

    def _label(self, name: str) -> str:
        """What to call a component in the names of files: no two alike."""
        label = re.sub(r"[^A-Za-z0-9_.]+", "-", Path(name).stem).strip("-.")[:60] or "component"
        used = {component.name for _, component in self._components.values()}
        return label if label not in used else f"{label}.{len(used) + 1}"

    def end(self, profile: InstanceProfile) -> None:
        self._living.pop(profile, None)
        self.requests -= len(profile.requests)
        self._ended.append(profile)

    def beat(self) -> bool:
        """The guest that runs, if any, is to take a sample; for the ticker's thread, which has it look at the epoch."""
        running: Running = self.engine
        store = running.current
        if store is None or not running.ticker.running:
            return False
        call = running.host_call
        due = self._due
        # A guest that is in a host function takes its sample when that is over: it stands for all of the time.
        count = due[3] + 1 if due is not None and due[0] is store and due[1] is call and call is not None else 1
        self._due = store, call, time.perf_counter(), count
        return True

    def sample(self, store: Any) -> None:
        """The guest looks at the epoch: take a sample if one is due that is its."""
        due, self._due = self._due, None
        if due is None or due[0] is not store:
            return
        _, call, asked, weight = due
        now = time.perf_counter()
        profile: InstanceProfile = store.root.profile
        if call is None and now - asked > self.interval:
            return  # it did not run on at that time, and has only come back
        with self._lock:
            window = profile.component.window
            if len(window.samples) >= WAITING:
                profile.lost_samples += 1
                return
            taken = window.spent <= SHARE * WINDOW
            if taken:
                window.sample(store.pointer)
                self.taken += 1
            else:
                profile.without_stack += 1
            window.samples.append((profile, store.index, None if call is None else call[0], asked, weight, taken))
            window.spent += time.perf_counter() - now

    # ---- on any thread -----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the profiles of all instances, those that have ended and those that live."""
        self._write(living=True)

    def close(self) -> None:
        """``flush``, and stop the thread."""
        if self._stopped:
            return
        self._stopped = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _run(self) -> None:
        while not self._wake.wait(WINDOW):
            try:
                self._write(living=False)
            except Exception:  # the next window is another: what has ended is not to gather because of this one
                log.exception("what guests were sampled in for the last second is lost")

    def _write(self, living: bool) -> None:
        with self._writing:
            # Before the windows are taken apart, so that all samples of what has ended are there.
            count = len(self._ended)
            for _, component in list(self._components.values()):
                self._take_apart(component)
            ended = [self._ended.popleft() for _ in range(count)]
            # What says nothing is not written, and what newer files would push out need not be either.
            telling = [profile for profile in (*self._pending, *ended) if profile.tells]
            for profile in (*(profile for profile in ended if not profile.tells), *telling[:-FILES]):
                profile.forget()
            pending = self._pending = deque(telling[-FILES:])
            for _ in range(len(pending) if living else min(len(pending), FILES_AT_ONCE)):
                profile = pending.popleft()
                self._write_file(profile)
                profile.forget()
            for profile in list(self._living) if living else ():
                if profile.parts or profile.requests:
                    self._write_file(profile)

    def _take_apart(self, component: ComponentProfile) -> None:
        """Give the samples of the component's window to the instances, and open another window."""
        if not component.window.samples:
            component.window.spent = 0.0
            return
        fresh = component.new_window()
        with self._lock:
            window, component.window = component.window, fresh
        content = json.loads(window.finish())
        thread = content["threads"][0]
        frames_of = stack_reader(thread, [lib["name"] for lib in content["libs"]])
        stacks = thread["samples"]["stack"]
        remaining = iter(stacks)
        for profile, part, function, at, weight, taken in window.samples:
            frames = [(NOT_TAKEN, "", OTHER)]
            if taken:
                frames = [(name, module, WASM) for name, module, _ in frames_of(next(remaining))]
            if function is not None:
                frames.append((_host_name(function), "host", HOST))
            profile.add(part, at, frames, weight)

    def _write_file(self, profile: InstanceProfile) -> None:
        path = profile.path
        beside = path.with_name(path.name + ".part")
        try:
            beside.unlink(missing_ok=True)
            # Never what somebody else has put there, as a link in a directory that many may write to.
            with beside.open("x", encoding="utf-8", buffering=_BUFFERED) as file:
                file.writelines(write(profile.recorded()))
            os.replace(beside, path)
            self.wrote = True
            if self.options.numbered:
                self._files.pop(path, None)
                self._files[path] = None
                while len(self._files) > FILES:
                    oldest = next(iter(self._files))
                    del self._files[oldest]
                    oldest.unlink(missing_ok=True)
        except OSError as error:
            if not self._failed:
                self._failed = True
                log.error("cannot write the profile %s: %s", path, error.strerror)


def _host_name(function: Any) -> str:
    """What to call a host function."""
    interface, name = getattr(function, "interface", None), getattr(function, "name", None)
    return "/".join(str(part) for part in (interface, name) if part) or "host function"
