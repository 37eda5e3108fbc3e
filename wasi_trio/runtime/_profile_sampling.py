"""Samples guests with wasmtime's guest profiler.

The ticker's thread requests a sample of the running guest (``Profiler.beat``). The guest takes the sample at its next
epoch check. wasmtime's profiler returns its samples only when it is finished, and creating one takes milliseconds for a
large component. So all instances of a component share a profiler (a ``_Window``), which is replaced at most once per
second. The window records the instance of each sample. A thread of its own processes the windows, assigns the samples
to instances, and writes the files.
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
    MAX_NAME,
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
    from wasi_trio.runtime._wasmtime import CoreModule

log = get_logger("wasi_trio")

#: Duration of a window in seconds.
WINDOW = 1.0
#: Maximum share of the time for taking samples, because guests control the depth of their stacks.
MAX_SHARE = 0.05
#: Maximum number of samples kept of an instance, and of all live instances. The newest are kept.
MAX_SAMPLES, MAX_TOTAL_SAMPLES = 60_000, 1_000_000
#: The same for requests.
MAX_REQUESTS, MAX_TOTAL_REQUESTS = 20_000, 200_000
#: Minimum duration in seconds of a request that justifies a file even if no sample shows its instance computing.
MIN_DURATION = 0.1
#: Maximum number of samples that wait for the profiler's thread, which a slow disk may delay.
MAX_WAITING = 50_000
#: Maximum number of a process's files. The newest are kept, because without reuse each request has an instance.
MAX_FILES = 1_000
#: Maximum number of ended instances whose files are written in one window.
MAX_FILES_PER_WINDOW = 20


#: Size of a module's preamble, the identifier of custom sections, and the maximum number of bytes read of one.
_PREAMBLE, _CUSTOM, _NAMES = 8, 0, 4096
#: Bytes of a file that are buffered before they are written.
_BUFFERED = 1 << 18


class _Window:
    """wasmtime's profiler for the instances of a component, and the instance of each sample.

    ``spent`` is the time in seconds that taking samples has cost.
    """

    def __init__(self, engine: int, modules: Sequence[tuple[bytes, CoreModule]], interval: float) -> None:
        #: For each sample: the instance, its part, the host function, the time, the beats, and whether it has a stack.
        self.samples: list[tuple[InstanceProfile, int, Any, float, int, bool]] = []
        self.spent = 0.0
        names = [ffi.byte_vec(name) for name, _ in modules]
        listed = (ffi.ProfiledModule * max(1, len(modules)))()
        for slot, name, (_, module) in zip(listed, names, modules, strict=False):
            slot.name = ctypes.pointer(name)
            slot.module = module.pointer
        label = ffi.byte_vec(b"guest")
        self._pointer = ffi.guestprofiler_new(engine, byref(label), int(interval * 1e9), listed, len(modules))

    def sample(self, store: int) -> None:
        ffi.guestprofiler_sample(self._pointer, store, 0)

    def finish(self) -> bytes:
        """Return the recorded profile and free the profiler."""
        pointer, self._pointer = self._pointer, None
        return ffi.take_profile(pointer)


def module_name(code: bytes) -> str:
    """Return the name of a core module in its section ``name``, or an empty string."""
    for identifier, content in sections(memoryview(code)[_PREAMBLE:]):
        if identifier == _CUSTOM:
            # Custom sections are not validated, so they may be malformed.
            with suppress(MalformedComponent):
                reader = Reader(bytes(content[:_NAMES]))
                if reader.raw_name("custom section") == "name" and reader.byte("subsection") == 0:
                    reader.u32("size of a subsection")
                    return reader.raw_name("module name")
    return ""


class ComponentProfile:
    """The common data of one component's instances."""

    def __init__(self, profiler: Profiler, name: str, modules: Sequence[CoreModule], codes: Sequence[bytes]) -> None:
        self.profiler = profiler
        self.name = name
        distinct = {id(module): (module, code) for module, code in zip(modules, codes, strict=True)}
        self._modules = [
            ((module_name(code)[:MAX_NAME] or f"module {number}").encode(), module)
            for number, (module, code) in enumerate(distinct.values())
        ]
        self.window = self.new_window()

    def new_window(self) -> _Window:
        return _Window(self.profiler.engine.pointer, self._modules, self.profiler.interval)


