"""The module of an imported interface, with the protocols of its host functions."""

from __future__ import annotations

from wasi_trio.bindgen import _layout as layout
from wasi_trio.bindgen._module import Module, has_methods, has_statics
from wasi_trio.bindgen._types import Direction
from wasi_trio.component._names import FunctionKind
from wasi_trio.component._values import pascal_case, snake_case
from wasi_trio.component.wit import _tree as tree


class ImportsModule(Module):
    def write(self) -> str:
        what = self.member.name or "The functions and resources of the world itself"
        types = self.type_blocks()
        interface = self.protocol()
        pipes = self.pipes()
        return self.text(f"{what}, as a host provides it.", [*types, interface, self.interface_block(), *pipes])

    def resource(self, name: tree.Name) -> list[list[str]]:
        self.want("Any", "TypeAlias")
        names = self.names
        comment = f"#: a host object for ``{name.text}``"
        blocks = [[comment, f"{names.any[name.text]}: TypeAlias = Any"]]
        if has_methods(self.member, name.text):
            blocks.append(
                self._methods(
                    names.resources[name.text],
                    name.docs or f"The resource ``{name.text}``, which the host implements.",
                    self.functions(name.text, FunctionKind.METHOD),
                )
            )
        if has_statics(self.member, name.text):
            functions = self.functions(name.text, FunctionKind.CONSTRUCTOR, FunctionKind.STATIC)
            docs = f"The class of ``{name.text}``: its constructor and its static functions."
            blocks.append(self._methods(names.statics[name.text], docs, functions))
        return blocks

    def protocol(self) -> list[str]:
        properties = [
            name
            for name, node in self.member.node.types
            if node is None and (has_methods(self.member, name.text) or has_statics(self.member, name.text))
        ]
        functions = self.functions(None)
        name = self.names.interface
        docs = self.member.node.name.docs or f"The host functions of {self.member.name or 'the world itself'}."
        hidden = {pascal_case(name.text) for name in properties}
        extra = []
        for resource in properties:
            of = (
                self.names.statics[resource.text]
                if has_statics(self.member, resource.text)
                else f"type[{self.names.resources[resource.text]}]"
            )
            of = self.placed(of, hidden | {snake_case(function.name.text) for function in functions})
            extra.append(["@property", f"def {pascal_case(resource.text)}(self) -> {of}: ..."])
        return self._methods(name, docs, functions, hidden, extra)

    def _methods(
        self,
        name: str,
        docs: str,
        functions: list[tree.FunctionNode],
        hidden: set[str] | None = None,
        extra: list[list[str]] | None = None,
    ) -> list[str]:
        self.want("Protocol")
        hidden = (hidden or set()) | {snake_case(function.name.text) for function in functions}
        methods = [self._method(function, hidden) for function in functions]
        blocks = [layout.docstring(docs), *methods, *(extra or [])]
        return [f"class {name}(Protocol):", *layout.indented(layout.spaced(blocks, 1))]

    def _method(self, function: tree.FunctionNode, hidden: set[str]) -> list[str]:
        _, parameters = self.parameters(function, Direction.TO_PYTHON, hidden)
        constructor = function.kind is FunctionKind.CONSTRUCTOR
        if constructor:
            # A call of the class returns the object, even if the constructor in WIT can fail.
            assert function.resource is not None
            result = self.annotation(tree.NamedType(function.resource, 0), Direction.FROM_PYTHON, hidden)
        else:
            result = self.placed(f"Returns[{self.result(function, Direction.FROM_PYTHON)}]", hidden)
        name = "__call__" if constructor else snake_case(function.name.text)
        body = [*layout.docstring(function.name.docs), "..."] if function.name.docs else ["..."]
        given = ["self", *parameters, "/"]
        return layout.function(f"def {name}", given, result, body, depth=1)
