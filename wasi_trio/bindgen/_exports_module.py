"""The module of an exported interface, with its client."""

from __future__ import annotations

from wasi_trio.bindgen import _layout as layout
from wasi_trio.bindgen._module import Module, has_statics
from wasi_trio.bindgen._names import Names
from wasi_trio.bindgen._types import Direction
from wasi_trio.component._names import FunctionKind, parse_function_name
from wasi_trio.component.wit import _tree as tree

#: reserved attributes of resource classes
_RESERVED = {"INTERFACE", "rep", "resource"}


class ExportsModule(Module):
    def write(self) -> str:
        what = self.member.name or "The functions of the world itself"
        types = self.type_blocks()
        clients = [self._statics(name) for name, node in self.member.node.types if node is None]
        clients.append(self._client())
        pipes = self.pipes()
        classes = [name for name, node in self.member.node.types if node is None]
        names = self.names
        owners = [names.resources[name.text] for name in classes]
        owners += [names.statics[name.text] for name in classes if has_statics(self.member, name.text)]
        assigned = [f"{owner}.INTERFACE = INTERFACE" for owner in [*owners, names.interface]]
        blocks = [*types, self.interface_block(), *clients, assigned, *pipes]
        return self.text(f"{what}, as a component exports it.", blocks)

    def resource(self, name: tree.Name) -> list[list[str]]:
        self.want("ExportedResource")
        docs = name.docs or f"The resource ``{name.text}``, which the component implements."
        functions = self.functions(name.text, FunctionKind.METHOD)
        given = Names(set(_RESERVED))
        named = [(given.function(function.name.text), function) for function in functions]
        hidden = {name for name, _ in named}
        methods = [self._method(name, function, hidden, ["self"]) for name, function in named]
        blocks = [layout.docstring(docs), ["__slots__ = ()"], *methods]
        class_ = self.names.resources[name.text]
        return [[f"class {class_}(ExportedResource):", *layout.indented(layout.spaced(blocks, 1))]]

    def _statics(self, name: tree.Name) -> list[str]:
        """Return the class for the constructor and the static functions of a resource."""
        functions = self.functions(name.text, FunctionKind.CONSTRUCTOR, FunctionKind.STATIC)
        if not functions:
            return []
        self.want("InterfaceClient")
        given = Names({"INTERFACE"})
        named = [
            ("__call__" if function.kind is FunctionKind.CONSTRUCTOR else given.function(function.name.text), function)
            for function in functions
        ]
        hidden = {name for name, _ in named}
        methods = [self._method(name, function, hidden, []) for name, function in named]
        docs = layout.docstring(f"The constructor and the static functions of ``{name.text}``.")
        class_ = self.names.statics[name.text]
        return [
            f"class {class_}(InterfaceClient):",
            *layout.indented(layout.spaced([docs, *methods], 1)),
        ]

    def _client(self) -> list[str]:
        self.want("InterfaceClient")
        names = self.names
        resources = [
            name.text for name, node in self.member.node.types if node is None and has_statics(self.member, name.text)
        ]
        functions = [(names.attributes[function.name.text], function) for function in self.functions(None)]
        hidden = {*(name for name, _ in functions), *(names.attributes[f"resource {name}"] for name in resources)}
        blocks = [layout.docstring(self.member.node.name.docs or f"Client of {self.member.name or 'the world'}.")]
        if resources:
            self.want("Instance")
            instance = self.placed("Instance", hidden)
            body = ["super().__init__(instance)"]
            body += [
                f"self.{names.attributes[f'resource {name}']} = {names.statics[name]}(instance)" for name in resources
            ]
            blocks.append(layout.function("def __init__", ["self", f"instance: {instance}"], "None", body, depth=1))
        blocks += [self._method(name, function, hidden, []) for name, function in functions]
        return [f"class {names.interface}(InterfaceClient):", *layout.indented(layout.spaced(blocks, 1))]

    def _method(self, name: str, function: tree.FunctionNode, hidden: set[str], first: list[str]) -> list[str]:
        given, parameters = self.parameters(function, Direction.FROM_PYTHON, hidden)
        result = self.placed(self.result(function, Direction.TO_PYTHON), hidden)
        call = [layout.string(binary_name(function)), *first, *given]
        head = "await self._do(" if result == "None" else "return await self._call("
        body = layout.docstring(function.name.docs) if function.name.docs else []
        body += layout.bracketed(head, call, ")", depth=2)
        return layout.function(f"async def {name}", ["self", *parameters], result, body, depth=1)


def binary_name(function: tree.FunctionNode) -> str:
    """Return the name of an exported function in the component."""
    if function.kind is FunctionKind.FREE:
        return function.name.text
    name = f".{function.name.text}" if function.name.text else ""
    found = f"[{function.kind.value}]{function.resource}{name}"
    assert parse_function_name(found).kind is function.kind
    return found