class InstanceProfile:
    """The samples and requests of one instance. The profiler's thread adds samples, the loop's thread does the rest."""

    def __init__(self, component: ComponentProfile) -> None:
        self.component = component
        self.profiler = component.profiler
        self.number = self.profiler.take_number()
        self.began = time.perf_counter()
        self.ended: float | None = None
        self.tree = StackTree(self.profiler.room)
        self.parts: dict[int, Samples] = {}
        #: The number of samples kept, and the time up to which samples were removed.
        self.kept = 0
        self.since = self.began
        self.requests: list[RequestSpan] = []
        #: The numbers of samples and requests that were omitted because of limits.
        self.lost_samples = 0
        self.lost_requests = 0
        self.without_stack = 0
        #: Whether samples were added since the profile was last written.
        self.changed = False

    def begin_request(self, method: str, path: str) -> RequestSpan:
        """Record the start of a request in the instance."""
        profiler = self.profiler
        if len(self.requests) >= MAX_REQUESTS or profiler.requests >= MAX_TOTAL_REQUESTS:
            half = (len(self.requests) + 1) // 2
            under_way = [span for span in self.requests[:half] if span.ended is None]
            self.lost_requests += half - len(under_way)
            profiler.requests -= half - len(under_way)
            self.requests = under_way + self.requests[half:]
        profiler.requests += 1
        span = RequestSpan(method[:MAX_NAME], path[:MAX_NAME], time.perf_counter())
        self.requests.append(span)
        return span

    def end(self) -> None:
        """Record the end of the instance. Its profile is written soon."""
        if self.ended is None:
            self.ended = time.perf_counter()
            self.profiler.end(self)

    def add(self, part: int, at: float, frames: Sequence[Frame], weight: int) -> None:
        """Add a sample. Runs on the profiler's thread."""
        self.changed = True
        samples = self.parts.get(part)
        if samples is None:
            samples = self.parts[part] = Samples()
        if len(samples.times) >= MAX_SAMPLES or self.profiler.kept >= MAX_TOTAL_SAMPLES:
            half = len(samples.times) // 2
            if half:
                self.since = max(self.since, samples.drop_oldest(half))
                self.lost_samples += half
                self._keep(-half)
        samples.add(at, self.tree.number(frames), weight)
        self._keep(1)

    def _keep(self, count: int) -> None:
        self.kept += count
        self.profiler.kept += count

    def release(self) -> None:
        """Release the limits' share of an instance that has ended and whose profile is written. Profiler's thread."""
        self._keep(-self.kept)
        self.profiler.room.left += len(self.tree)

    @property
    def has_content(self) -> bool:
        """Whether the profile shows anything: a sample, or a request that took long, including waits.

        A single file is always written, by the first instance that ends.
        """
        if self.parts or (not self.profiler.options.numbered and not self.profiler.wrote):
            return True
        end = time.perf_counter() if self.ended is None else self.ended
        return any((end if span.ended is None else span.ended) - span.began > MIN_DURATION for span in self.requests)

    def recorded(self) -> Recorded:
        profiler = self.profiler
        notes = [f"one sample every {profiler.interval * 1000:g} ms, of the guest that was running"]
        if self.lost_samples:
            notes.append(f"cut: the oldest {self.lost_samples} samples were omitted because of the limit")
        if self.lost_requests:
            notes.append(f"cut: the oldest {self.lost_requests} requests were omitted because of the limit")
        if self.without_stack:
            notes.append(f"cut: {self.without_stack} samples have no stack, because it would have taken too long")
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
        """The path of the instance's profile."""
        path = Path(self.profiler.options.path)
        if not self.profiler.options.numbered:
            return path
        return path.with_name(f"{path.stem}-{self.component.name}-{os.getpid()}-{self.number}{path.suffix}")


