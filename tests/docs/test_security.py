"""docs/security.md: its options have the stated effects, and its tables have the code's limits."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.docs.blocks import ROOT, fenced
from tests.e2e.support import serve
from wasi_trio import CompileLimits, Engine, Limits
from wasi_trio._texts import MAX_LENGTH
from wasi_trio.component import _planning, _relink
from wasi_trio.component._context import LIFT_FUEL
from wasi_trio.component._features import USUAL, option_name
from wasi_trio.component.concurrency._instance import MAX_DEPTH, MAX_THREADS
from wasi_trio.component.wit import _world
from wasi_trio.runtime import FEATURES
from wasi_trio.runtime._wasmtime import FIBER_STACK
from wasi_trio.serve import HandlerOptions
from wasi_trio.serve._memory import SHARE
from wasi_trio.wasi.filesystem._opened import MAX_DESCRIPTORS, PIECE
from wasi_trio.wasi.filesystem._volumes import THREADS
from wasi_trio.wasi.http._body import CAPACITY
from wasi_trio.wasi.http._client import Client
from wasi_trio.wasi.http._context import HttpOptions
from wasi_trio.wasi.http._fields import FIELD_OVERHEAD, MAX_SIZE
from wasi_trio.wasi.keyvalue._bucket import MAX_BATCH, MAX_BATCH_BYTES, MAX_KEY, MAX_VALUE, PAGE_BYTES, TIMEOUT
from wasi_trio.wasi.keyvalue._bucket import PAGE as KEYS
from wasi_trio.wasi.keyvalue._memory import LIMIT as STORE_LIMIT
from wasi_trio.wasi.keyvalue._sqlite import READERS
from wasi_trio.wasi.p2 import _io as io
from wasi_trio.wasi.p2 import _random as p2_random
from wasi_trio.wasi.p2._http_bodies import DISCARDED
from wasi_trio.wasi.p2._sockets import DATAGRAM_BYTES, DATAGRAMS
from wasi_trio.wasi.p3 import _random as p3_random
from wasi_trio.wasi.proposals._logging import MOST_CONTEXT
from wasi_trio.wasi.sockets import _host as host
from wasi_trio.wasi.sockets import _memory as memory
from wasi_trio.wasi.sockets._context import ADDRESSES, LOOK_UPS, PIPE, WAITING, NetworkOptions
from wasi_trio.wasi.sockets._flows import LINGER

PAGE = ROOT / "docs" / "security.md"


@pytest.fixture
def page() -> dict[str, Any]:
    """The names that the page's Python defines."""
    names: dict[str, Any] = {"__name__": "page"}
    (block,) = fenced(PAGE)
    assert block.language == "python"
    exec(compile("\n" * (block.line - 1) + block.text, str(PAGE), "exec"), names)
    return names


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1"])
def test_addresses_that_are_not_public(page: dict[str, Any], address: str) -> None:
    assert not page["public"](address)


def test_addresses_that_are(page: dict[str, Any]) -> None:
    assert page["public"]("9.9.9.9")
    assert page["public"]("2620:fe::fe")


async def test_a_guest_under_the_options(page: dict[str, Any]) -> None:
    async with serve("python_p2", page["OPTIONS"]) as site:
        assert (await site.ask("/hello")).status == 200
        answer = await site.ask("/fetch?url=http://127.0.0.1:1/")
        assert answer.status == 502
        assert b"DestinationIpProhibited" in answer.body


def rows(heading: str) -> dict[str, str]:
    """Return the table under a heading: its first column, and the rest of each row."""
    section = PAGE.read_text("utf-8").split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| ([^|]+) \| (.+) \|$", section, re.MULTILINE))


