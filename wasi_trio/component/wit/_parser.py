"""Parses WIT text into an unresolved syntax tree ("Top-level items" and the following sections of WIT.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from wasi_trio.component import _types as types
from wasi_trio.component._names import FunctionKind
from wasi_trio.component.wit._docs import doc_comment
from wasi_trio.component.wit._lexer import Source, Token, WitError, tokens
from wasi_trio.component.wit._tree import (
    Extern,
    FunctionNode,
    InterfaceNode,
    Name,
    NamedInterface,
    NamedType,
    PackageNode,
    Path,
    TypeBody,
    TypeForm,
    TypeNode,
    Use,
    WorldNode,
)

T = TypeVar("T")

PRIMITIVES = {
    primitive.name: primitive
    for primitive in (
        *(types.BOOL, types.CHAR, types.STRING, types.ERROR_CONTEXT, types.F32, types.F64),
        *(types.S8, types.S16, types.S32, types.S64, types.U8, types.U16, types.U32, types.U64),
    )
}
#: Maximum nesting of types, well below Python's recursion limit.
MAX_DEPTH = 100


def parse_file(source: Source, features: Collection[str] = ()) -> list[PackageNode]:
    """Parse a file into the part outside package blocks, followed by each block.

    Items behind an ``@unstable`` gate are skipped unless ``features`` has the name of their feature. Raises WitError.
    """
    return _Parser(source, features).file()


class _Parser:
    """A recursive-descent parser. Each method reads one production and leaves the cursor after it."""

    def __init__(self, source: Source, features: Collection[str]) -> None:
        self.source = source
        self.features = features
        self.tokens = tokens(source)
        self.index = 0
        self.depth = 0
        #: The doc comments of the current item or member.
        self.docs = ""

    # -- tokens

    def peek(self, *texts: str) -> bool:
        """Return whether the cursor is at one of these keywords or operators."""
        kind, text, _ = self.tokens[self.index]
        return text in texts and (kind == "keyword" or kind == "operator")

    def next(self) -> Token:
        token = self.tokens[self.index]
        if token.kind != "end":
            self.index += 1
        return token

    def accept(self, text: str) -> bool:
        if self.peek(text):
            self.index += 1
            return True
        return False

    def expect(self, text: str, where: str) -> Token:
        if not self.peek(text):
            raise self.unexpected(f"`{text}` {where}")
        return self.next()

    def unexpected(self, wanted: str) -> WitError:
        token = self.tokens[self.index]
        return self.source.error(token.offset, f"expected {wanted}, found {token}")

    def name(self, what: str) -> Name:
        token = self.tokens[self.index]
        if token.kind == "keyword":
            message = f"expected {what}, found the keyword `{token.text}` (to use it as a name, write `%{token.text}`)"
            raise self.source.error(token.offset, message)
        if token.kind != "id":
            raise self.unexpected(what)
        self.index += 1
        return Name(token.text, token.offset)

    def documented(self, what: str) -> Name:
        """Read the name of an item or member, and add its doc comments."""
        return self.name(what)._replace(docs=self.docs)

    def read_docs(self) -> None:
        """Store the doc comments before the cursor, which is at the start of an item or member."""
        end = self.tokens[self.index].offset
        before = self.tokens[self.index - 1] if self.index else Token("operator", "", 0)
        self.docs = doc_comment(self.source.text[before.offset + len(before.text) : end])

    def listed(self, item: Callable[[], T], end: str) -> list[T]:
        """Read items separated by commas, an optional trailing comma, and the closing token."""
        found: list[T] = []
        while not self.accept(end):
            found.append(item())
            if not self.accept(","):
                self.expect(end, "or `,`")
                break
        return found

    # -- files and packages

    def file(self) -> list[PackageNode]:
        outside = PackageNode(self.source)
        found = [outside]
        first = True
        while self.tokens[self.index].kind != "end":
            if self.peek("package"):
                self.read_docs()
                docs = self.docs
                name, version = self.package_name()
                name = name._replace(docs=docs)
                if self.accept("{"):
                    block = PackageNode(self.source, name, version, is_file=False)
                    while not self.accept("}"):
                        self.package_item(block)
                    found.append(block)
                elif first:
                    self.expect(";", "or `{` after the package's name")
                    outside.name, outside.version = name, version
                else:
                    raise self.source.error(name.at, "a file's own package must be declared first in the file")
            else:
                self.package_item(outside)
            first = False
        return found

    def package_name(self) -> tuple[Name, str | None]:
        self.expect("package", "here")
        path, at = self.dotted_name("a package name")
        if ":" not in path:
            raise self.source.error(at, f"a package name has the form namespace:name, not `{path}`")
        return Name(path, at), self.version()

    def dotted_name(self, what: str) -> tuple[str, int]:
        """Read ``a``, ``a:b``, ``a:b/c`` and so on."""
        first = self.name(what)
        text = first.text
        while self.accept(":"):
            text += ":" + self.name(what).text
        if ":" in text:
            while self.accept("/"):
                text += "/" + self.name(what).text
        return text, first.at

    def version(self) -> str | None:
        if not self.accept("@"):
            return None
        if self.tokens[self.index].kind != "version":
            raise self.unexpected("a version like 1.2.3")
        return self.next().text

    def path(self) -> Path:
        text, at = self.dotted_name("the name of an interface or world")
        if ":" not in text:
            return Path(None, text, None, at)
        package, _, name = text.rpartition("/")
        if not package:
            raise self.source.error(at, f"`{text}` is a package, expected an interface or world of it: {text}/name")
        return Path(package, name, self.version(), at)

    def package_item(self, package: PackageNode) -> None:
        wanted = self.gate()
        if self.accept("use"):
            path = self.path()
            alias = self.name("a name") if self.accept("as") else Name(path.name, path.at)
            self.expect(";", "after `use`")
            if wanted:
                package.aliases.append((alias, path))
        elif self.accept("interface"):
            interface = InterfaceNode(self.documented("the interface's name"))
            self.interface_body(interface)
            if wanted:
                package.interfaces.append(interface)
        elif self.accept("world"):
            world = self.world()
            if wanted:
                package.worlds.append(world)
        else:
            raise self.unexpected("`interface`, `world`, `use` or `package`")

    # -- gates

    def gate(self) -> bool:
        """Read the annotations of an item and return whether the item is enabled."""
        wanted = True
        seen: dict[str, int] = {}
        self.read_docs()
        while self.accept("@"):
            name = self.name("`since`, `unstable`, `deprecated` or `external-id`")
            if name.text in seen:
                raise self.source.error(name.at, f"`@{name.text}` occurs twice")
            if name.text not in ("since", "unstable", "deprecated", "external-id"):
                raise self.source.error(name.at, f"unknown annotation `@{name.text}`")
            seen[name.text] = name.at
            self.expect("(", f"after `@{name.text}`")
            if name.text == "external-id":
                if self.tokens[self.index].kind != "string":
                    raise self.unexpected("a string")
                self.next()
                self.expect(")", "after the string")
            elif name.text == "unstable":
                wanted = self.gate_field("feature", "id") in self.features
            else:
                self.gate_field("version", "version")
        if "since" in seen and "unstable" in seen:
            raise self.source.error(seen["unstable"], "an item is either `@since` or `@unstable`, not both")
        if seen and not self.docs:
            self.read_docs()
        return wanted

    def gate_field(self, field_name: str, kind: str) -> str:
        if self.tokens[self.index].text != field_name:
            raise self.unexpected(f"`{field_name} = ...`")
        self.next()
        self.expect("=", f"after `{field_name}`")
        if self.tokens[self.index].kind != kind:
            raise self.unexpected("a feature's name" if kind == "id" else "a version like 1.2.3")
        value = self.next().text
        self.expect(")", f"after the {field_name}")
        return value

    # -- worlds

    def world(self) -> WorldNode:
        name = self.documented("the world's name")
        world = WorldNode(name, InterfaceNode(name))
        self.expect("{", "after the world's name")
        while not self.accept("}"):
            # Disabled items must be parsed too, so they go into a world that is discarded.
            target = world if self.gate() else WorldNode(name, InterfaceNode(name))
            if self.accept("import"):
                target.imports.append(self.extern())
            elif self.accept("export"):
                target.exports.append(self.extern())
            elif self.accept("include"):
                target.includes.append(self.include())
            elif not self.type_item(target.own):
                raise self.unexpected("`import`, `export`, `include`, `use`, a type or `}`")
        return world

    def extern(self) -> Extern:
        """Read the rest of an ``import`` or ``export``.

        ``a: b`` names the interface b. ``a:b/c`` is the interface c of the package a:b. The space distinguishes them.
        """
        here = self.tokens[self.index : self.index + 3]
        glued = len(here) == 3 and here[2].kind == "id" and here[2].offset == here[1].offset + 1
        if len(here) < 3 or here[1].text != ":" or glued:
            path = self.path()
            self.expect(";", "after the interface's name")
            return path
        name = self.documented("a name")
        self.expect(":", "after the name")
        if self.peek("func", "async"):
            return self.function(FunctionKind.FREE, None, name)
        if self.accept("interface"):
            interface = InterfaceNode(name)
            self.interface_body(interface)
            return interface
        named = NamedInterface(name, self.path())
        self.expect(";", "after the interface's name")
        return named

    def include(self) -> Path:
        path = self.path()
        if self.accept("with"):
            self.expect("{", "after `with`")
            path = path._replace(renamings=tuple(self.listed(self.renaming, "}")))
            self.accept(";")
        else:
            self.expect(";", "after `include`")
        return path

    def renaming(self) -> tuple[Name, Name]:
        name = self.name("a name")
        self.expect("as", "and a new name")
        return name, self.name("a new name")

    # -- interfaces

    def interface_body(self, interface: InterfaceNode) -> None:
        self.expect("{", "after the interface's name")
        while not self.accept("}"):
            target = interface if self.gate() else InterfaceNode(interface.name)
            if not self.type_item(target):
                name = self.documented("a function, a type, `use` or `}`")
                self.expect(":", "after the function's name")
                target.functions.append(self.function(FunctionKind.FREE, None, name))

    def type_item(self, interface: InterfaceNode) -> bool:
        """Read a ``use`` or a type definition, if the cursor is at one."""
        if self.accept("use"):
            interface.uses.append(self.use())
        elif self.accept("type"):
            name = self.documented("the type's name")
            self.expect("=", "after the type's name")
            interface.types.append((name, self.type()))
            self.expect(";", "after the type")
        elif self.peek("record", "variant", "enum", "flags"):
            form = self.next().text
            name = self.documented(f"the name of the {form}")
            interface.types.append((name, self.type_body(form, name)))
        elif self.accept("resource"):
            self.resource(interface)
        else:
            return False
        return True

    def use(self) -> Use:
        path = self.path()
        self.expect(".", "and the names in braces, after the interface's name")
        self.expect("{", "and the names of types")
        names = self.listed(self.used_name, "}")
        if not names:
            raise self.source.error(path.at, "`use` names no types")
        self.expect(";", "after `use`")
        return Use(path, tuple(names))

    def used_name(self) -> tuple[Name, Name]:
        name = self.name("a type's name")
        return name, self.name("a name") if self.accept("as") else name

    def type_body(self, form: str, name: Name) -> TypeBody:
        item = {"record": self.record_field, "variant": self.variant_case}.get(form, self.bare_member)
        self.expect("{", f"after the name of the {form}")
        members = self.listed(item, "}")
        if not members:
            raise self.source.error(name.at, f"{form} `{name.text}` is empty")
        self.distinct(form, [member for member, _ in members])
        return TypeBody(form, tuple(members), name.at)

    def record_field(self) -> tuple[Name, TypeNode | None]:
        self.read_docs()
        name = self.documented("a field's name")
        self.expect(":", "and the field's type")
        return name, self.type()

    def variant_case(self) -> tuple[Name, TypeNode | None]:
        self.read_docs()
        name = self.documented("a case's name")
        if not self.accept("("):
            return name, None
        payload = self.type()
        self.expect(")", "after the case's type")
        return name, payload

    def bare_member(self) -> tuple[Name, TypeNode | None]:
        self.read_docs()
        return self.documented("a name"), None

    def distinct(self, what: str, names: list[Name]) -> None:
        """Check that names in one scope differ in more than case."""
        seen: set[str] = set()
        for name in names:
            folded = name.text.lower()
            if folded in seen:
                raise self.source.error(name.at, f"the {what} has two `{name.text}`")
            seen.add(folded)

    def resource(self, interface: InterfaceNode) -> None:
        resource = self.documented("the resource's name")
        interface.types.append((resource, None))
        if self.accept(";"):
            return
        self.expect("{", "or `;` after the resource's name")
        while not self.accept("}"):
            target = interface if self.gate() else InterfaceNode(interface.name)
            if self.peek("constructor"):
                token = self.next()
                name = Name("", token.offset, self.docs)
                function = self.signature(FunctionKind.CONSTRUCTOR, resource.text, name, False)
            else:
                name = self.documented("a function, `constructor` or `}`")
                self.expect(":", "after the function's name")
                kind = FunctionKind.STATIC if self.accept("static") else FunctionKind.METHOD
                function = self.function(kind, resource.text, name)
            target.functions.append(function)

    def function(self, kind: FunctionKind, resource: str | None, name: Name) -> FunctionNode:
        is_async = self.accept("async")
        self.expect("func", "after the function's name")
        return self.signature(kind, resource, name, is_async)

    def signature(self, kind: FunctionKind, resource: str | None, name: Name, is_async: bool) -> FunctionNode:
        self.expect("(", "and the parameters")
        params = self.listed(self.param, ")")
        self.distinct("function", [param for param, _ in params])
        result = self.type() if self.accept("->") else None
        self.expect(";", "after the function")
        return FunctionNode(kind, resource, name, tuple(params), result, is_async)

    def param(self) -> tuple[Name, TypeNode]:
        name = self.name("a parameter's name")
        self.expect(":", "and the parameter's type")
        return name, self.type()

    # -- types

    def type(self) -> TypeNode:
        token = self.tokens[self.index]
        text, at = token.text, token.offset
        if token.kind == "id" and text != "error-context":
            self.index += 1
            return NamedType(text, at)
        if token.kind not in ("id", "keyword"):
            raise self.unexpected("a type")
        self.index += 1
        if text in PRIMITIVES:
            return TypeForm(text, (), at)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.source.error(at, f"types are nested deeper than {MAX_DEPTH}")
        form = self.compound(text, at)
        self.depth -= 1
        return form

    def compound(self, form: str, at: int) -> TypeForm:
        if form in ("option", "own", "borrow"):
            self.expect("<", f"after `{form}`")
            return TypeForm(form, (self.closed(),), at)
        if form in ("stream", "future"):
            return TypeForm(form, (self.closed() if self.accept("<") else None,), at)
        if form == "tuple":
            self.expect("<", "after `tuple`")
            types = self.listed(self.type, ">")
            if not types:
                raise self.source.error(at, "a tuple has no types")
            return TypeForm(form, tuple(types), at)
        if form == "map":
            self.expect("<", "after `map`")
            key = self.type()
            self.expect(",", "and the type of the values")
            return TypeForm(form, (key, self.closed()), at)
        if form == "list":
            return self.list_type(at)
        if form == "result":
            return self.result_type(at)
        raise self.source.error(at, f"expected a type, found `{form}`")

    def closed(self) -> TypeNode:
        type_ = self.type()
        self.expect(">", "after the type")
        return type_

    def list_type(self, at: int) -> TypeForm:
        self.expect("<", "after `list`")
        element = self.type()
        length: int | None = None
        if self.accept(","):
            token = self.tokens[self.index]
            if (
                token.kind != "integer"
                or token.text.startswith("0")
                or len(token.text) > 10
                or int(token.text) >= 2**32
            ):
                raise self.unexpected("a length from 1 to 4294967295")
            length = int(self.next().text)
        self.expect(">", "after the list's element")
        return TypeForm("list", (element,), at, length)

    def result_type(self, at: int) -> TypeForm:
        if not self.accept("<"):
            return TypeForm("result", (None, None), at)
        if self.accept("_"):
            self.expect(",", "and the error's type")
            return TypeForm("result", (None, self.closed()), at)
        ok = self.type()
        err = self.type() if self.accept(",") else None
        self.expect(">", "after the result's types")
        return TypeForm("result", (ok, err), at)
