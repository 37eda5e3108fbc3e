"""The package of bindings: its files, and their directory."""

from __future__ import annotations

import keyword
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from wasi_trio.bindgen import _layout as layout
from wasi_trio.bindgen._exports_module import ExportsModule
from wasi_trio.bindgen._imports_module import ImportsModule
from wasi_trio.bindgen._members import BindgenError, MemberNames
from wasi_trio.bindgen._module import HEADER
from wasi_trio.bindgen._names import Names
from wasi_trio.bindgen._world import PACKAGE, Member, Side, World, without_docs
from wasi_trio.component._names import parse_import_name
from wasi_trio.component._values import snake_case
from wasi_trio.component.wit import _tree as tree
from wasi_trio.component.wit._lexer import Source
from wasi_trio.component.wit._text import write


def package(world: World, title: str, provided: Callable[[str], bool]) -> dict[str, str]:
    """Return the files of the bindings of a world, by their paths in the package.

    ``title`` describes the source. ``provided`` returns whether the host already implements an interface, so that an
    implementation is optional. Raises BindgenError for names that clash in Python.
    """
    names = _names(world)
    aliases: dict[Member, list[tuple[str, tree.TypeNode]]] = {}
    files: dict[str, str] = {}
    for member in world.members():
        module = (ImportsModule if member.side is Side.IMPORTS else ExportsModule)(member, names)
        files[f"{member.side.value}/{names[member].module}.py"] = module.write()
        aliases[member] = module.aliases
    for side in Side:
        docs = f"The {side.value} interfaces."
        files[f"{side.value}/__init__.py"] = "\n".join([*layout.docstring(docs), "", HEADER, ""])
    files["_wit.py"] = _wit(world, aliases)
    files["__init__.py"] = _Root(world, title, names, provided).text()
    return dict(sorted(files.items()))


def _names(world: World) -> dict[Member, MemberNames]:
    """Return the names of all modules and of their content.

    Several versions of an interface have the version in the name.
    """
    found: dict[Member, MemberNames] = {}
    for side in (world.imports, world.exports):
        versions: dict[str, int] = {}
        for member in side:
            name, _ = parse_import_name(member.name)
            versions[name] = versions.get(name, 0) + 1
        modules = Names()
        for member in side:
            name, version = parse_import_name(member.name)
            wanted = name if version is None or versions[name] == 1 else f"{name}_{version}"
            wanted = re.sub(r"[^A-Za-z0-9]", "_", wanted) or "world"
            found[member] = MemberNames(member, modules.new(wanted))
    return found


def _wit(world: World, aliases: dict[Member, list[tuple[str, tree.TypeNode]]]) -> str:
    root = tree.PackageNode(Source(PACKAGE, ""))
    text = write([root, *without_docs(world.members(), aliases)])
    assert text.isascii() and '"' not in text and "\\" not in text, "WIT without comments and strings is made of names"
    docs = layout.docstring("The WIT of these bindings. Components are checked against it.")
    imports = ["from __future__ import annotations"], ["from wasi_trio.bindings import WitText"]
    lines = layout.spaced([docs, [HEADER], *imports, ['WIT = WitText("""\\', *text.splitlines(), '""")']], 1)
    return "\n".join([*lines, ""])


