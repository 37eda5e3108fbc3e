"""The common part of generated modules: names, imports, and classes for types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from wasi_trio.bindgen import _layout as layout
from wasi_trio.bindgen._members import RESERVED, MemberNames
from wasi_trio.bindgen._names import Names, constant_case, parameter_names
from wasi_trio.bindgen._types import BUILTINS, ORIGINS, RENAMED, Annotations, Direction, names_in, rename_hidden
from wasi_trio.bindgen._world import Member, Side
from wasi_trio.component._names import FunctionKind
from wasi_trio.component._values import snake_case
from wasi_trio.component.wit import _tree as tree

#: the first line of every file, which identifies earlier bindings
HEADER = "# Written by wasi_trio bindgen, and overwritten when that is run again."


class Module:
    """A module under construction. Its imports are known once its content is complete."""

    def __init__(self, member: Member, names: dict[Member, MemberNames]) -> None:
        self.member = member
        self.all_names = names
        self.names = names[member]
        self.annotations = Annotations(member, self.name_of, self.resource_of)
        own = self.names
        self._locals = Names(
            {*RESERVED, own.interface, *own.types.values(), *own.any.values(), *own.resources.values()}
            | {*own.statics.values(), *(case for cases in own.cases.values() for case in cases)}
        )
        #: names from other modules of these bindings: (module, name there) and the name here
        self._borrowed: dict[tuple[str, str], str] = {}
        self._wanted: set[str] = set()
        self._aside: set[str] = set()
        #: aliases in the WIT of the bindings, for the types of streams and futures that functions create
        self.aliases: list[tuple[str, tree.TypeNode]] = []

    # ---- names -------------------------------------------------------------------------------------------

    def want(self, *names: str) -> None:
        self._wanted.update(names)

    def name_of(self, member: Member, name: str) -> str:
        return self._from(member, self.all_names[member].types[name])

    def resource_of(self, member: Member, name: str, direction: Direction) -> str:
        names = self.all_names[member]
        if member.side is Side.EXPORTS:
            return self._from(member, names.resources[name])
        if direction is Direction.FROM_PYTHON and has_methods(member, name):
            return self._from(member, names.resources[name])
        return self._from(member, names.any[name])

    def _from(self, member: Member, name: str) -> str:
        if member is self.member:
            return name
        return self.borrow(member, name, name)

    def borrow(self, member: Member, name: str, here: str) -> str:
        """Import a name from another module of these bindings."""
        dots = "." if member.side is self.member.side else f"..{member.side.value}."
        key = (f"{dots}{self.all_names[member].module}", name)
        if key not in self._borrowed:
            self._borrowed[key] = self._locals.new(here)
        return self._borrowed[key]

    def annotation(self, node: tree.TypeNode | None, direction: Direction, hidden: set[str] | None = None) -> str:
        return self.placed(self.annotations.of(node, direction), hidden)

    def placed(self, annotation: str, hidden: set[str] | None = None) -> str:
        """Return an annotation for a scope in which ``hidden`` names have other meanings, and import its names."""
        found = names_in(annotation)
        if hidden:
            away = found & hidden
            self._aside |= away
            annotation = rename_hidden(annotation, away)
            found -= away
        self._wanted |= found & ORIGINS.keys()
        return annotation

    # ---- the module --------------------------------------------------------------------------------------

    def text(self, title: str, blocks: Sequence[Sequence[str]]) -> str:
        """Return the whole module, with two empty lines between blocks."""
        asides = [[f"_{name}: TypeAlias = {name}" for name in sorted(self._aside - BUILTINS - ORIGINS.keys())]]
        if asides[0]:
            self._wanted.add("TypeAlias")
        docs = layout.docstring(f"{title}\n\n{self.member.node.name.docs}".strip())
        head = layout.spaced([docs, [HEADER], ["from __future__ import annotations"], *self._imports()], 1)
        # Last, because only type checkers resolve these names.
        body = layout.spaced([*blocks, *asides], 2)
        # Linters require two lines before a class or function, and one elsewhere.
        between = [""] * (2 if body[0].startswith(("class ", "def ")) else 1)
        return "\n".join([*head, *between, *body, ""])

    def _imports(self) -> Iterable[list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._wanted | (self._aside & ORIGINS.keys()):
            real = RENAMED.get(name, name)
            if name in self._wanted:
                found.setdefault(ORIGINS[name], []).append(real if real == name else f"{real} as {name}")
            if name in self._aside:
                found.setdefault(ORIGINS[name], []).append(f"{real} as _{name}")
        for name in self._aside & BUILTINS:
            found.setdefault("builtins", []).append(f"{name} as _{name}")
        ours = {module: names for module, names in found.items() if module.startswith("wasi_trio")}
        yield layout.import_lines({module: names for module, names in found.items() if module not in ours})
        yield layout.import_lines(ours)
        local: dict[str, list[str]] = {}
        for (module, name), here in self._borrowed.items():
            local.setdefault(module, []).append(name if name == here else f"{name} as {here}")
        local.setdefault(".._wit", []).append("WIT")
        yield layout.import_lines(local)

    # ---- types -------------------------------------------------------------------------------------------

    def type_blocks(self) -> list[list[str]]:
        """Return classes and aliases, each after its components."""
        blocks: list[list[str]] = []
        done: set[str] = set()
        nodes = {name.text: (name, node) for name, node in self.member.node.types}

        def add(text: str) -> None:
            if text in done or text not in nodes:
                return
            done.add(text)
            name, node = nodes[text]
            for other in _names_in(node):
                add(other)
            blocks.extend(self.definition(name, node))

        for text in nodes:
            add(text)
        return blocks

    def definition(self, name: tree.Name, node: tree.TypeNode | None) -> list[list[str]]:
        if node is None:
            return self.resource(name)
        class_ = self.names.types[name.text]
        match node:
            case tree.TypeBody("record", members):
                return [self._record(class_, name, members)]
            case tree.TypeBody("variant", members):
                return self._variant(class_, name, members)
            case tree.TypeBody("enum" | "flags" as form, members):
                return [self._enum(class_, name, form, members)]
        if isinstance(node, tree.NamedType) and self.member.resource(node.name):
            return []
        self.want("TypeAlias")
        annotation = self.annotation(node, Direction.STORED)
        comment = layout.comments(name.docs)
        return [[*comment, *layout.assignment(f"{class_}: TypeAlias = ", annotation.split(" | "))]]

    def resource(self, name: tree.Name) -> list[list[str]]:
        raise NotImplementedError

    def _record(
        self, class_: str, name: tree.Name, members: tuple[tuple[tree.Name, tree.TypeNode | None], ...]
    ) -> list[str]:
        self.want("NamedTuple")
        fields = {snake_case(field.text) for field, _ in members}
        body = layout.docstring(name.docs or f"The record ``{name.text}``.")
        body.append("")
        for field, node in members:
            body += layout.comments(field.docs)
            attribute = snake_case(field.text)
            # Every tuple has methods of these names.
            ignored = "  # type: ignore[assignment]" if attribute in ("count", "index") else ""
            line = f"{attribute}: {self.annotation(node, Direction.STORED, fields)}"
            skip = "  # fmt: skip" if len(line) + len(layout.INDENT) > layout.WIDTH else ""
            body.append(line + (ignored or skip))
        return [f"class {class_}(NamedTuple):", *layout.indented(body)]

    def _variant(
        self, class_: str, name: tree.Name, members: tuple[tuple[tree.Name, tree.TypeNode | None], ...]
    ) -> list[list[str]]:
        blocks = []
        cases = self.names.cases[name.text]
        for (case, payload), case_class in zip(members, cases, strict=True):
            base = "PlainCase" if payload is None else f"Case[{self.annotation(payload, Direction.STORED)}]"
            self.want("PlainCase" if payload is None else "Case")
            body = layout.docstring(case.docs or f"The case ``{case.text}`` of ``{name.text}``.")
            blocks.append(
                [
                    *layout.bracketed(f"class {case_class}(", [base], "):"),
                    *layout.indented([*body, "", "__slots__ = ()", f"wit_case = {layout.string(case.text)}"]),
                ]
            )
        self.want("TypeAlias")
        return [*blocks, [*layout.comments(name.docs), *layout.assignment(f"{class_}: TypeAlias = ", cases)]]

    def _enum(
        self, class_: str, name: tree.Name, form: str, members: tuple[tuple[tree.Name, tree.TypeNode | None], ...]
    ) -> list[str]:
        self.want("StrEnum")
        fallback = f"The names of the flags ``{name.text}``." if form == "flags" else f"The enum ``{name.text}``."
        body = layout.docstring(name.docs or fallback)
        body.append("")
        for member, _ in members:
            body += layout.comments(member.docs)
            body.append(f"{constant_case(member.text)} = {layout.string(member.text)}")
        return [f"class {class_}(StrEnum):", *layout.indented(body)]

    # ---- functions and the interface ---------------------------------------------------------------------

    def functions(self, resource: str | None, *kinds: FunctionKind) -> list[tree.FunctionNode]:
        return [
            function
            for function in self.member.node.functions
            if function.resource == resource and function.kind in (kinds or (FunctionKind.FREE,))
        ]

    def parameters(
        self, function: tree.FunctionNode, direction: Direction, hidden: set[str]
    ) -> tuple[list[str], list[str]]:
        """Return the names of a function's parameters, and their declarations."""
        names = parameter_names([name.text for name, _ in function.params])
        nodes = [node for _, node in function.params]
        return names, [
            f"{name}: {self.annotation(node, direction, hidden)}" for name, node in zip(names, nodes, strict=True)
        ]

    def result(self, function: tree.FunctionNode, direction: Direction) -> str:
        """Return the result type of a function. A constructor that cannot fail returns its resource."""
        if function.kind is FunctionKind.CONSTRUCTOR and function.result is None:
            assert function.resource is not None
            return self.annotations.of(tree.NamedType(function.resource, 0), direction)
        return self.annotations.of(function.result, direction)

    def pipes(self) -> list[list[str]]:
        """Return functions that create the streams and futures that Python passes to a component."""
        found: dict[str, tree.TypeForm] = {}
        seen: set[str] = set()
        for function in self.member.node.functions:
            nodes = [function.result] if self.member.side is Side.IMPORTS else [node for _, node in function.params]
            for node in nodes:
                for pipe in self._pipes_in(node, seen):
                    found.setdefault(_spell(pipe), pipe)
        blocks = []
        for spelled, pipe in found.items():
            name = self._locals.new(f"make_{re.sub(r'[^a-z0-9]+', '_', spelled.lower()).strip('_')}")
            alias = f"pipe-{len(self.aliases)}"
            self.aliases.append((alias, pipe))
            (element,) = pipe.args
            self.want(f"{pipe.form}_pair")
            if pipe.form == "stream":
                of = self.annotations.chunk(element)
                result = f"tuple[StreamWriter[{of}], StreamReader[{of}]]"
            else:
                of = self.annotations.of(element, Direction.STORED)
                result = f"tuple[FutureWriter[{of}], FutureReader[{of}]]"
            body = [
                *layout.docstring(f"Return the writer and the reader of a new ``{spelled}``; pass on the reader."),
                f'return {pipe.form}_pair(INTERFACE, "{alias}")',
            ]
            blocks.append(layout.function(f"def {name}", [], self.placed(result), body))
        return blocks

    def _pipes_in(self, node: tree.TypeNode | None, seen: set[str]) -> Iterable[tree.TypeForm]:
        """Yield the streams and futures in a type and in the types that it names here, each name once."""
        match node:
            case tree.NamedType(name) if name not in seen:
                seen.add(name)
                source, _, definition = self.member.definition(name)
                if source is self.member:
                    yield from self._pipes_in(definition, seen)
            case tree.TypeForm("stream" | "future", (element,)):
                if not any(self.member.resource(name) for name in _names_in(element)):
                    yield node
            case tree.TypeForm(_, args):
                for arg in args:
                    yield from self._pipes_in(arg, seen)
            case tree.TypeBody(_, members):
                for _, of in members:
                    yield from self._pipes_in(of, seen)

    def interface_block(self) -> list[str]:
        """Return the object that identifies the interface and its classes to the linker."""
        self.want("TypedInterface")
        member = self.member
        classes = {name: self.names.types[name] for name, node in _bodies(member)}
        if member.side is Side.EXPORTS:
            classes.update(self.names.resources)
        entries = [f"{layout.string(name)}: {class_}" for name, class_ in classes.items()]
        sources = dict.fromkeys(source for source, _ in member.used.values())
        uses = [self.borrow(source, "INTERFACE", f"_{self.all_names[source].module}") for source in sources]
        arguments = [[f"{layout.string(member.name)},"], ["WIT,"]]
        arguments.append(_sequence("{", entries, "},"))
        if uses or member.within != member.name:
            arguments.append(_sequence("[", uses, "],"))
        if member.within != member.name:
            arguments.append([f"{layout.string(member.within)},"])
        lines = [line for argument in arguments for line in argument]
        return ["INTERFACE = TypedInterface(", *layout.indented(lines), ")"]