def test_the_limits_are_those_of_the_code() -> None:
    limits, options, http, network = Limits(), HandlerOptions(), HttpOptions(), NetworkOptions()
    kept = http.keep_alive
    table = rows("Limit memory, time and other resources")
    for what, number, words in [
        ("linear memory", limits.memory, f"{limits.memory >> 30} GiB for each memory, {limits.memories} memories"),
        (
            "total memory: memories, tables, handles and their objects, calls and contents under way",
            limits.instance_memory,
            f"{limits.instance_memory >> 30} GiB for each instance",
        ),
        ("total memory of all instances", SHARE, f"{SHARE * 100:g} % of"),
        ("calls under way", limits.calls, f"{limits.calls:,} for each"),
        ("calls under way of the component's own functions", MAX_THREADS, f"{MAX_THREADS:,} for each"),
        ("tables", limits.table_elements, f"{limits.table_elements:,} elements each, {limits.tables:,} tables"),
        ("core instances", limits.instances, f"{limits.instances:,} for"),
        ("handles (resources, streams, futures, calls)", limits.handles, f"{limits.handles:,} for"),
        ("time until the response begins", options.request_timeout, "none"),
        ("pause in a response's body", options.body_timeout, "none"),
        ("work after the response", options.post_response_timeout, f"{options.post_response_timeout:g} s"),
        (
            "processor time of a call that cannot be suspended (`realloc`, a destructor, `post-return`)",
            limits.nested_seconds,
            f"{limits.nested_seconds:g} s",
        ),
        (
            "computing in an asynchronous call between components of a composition, until it first waits",
            limits.non_preemptible_seconds,
            f"{limits.non_preemptible_seconds:g} s",
        ),
        ("processor time of a request, host functions included", None, "none |"),
        ("depth of calls between the components of a composition", MAX_DEPTH, f"{MAX_DEPTH} |"),
        ("machine stack", FIBER_STACK, f"{FIBER_STACK >> 20} MiB"),
        ("data passed in one call", LIFT_FUEL, f"{LIFT_FUEL >> 20} MiB"),
        (
            "bytes of one read and of one write",
            io.READ_LIMIT,
            f"{io.READ_LIMIT >> 10} KiB and {io.WRITE_LIMIT >> 20} MiB",
        ),
        ("open files and directories", MAX_DESCRIPTORS, f"{MAX_DESCRIPTORS:,}, and all"),
        ("bytes of one read of a file", PIECE, f"{PIECE >> 10} KiB |"),
        ("threads at work on one file system", THREADS, f"{THREADS}, for"),
        (
            "random bytes in one call",
            p2_random.LIMIT,
            f"{p2_random.LIMIT >> 20} MiB (0.2), {p3_random.LIMIT >> 20} MiB (0.3)",
        ),
        ("one set of header fields", MAX_SIZE, f"{MAX_SIZE >> 10} KiB, each field counting {FIELD_OVERHEAD} bytes"),
        ("an unread body", CAPACITY, f"{CAPACITY >> 10} KiB"),
        (
            "content that a guest of WASI 0.2 writes to a response that has none, as for HEAD",
            DISCARDED,
            f"{DISCARDED >> 20} MiB, discarded",
        ),
        ("concurrent outgoing requests", http.max_outgoing, f"{http.max_outgoing}, and all"),
        (
            "idle connections to other servers",
            kept.max_idle,
            f"{kept.max_idle} for each component in each process, {kept.max_idle_per_host} of them to one host, for"
            f" {kept.idle_timeout:g} s",
        ),
        ("sockets", network.max_sockets, f"{network.max_sockets:,} for each instance"),
        ("descriptors of files, sockets and requests of all instances", 3, "three quarters"),
        ("unsent bytes of a connection of the system", host.CHUNK, f"{host.CHUNK >> 10} KiB"),
        ("waiting connections inside an instance", WAITING, f"{WAITING} |"),
        ("unread bytes in one direction of a connection inside an instance", PIPE, f"{PIPE >> 10} KiB"),
        (
            "waiting datagrams of a socket inside an instance",
            memory.DATAGRAMS,
            f"{memory.DATAGRAMS}, and {memory.DATAGRAM_BYTES >> 10} KiB; {memory.ALL_DATAGRAM_BYTES >> 20} MiB at all",
        ),
        ("datagrams in one call (0.2)", DATAGRAMS, f"{DATAGRAMS}, and {DATAGRAM_BYTES >> 10} KiB"),
        ("a key, a value of `wasi:keyvalue`", MAX_KEY, f"{MAX_KEY >> 10} KiB, {MAX_VALUE >> 20} MiB |"),
        (
            "keys of one batch, and their values",
            MAX_BATCH,
            f"{MAX_BATCH:,}, {MAX_BATCH_BYTES >> 20} MiB",
        ),
        ("keys of one page of a listing", KEYS, f"{KEYS:,} and {PAGE_BYTES >> 10} KiB"),
        ("time of an operation on a bucket", TIMEOUT, f"{TIMEOUT:g} s, or half"),
        ("a bucket in memory", STORE_LIMIT, f"{STORE_LIMIT >> 20} MiB"),
        ("threads at work on one bucket in SQLite", READERS, f"{READERS + 1} for each process"),
        ("a log message of `wasi:logging`, its context", MAX_LENGTH, f"{MAX_LENGTH:,} characters, {MOST_CONTEXT} |"),
        ("concurrent look-ups", LOOK_UPS, f"{LOOK_UPS} for each instance, {host.LOOK_UPS} in threads"),
        ("addresses of one look-up", ADDRESSES, f"{ADDRESSES} |"),
        ("time to send a socket's written bytes after the instance has ended", LINGER, f"{LINGER:g} s"),
        ("time of an outgoing request", Client().timeout, f"{Client().timeout:g} s"),
    ]:
        assert number is None or number > 0
        assert table.pop(what).startswith(words)
    assert list(table) == ["resource"]  # its first row