class _Root:
    """The package's ``__init__`` module."""

    def __init__(self, world: World, title: str, names: dict[Member, MemberNames], provided: Callable[[str], bool]):
        self.world = world
        self.title = title
        self.names = names
        self.imported = [member for member in world.imports if _has_functions(member) or _has_resources(member)]
        self.exported = [member for member in world.exports if _has_functions(member)]
        self.root = next((member for member in self.exported if member.is_root), None)
        #: interfaces of the host, which users need not implement
        self.optional = {member for member in self.imported if not member.is_root and provided(member.name)}
        self.parameters = _short_names(self.imported, names, {"found"})
        functions = set() if self.root is None else set(names[self.root].attributes.values())
        clients = [member for member in self.exported if not member.is_root]
        self.attributes = _short_names(clients, names, {"INTERFACE", *functions})

    def text(self) -> str:
        docs = layout.docstring(f"{self.title}\n\n{self.world.docs}".strip())
        bindings = ["Imports"]
        if self.imported:
            bindings.append("Implementation")
        if self.attributes or self.root is None:
            bindings.append("Instance")
        local: dict[str, list[str]] = {}
        for member in (*self.imported, *self.exported):
            module, here = self.names[member].module, self.module(member)
            imported = module if here == module else f"{module} as {here}"
            local.setdefault(f".{member.side.value}", []).append(imported)
        heads = [docs, [HEADER], ["from __future__ import annotations"]]
        heads += [layout.import_lines({"wasi_trio.bindings": bindings}), layout.import_lines(local)]
        functions = [self.imports(), self.client()]
        return "\n".join([*layout.spaced(heads, 1), "", "", *layout.spaced(functions, 2), ""])

    def module(self, member: Member) -> str:
        """Return the local name of a module, distinct from parameters and from modules of the other side."""
        module = self.names[member].module
        same = [other for other in (*self.imported, *self.exported) if self.names[other].module == module]
        if member.side is Side.EXPORTS:
            return f"exported_{module}" if len(same) > 1 else module
        return f"imported_{module}" if module in self.parameters.values() else module

    def imports(self) -> list[str]:
        """Return the function that builds the imports."""
        parameters = []
        body = layout.docstring(
            "Return the imports to link a component of this world.\n\n"
            "A class is called with the context of each instance. All instances share any other object."
        )
        body.append("found = Imports()")
        for member in sorted(self.imported, key=lambda member: member in self.optional):
            parameter, module = self.parameters[member], self.module(member)
            either = f"Implementation[{module}.{self.names[member].interface}]"
            arguments = [layout.string(member.name), parameter, f"{module}.INTERFACE"]
            if member in self.optional:
                parameters.append(f"{parameter}: {either} | None = None")
                lines = layout.bracketed("found.add(", arguments, ")", depth=2)
                body += [f"if {parameter} is not None:", *layout.indented(lines)]
            else:
                parameters.append(f"{parameter}: {either}")
                body += layout.bracketed("found.add(", arguments, ")", depth=1)
        body.append("return found")
        return layout.function("def imports", ["*", *parameters] if parameters else [], "Imports", body)

    def client(self) -> list[str]:
        root = self.root
        head = "class Client" if root is None else f"class Client({self.module(root)}.{self.names[root].interface})"
        docs = "The exports of one instance. Raises LinkError if the component lacks any of them."
        lines = [f"{head}:", *layout.indented(layout.docstring(docs))]
        if self.attributes or root is None:
            body = [] if root is None else ["super().__init__(instance)"]
            body += [
                f"self.{attribute} = {self.module(member)}.{self.names[member].interface}(instance)"
                for member, attribute in self.attributes.items()
            ]
            made = layout.function("def __init__", ["self", "instance: Instance"], "None", body or ["pass"])
            lines += ["", *layout.indented(made)]
        return lines


def _short_names(members: list[Member], names: dict[Member, MemberNames], taken: set[str]) -> dict[Member, str]:
    """Return the names of interfaces without their packages, if these are unique."""
    shorts = [snake_case(member.node.name.text) for member in members]
    given = Names(taken)
    return {
        member: given.new(short if shorts.count(short) == 1 and not member.is_root else names[member].module)
        for member, short in zip(members, shorts, strict=True)
    }


def _has_functions(member: Member) -> bool:
    return bool(member.node.functions)


def _has_resources(member: Member) -> bool:
    return any(node is None for _, node in member.node.types)


# ---- on disk ---------------------------------------------------------------------------------------------


def save(files: dict[str, str], folder: Path) -> None:
    """Write a package, and replace earlier bindings. Raises BindgenError before any change.

    Other files in the directory are not overwritten.
    """
    if not folder.name.isidentifier() or keyword.iskeyword(folder.name):
        raise BindgenError(f"{folder} is not a valid package name: choose a name such as my_bindings")
    try:
        old = _find_earlier(folder)
        for name in files:
            path = folder / name
            if path.exists() and name not in old:
                raise BindgenError(f"{path} is in the way: bindgen did not write it")
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            _replace(folder / name, text)
        for name in old - files.keys():
            (folder / name).unlink()
    except OSError as error:
        raise BindgenError(f"cannot write {error.filename or folder}: {error.strerror}") from None


def _find_earlier(folder: Path) -> set[str]:
    """Return the files of earlier bindings in a directory. Raises BindgenError if it contains only other files."""
    if not folder.exists():
        return set()
    if not folder.is_dir():
        raise BindgenError(f"{folder} is not a directory")
    folders = [folder, *(folder / side.value for side in Side)]
    found = [path for one in folders for path in one.glob("*.py")]
    ours = {path.relative_to(folder).as_posix() for path in found if HEADER in path.read_text("utf-8", "replace")}
    if "__init__.py" not in ours and any(folder.iterdir()):
        raise BindgenError(f"{folder} is not empty and has no earlier bindings: choose another directory")
    return ours


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    if path.exists() and path.read_text("utf-8") == text:
        return
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=".bindgen-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(scratch, 0o666 & ~_umask())
        os.replace(scratch, path)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