class Profiler:
    """Samples the guests of an engine and writes their profiles.

    Call ``begin`` and ``sample`` on the loop's thread, ``beat`` on the ticker's thread, and ``flush`` on any thread.
    """

    def __init__(self, engine: Any, options: GuestProfile) -> None:
        self.engine = engine
        self.options = options
        self.interval = options.interval
        #: The zero of perf_counter(), in seconds since 1970.
        self.epoch = time.time() - time.perf_counter()
        #: The samples kept of all live instances, and the room for stacks. For the profiler's thread.
        self.kept = 0
        self.room = Room()
        #: The requests kept of all live instances. For the loop's thread.
        self.requests = 0
        #: The number of samples taken, to measure their cost.
        self.taken = 0
        self._due: tuple[Any, Any, float, int] | None = None
        #: Protects the windows, because one may be replaced while a sample is taken.
        self._lock = threading.Lock()
        #: Protects the processing of windows and the writing of files.
        self._writing = threading.Lock()
        self._components: dict[int, tuple[Any, ComponentProfile]] = {}
        self._living: dict[InstanceProfile, None] = {}
        #: The instances that ended since the last window, and earlier ones that are not written yet.
        self._ended: deque[InstanceProfile] = deque()
        self._pending: deque[InstanceProfile] = deque()
        self._files: dict[Path, None] = {}
        #: The number of the next instance. A pool sets it to its own number for the instance.
        self.next = 1
        #: Whether a file was written.
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
        """Return a profile for a new instance of a linked component."""
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
        """Return a unique name of a component for file names."""
        label = re.sub(r"[^A-Za-z0-9_.]+", "-", Path(name).stem).strip("-.")[:60] or "component"
        used = {component.name for _, component in self._components.values()}
        return label if label not in used else f"{label}.{len(used) + 1}"

    def end(self, profile: InstanceProfile) -> None:
        self._living.pop(profile, None)
        self.requests -= len(profile.requests)
        self._ended.append(profile)

    def beat(self) -> bool:
        """Request a sample of the running guest, if any. Return whether the ticker's thread must advance the epoch."""
        running: Running = self.engine
        store = running.current
        if store is None or not running.ticker.running:
            return False
        call = running.host_call
        due = self._due
        # A guest in a host function takes its sample after the call, so the sample stands for the whole time.
        count = due[3] + 1 if due is not None and due[0] is store and due[1] is call and call is not None else 1
        self._due = store, call, time.perf_counter(), count
        return True

    def sample(self, store: Any) -> None:
        """Take a sample at the guest's epoch check, if one is due for this guest."""
        due, self._due = self._due, None
        if due is None or due[0] is not store:
            return
        _, call, asked, weight = due
        now = time.perf_counter()
        profile: InstanceProfile = store.root.profile
        if call is None and now - asked > self.interval:
            return  # it was not running at the time of the request
        with self._lock:
            window = profile.component.window
            if len(window.samples) >= MAX_WAITING:
                profile.lost_samples += 1
                return
            taken = window.spent <= MAX_SHARE * WINDOW
            if taken:
                window.sample(store.pointer)
                self.taken += 1
            else:
                profile.without_stack += 1
            window.samples.append((profile, store.index, None if call is None else call[0], asked, weight, taken))
            window.spent += time.perf_counter() - now

    # ---- on any thread -----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the profiles of all instances, both ended and live."""
        self._write(living=True)

    def close(self) -> None:
        """Write all profiles as ``flush`` does, and stop the thread."""
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
            except Exception:  # one failure must not stop the processing of later windows
                log.exception("Lost the guests' samples of the last second")

    def _write(self, living: bool) -> None:
        with self._writing:
            # Counted before the windows are processed, so that all samples of these instances are included.
            count = len(self._ended)
            for _, component in list(self._components.values()):
                self._take_apart(component)
            ended = [self._ended.popleft() for _ in range(count)]
            # Empty profiles are not written, and neither are those that newer files would displace.
            telling = [profile for profile in (*self._pending, *ended) if profile.has_content]
            for profile in (*(profile for profile in ended if not profile.has_content), *telling[:-MAX_FILES]):
                profile.release()
            pending = self._pending = deque(telling[-MAX_FILES:])
            for _ in range(len(pending) if living else min(len(pending), MAX_FILES_PER_WINDOW)):
                profile = pending.popleft()
                self._write_file(profile)
                profile.release()
            for profile in list(self._living) if living else ():
                if profile.parts or profile.requests:
                    self._write_file(profile)

    def _take_apart(self, component: ComponentProfile) -> None:
        """Assign the samples of the component's window to the instances, and open a new window."""
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
            # Mode x never follows a link that another user may have put there.
            with beside.open("x", encoding="utf-8", buffering=_BUFFERED) as file:
                file.writelines(write(profile.recorded()))
            os.replace(beside, path)
            self.wrote = True
            if self.options.numbered:
                self._files.pop(path, None)
                self._files[path] = None
                while len(self._files) > MAX_FILES:
                    oldest = next(iter(self._files))
                    del self._files[oldest]
                    oldest.unlink(missing_ok=True)
        except OSError as error:
            if not self._failed:
                self._failed = True
                log.error("Cannot write the profile %s: %s", path, error.strerror)


def _host_name(function: Any) -> str:
    """Return a host function's name for the profile."""
    interface, name = getattr(function, "interface", None), getattr(function, "name", None)
    return "/".join(str(part) for part in (interface, name) if part) or "host function"