def test_the_limits_of_compiling_are_those_of_the_code() -> None:
    limits = CompileLimits()
    assert limits.seconds is not None
    assert limits.memory is not None
    table = rows("Compilation")
    for what, words in [
        ("time to check and compile", f"{limits.seconds:g} s"),
        ("memory to check and compile (Linux)", f"{limits.memory >> 30} GiB"),
        ("features of WebAssembly beyond those of the usual toolchains", "off"),
        ("instances of components and of core modules", f"{_planning.MAX_INSTANCES:,} |"),
        ("instances within instances", f"{_planning.MAX_DEPTH} deep"),
        (
            "definitions of all instances, with their fields, cases and arguments",
            f"{_planning.MAX_STEPS:,} |",
        ),
        ("canonical definitions of all instances", f"{_planning.MAX_CANONS:,} |"),
        (
            "core modules, each counted for every instance",
            f"{_relink.MAX_CODE >> 20} MiB, {_relink.MAX_IMPORTS:,} imports",
        ),
        ("the size of a type as a tree, its depth", "1,000,000, 100"),
        ("parts of types that `inspect` prints", f"{_world.MAX_PARTS:,} |"),
    ]:
        assert table.pop(what).startswith(words)
    assert list(table) == ["resource"]


def test_the_listed_features_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    section = page.split("\n### Features\n", 1)[1].split("\n### ", 1)[0]
    listed = re.findall(r"`([\w-]+)`", " ".join(re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)))
    assert {*listed, *map(option_name, USUAL)} == set(map(option_name, FEATURES))


def test_named_files_exist() -> None:
    for name in re.findall(r"`(tests/[\w/.]+)`", PAGE.read_text("utf-8")):
        assert (ROOT / name).exists(), name


def test_an_engine_without_a_cache() -> None:
    with Engine(cache=False):
        pass


def test_named_tests_exist() -> None:
    section = PAGE.read_text("utf-8").split("\n## Tests of these statements\n", 1)[1]
    named = set(re.findall(r"`(tests/[^`]+)`", section))
    assert len(named) > 40
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
