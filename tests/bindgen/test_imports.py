"""Host functions with arguments of the bindings' classes, called by a real guest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import wasmtime

from tests.bindgen.support import HERE, Written, running
from tests.guests.passing import passing
from wasi_trio import Component, Engine, Err, LinkError, Ok, link_wasi
from wasi_trio.component import _types as t
from wasi_trio.component._features import USUAL
from wasi_trio.component.wit import load
from wasi_trio.runtime import make_future, make_stream

DESK = load([HERE / "desk.wit"]).interface("acme:desk/desk@1.2.0")


def guest(*functions: str) -> bytes:
    return passing([(DESK, functions)])


class Desk:
    """The implementation that the guest forwards to."""

    seen: list[Any]
    made: Any

    def __init__(self, context: object) -> None:
        self.seen.append(type(context).__name__)

    def mirror(self, p: Any, s: Any) -> Any:
        self.seen += [p, s]
        return type(p)(-p.x, -p.y)

    def pick(self, f: Any, points: Any) -> Any:
        self.seen += [f, *points]
        return f

    async def later(self, ms: int) -> int:
        await trio.sleep(ms / 1000)
        return ms + 1

    async def points(self, given: Any, end: Any) -> Any:
        self.seen += await given.receive()
        self.seen.append(await end.get())
        writer, reader = self.made.make_stream_u8()
        writer.close()
        return reader

    class Drawing:
        def __init__(self, title: str) -> None:
            self.content: list[Any] = [title]

        def put(self, at: Any, what: Any) -> Ok[int] | Err[Any]:
            self.content += [at, what]
            return Ok(len(self.content))

        @staticmethod
        def merge(into: Desk.Drawing, other: Desk.Drawing) -> Desk.Drawing:
            into.content += other.content
            return into


@pytest.fixture
def made(bindings: Written) -> Any:
    return bindings(HERE / "desk.wit")


@pytest.fixture
def desk(made: Any, bindings: Written) -> Any:
    return bindings.part("made.imported.acme_desk_desk")


@pytest.fixture
def host(desk: Any) -> type[Desk]:
    return type("Host", (Desk,), {"seen": [], "made": desk})


async def test_records_and_enums(made: Any, desk: Any, host: type[Desk]) -> None:
    async with running(guest("mirror"), made.imports(desk=host)) as instance:
        assert await instance.call("desk-mirror", None, desk.Point(3, 4), "zero") == (-3, -4)
    context, point, sign = host.seen
    assert context == "WasiContext"
    assert type(point) is desk.Point
    assert sign is desk.Sign.ZERO


async def test_variants_in_and_out(made: Any, desk: Any, host: type[Desk]) -> None:
    figures = [desk.Figure_Nothing(), desk.Figure_Circle(2), desk.Figure_Labels(["a"])]
    async with running(guest("pick"), made.imports(desk=host(None))) as instance:
        for figure in figures:
            assert await instance.call("desk-pick", None, figure, [SimpleNamespace(x=1, y=2)]) == figure
    assert host.seen[1::2] == figures
    assert [type(figure) for figure in host.seen[1::2]] == [type(figure) for figure in figures]
    assert [type(point) for point in host.seen[2::2]] == [desk.Point] * 3


async def test_waiting(made: Any, host: type[Desk], autojump_clock: object) -> None:
    async with running(guest("later"), made.imports(desk=host)) as instance:
        assert await instance.call("desk-later", None, 60_000) == 60_001


async def test_resources(made: Any, desk: Any, host: type[Desk]) -> None:
    names = ("[constructor]drawing", "[method]drawing.put", "[static]drawing.merge")
    async with running(guest(*names), made.imports(desk=host)) as instance:
        first = await instance.call("desk-drawing", None, "one")
        second = await instance.call("desk-drawing", None, "two")
        assert await instance.call("desk-drawing-put", None, first, desk.Point(1, 2), desk.Figure_Circle(7)) == Ok(3)
        merged = await instance.call("desk-drawing-merge", None, second, first)
    assert merged is second
    assert merged.content == ["two", "one", desk.Point(1, 2), desk.Figure_Circle(7)]
    assert type(merged.content[2]) is desk.Point


async def test_pipes(made: Any, desk: Any, host: type[Desk]) -> None:
    """The elements of streams and the values of futures also have these classes."""
    (_, of_points), (_, of_figure) = DESK.functions["points"].params
    assert isinstance(of_points, t.Stream)
    assert isinstance(of_figure, t.Future)
    writer, points = make_stream(of_points.element)
    setter, end = make_future(of_figure.element)
    async with running(guest("points"), made.imports(desk=host)) as instance, trio.open_nursery() as nursery:
        nursery.start_soon(writer.send_all, [SimpleNamespace(x=1, y=2), desk.Point(3, 4)])
        setter.set("nothing")
        reader = await instance.call("desk-points", None, points, end)
        assert await reader.receive() == b""
    assert [type(one) for one in host.seen[1:]] == [desk.Point, desk.Point, desk.Figure_Nothing]


# ---- errors at linking -----------------------------------------------------------------------------------


def refused(made: Any, implementation: Any, *functions: str) -> LinkError:
    with Engine() as engine, pytest.raises(LinkError) as caught:
        link_wasi(Component.compile(engine, guest(*functions)), made.imports(desk=implementation))
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_function_that_is_missing(made: Any, host: type[Desk]) -> None:
    class Lacking:
        def mirror(self, p: Any) -> Any: ...

    error = refused(made, Lacking, "mirror", "later")
    assert error.missing == ("acme:desk/desk@1.2.0 later",)


@pytest.mark.parametrize(
    ("name", "function", "said"),
    [
        ("mirror", lambda self, p: p, "Wrong.mirror takes 1 where WIT has 2 arguments (p, s)"),
        ("mirror", lambda self, p, s, more: p, "Wrong.mirror takes 3 where WIT has 2 arguments (p, s)"),
        ("mirror", staticmethod(lambda self, p, s: p), "Wrong.mirror takes 3 where WIT has 2 arguments (p, s)"),
        ("mirror", lambda self, p, s, *, how: p, "Wrong.mirror takes at least 3 where WIT has 2 arguments (p, s)"),
        ("later", lambda self: 0, "Wrong.later takes 0 where WIT has 1 argument (ms)"),
    ],
)
def test_a_function_with_other_parameters(made: Any, name: str, function: Any, said: str) -> None:
    wrong = type("Wrong", (), {name: function})
    for implementation in (wrong, wrong()):
        if isinstance(function, staticmethod) or implementation is wrong:
            error = refused(made, implementation, name)
            assert error.mismatched == (f"acme:desk/desk@1.2.0 {name}: {said}",)
            assert f"acme:desk/desk@1.2.0 {name}: {said}" in str(error)


@pytest.mark.parametrize(
    "function",
    [
        lambda self, p, s: p,
        lambda self, *arguments: arguments[0],
        lambda self, p, s, more=None: p,
        staticmethod(lambda p, s: p),
        classmethod(lambda cls, p, s: p),
        dict,  # it has no signature
    ],
)
def test_functions_that_fit(made: Any, function: Any) -> None:
    fits = type("Fits", (), {"mirror": function})
    with Engine() as engine:
        for implementation in (fits, fits()):
            link_wasi(Component.compile(engine, guest("mirror")), made.imports(desk=implementation))


def test_resources_with_other_parameters(made: Any) -> None:
    class Wrong:
        class Drawing:
            def put(self, at: Any) -> Any: ...

            @staticmethod
            def merge(into: Any) -> Any: ...

    names = ("[constructor]drawing", "[method]drawing.put", "[static]drawing.merge")
    path = "acme:desk/desk@1.2.0"
    drawing = Wrong.Drawing.__qualname__
    assert refused(made, Wrong, *names).mismatched == (
        f"{path} [constructor]drawing: {drawing} takes 0 where WIT has 1 argument (title)",
        f"{path} [method]drawing.put: {drawing}.put takes 1 where WIT has 2 arguments (at, what)",
        f"{path} [static]drawing.merge: {drawing}.merge takes 1 where WIT has 2 arguments (into, other)",
    )


def test_a_protocol_implements_nothing(made: Any, desk: Any) -> None:
    class Declared(desk.Desk):  # type: ignore[misc]
        def mirror(self, p: Any, s: Any) -> Any:
            return p

    assert refused(made, Declared, "mirror", "later").missing == ("acme:desk/desk@1.2.0 later",)


def test_a_component_of_other_types(bindings: Written, host: type[Desk], tmp_path: Path) -> None:
    text = (HERE / "desk.wit").read_text().replace("ms: u32", "ms: u64")
    other = bindings(text, name="other")
    with Engine() as engine, pytest.raises(LinkError) as caught:
        link_wasi(Component.compile(engine, guest("later")), other.imports(desk=host))
    assert caught.value.mismatched == ("acme:desk/desk@1.2.0 later: parameter ms: component has u32, host has u64",)


PLAIN = """(component
  (import "primary" (implements "acme:desk/desk@1.2.0") (instance $primary
    (export "drawing" (type $drawing (sub resource)))
    (export "[constructor]drawing" (func (param "title" string) (result (own $drawing))))
    (export "[static]drawing.merge"
      (func (param "into" (own $drawing)) (param "other" (borrow $drawing)) (result (own $drawing))))))
  (import "acme:desk/desk@1.2.0" (instance $desk
    (export "later" (func (param "ms" u32) (result u32)))
    (export "drawing" (type (sub resource))))))"""


def test_an_interface_under_a_plain_name(bindings: Written, host: type[Desk]) -> None:
    """Its resources differ from those of the interface under its own name."""
    text = (HERE / "desk.wit").read_text().replace("import desk;", "import desk; import primary: desk;")
    both = bindings(text, name="both")
    with Engine(features=USUAL | {"implements"}) as engine:
        linked = link_wasi(
            Component.compile(engine, bytes(wasmtime.wat2wasm(PLAIN))), both.imports(desk=host, primary=host(None))
        )
    assert len(linked.plan.resources) == 2


def test_a_resource_alone(bindings: Written) -> None:
    """An interface without functions must also be implemented, because it provides the resource."""
    made = bindings("package a:b; interface i { resource r; } world w { import i; }")
    text = '(component (import "a:b/i" (instance (export "r" (type (sub resource))))))'
    with Engine() as engine:
        component = Component.compile(engine, bytes(wasmtime.wat2wasm(text)))
        link_wasi(component, made.imports(i=object()))
        with pytest.raises(LinkError):
            link_wasi(component)


ROOT = """(component
  (type $pair' (record (field "a" u32) (field "b" u32)))
  (import "pair" (type $pair (eq $pair')))
  (import "sum" (func $sum (param "p" $pair) (result u32)))
  (core func $lowered (canon lower (func $sum)))
  (core module $M
    (import "" "sum" (func $sum (param i32 i32) (result i32)))
    (func (export "run") (param i32 i32) (result i32) (call $sum (local.get 0) (local.get 1))))
  (core instance $m (instantiate $M (with "" (instance (export "sum" (func $lowered))))))
  (func (export "run") (param "p" $pair) (result u32) (canon lift (core func $m "run"))))"""


async def test_the_world_itself(bindings: Written) -> None:
    made = bindings(
        """package a:b;
        world w {
            record pair { a: u32, b: u32 }
            import sum: func(p: pair) -> u32;
            export run: func(p: pair) -> u32;
        }"""
    )
    world = bindings.part("made.imported.world")
    seen = []

    class World:
        def sum(self, p: Any) -> int:
            seen.append(p)
            return int(p.a + p.b)

    async with running(bytes(wasmtime.wat2wasm(ROOT)), made.imports(world=World())) as instance:
        assert await made.Client(instance).run(world.Pair(1, 2)) == 3
    assert [type(pair) for pair in seen] == [world.Pair]

    class Wrong:
        def sum(self) -> int: ...

    with Engine() as engine, pytest.raises(LinkError) as caught:
        link_wasi(Component.compile(engine, bytes(wasmtime.wat2wasm(ROOT))), made.imports(world=Wrong))
    path = Wrong.__qualname__
    assert caught.value.mismatched == (f"sum: {path}.sum takes 0 where WIT has 1 argument (p)",)


def test_a_type_with_the_name_of_its_interface(bindings: Written) -> None:
    made = bindings(
        """package a:b;
        interface color { enum color { red } mix: func(c: color) -> color; }
        world w { import color; export color; }"""
    )
    imported, exported = (bindings.part(f"made.{side}.a_b_color") for side in ("imported", "exported"))
    assert imported.Color.RED == exported.Color.RED == "red"
    assert imported.ColorInterface._is_protocol
    assert made.Client
