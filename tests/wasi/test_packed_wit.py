"""The packed WIT matches the WIT files."""

from __future__ import annotations

import json
from importlib.resources import files

from wasi_trio.component.wit._packed import pack, unpack
from wasi_trio.wasi import wit
from wasi_trio.wasi.wit import extended_wit, host_wit
from wasi_trio.wasi.wit._packing import packed_text


def test_it_is_in_step_with_the_texts() -> None:
    kept = (files(wit) / wit.PACKED).read_text(encoding="utf-8")
    assert kept == packed_text(), "run `python -m wasi_trio.wasi.wit`"


def test_unpacking_reverses_packing() -> None:
    assert pack(host_wit()) == pack(unpack(json.loads(packed_text()))) == pack(extended_wit(()))


def test_a_resource_is_one_type_wherever_it_is_used() -> None:
    streams = host_wit().interface("wasi:io/streams")
    http = host_wit().interface("wasi:http/types@0.2.0")
    assert http.types["input-stream"] is streams.types["input-stream"]
    assert host_wit().interface("wasi:io/error").types["error"] is http.types["io-error"]