def _sequence(opening: str, items: list[str], closing: str) -> list[str]:
    if not items:
        return [f"{opening}{closing}"]
    return [opening, *(f"{layout.INDENT}{item}," for item in items), closing]


def _bodies(member: Member) -> Iterable[tuple[str, tree.TypeBody]]:
    for name, node in member.node.types:
        if isinstance(node, tree.TypeBody):
            yield name.text, node


def has_methods(member: Member, resource: str) -> bool:
    return any(
        function.resource == resource and function.kind is FunctionKind.METHOD for function in member.node.functions
    )


def has_statics(member: Member, resource: str) -> bool:
    return any(
        function.resource == resource and function.kind is not FunctionKind.METHOD for function in member.node.functions
    )


def _names_in(node: tree.TypeNode | None) -> Iterable[str]:
    match node:
        case tree.NamedType(name):
            yield name
        case tree.TypeForm(_, args):
            for arg in args:
                yield from _names_in(arg)
        case tree.TypeBody(_, members):
            for _, of in members:
                yield from _names_in(of)


def _spell(node: tree.TypeNode | None) -> str:
    match node:
        case None:
            return "_"
        case tree.NamedType(name):
            return name
        case tree.TypeForm(form, args, _, length):
            if form == "result":
                args = args if args[1] is not None else args[:1] if args[0] is not None else ()
            inside = [_spell(arg) for arg in args] if any(args) else []
            return f"{form}<{', '.join([*inside, *([str(length)] if length else [])])}>" if inside else form
    raise AssertionError(node.form)
