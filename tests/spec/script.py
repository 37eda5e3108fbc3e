"""Scripts: the meaning of each top-level form ("script" in the WebAssembly reference interpreter's README)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tests.spec.sexpr import Form, Node, ScriptError, String, Word, read


@dataclass(frozen=True, slots=True)
class Binary:
    """A module or component: text to be assembled, or (``assembled``) bytes."""

    component: bool
    name: str | None
    code: bytes
    assembled: bool = False


@dataclass(frozen=True, slots=True)
class Define:
    """``(component definition $name ...)``: check it and keep it for later instantiation."""

    binary: Binary


@dataclass(frozen=True, slots=True)
class Instantiate:
    """``(component ...)``: define and instantiate."""

    binary: Binary


@dataclass(frozen=True, slots=True)
class InstantiateDefinition:
    """``(component instance $name $definition)``. None is the latest definition."""

    name: str | None
    definition: str | None


@dataclass(frozen=True, slots=True)
class Register:
    """``(register "name" $instance)``: the name under which later modules import its exports."""

    name: str
    instance: str | None


@dataclass(frozen=True, slots=True)
class Invoke:
    """``(invoke $instance "function" argument*)``. None is the latest instance."""

    instance: str | None
    function: str
    arguments: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Get:
    """``(get $instance "global")`` of a core module."""

    instance: str | None
    name: str


Execute: TypeAlias = Invoke | Get | Instantiate | InstantiateDefinition


@dataclass(frozen=True, slots=True)
class AssertReturn:
    """``action`` must return these results."""

    action: Execute
    results: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class AssertTrap:
    """``action`` must trap. For ``assert_exhaustion`` the reason must be stack exhaustion."""

    action: Execute
    message: str


@dataclass(frozen=True, slots=True)
class AssertRefused:
    """``assert_invalid`` and ``assert_malformed``: checking ``binary`` must find the fault in ``message``."""

    binary: Binary
    message: str


@dataclass(frozen=True, slots=True)
class AssertUnlinkable:
    """Instantiating ``binary`` must fail because of its imports."""

    binary: Binary
    message: str


Directive: TypeAlias = (
    Define
    | Instantiate
    | InstantiateDefinition
    | Register
    | Invoke
    | AssertReturn
    | AssertTrap
    | AssertRefused
    | AssertUnlinkable
)


@dataclass(frozen=True, slots=True)
class Step:
    """A directive with the name in the script and the line."""

    line: int
    keyword: str
    directive: Directive


def parse(source: str) -> list[Step]:
    """Return the directives of a script. Raises ScriptError."""
    steps = []
    for node in read(source):
        if not isinstance(node, Form):
            raise ScriptError(node.line, "a directive in parentheses is expected")
        steps.append(Step(node.line, node.head, _directive(source, node)))
    return steps


def _directive(source: str, form: Form) -> Directive:
    match form.head, form.items[1:]:
        case (("component" | "module"), _):
            return _definition_or_instance(source, form)
        case "register", (String(value), *rest):
            return Register(value.decode(), _name(rest))
        case "invoke", _:
            return _invoke(form)
        case "assert_return", (Form() as action, *results):
            return AssertReturn(_execute(source, action), _forms(form, results))
        case (("assert_trap" | "assert_exhaustion"), (Form() as action, String(message))):
            return AssertTrap(_execute(source, action), message.decode())
        case (("assert_invalid" | "assert_malformed"), (Form() as thing, String(message))):
            return AssertRefused(_binary(source, thing), message.decode())
        case "assert_unlinkable", (Form() as thing, String(message)):
            return AssertUnlinkable(_binary(source, thing), message.decode())
    raise ScriptError(form.line, f"not a directive that this runner knows: ({form.head} ...)")


def _definition_or_instance(source: str, form: Form) -> Define | Instantiate | InstantiateDefinition:
    match form.items[1:]:
        case (Word("definition"), *_):
            return Define(_binary(source, form))
        case (Word("instance"), *names):
            return InstantiateDefinition(_name(names[:1]), _name(names[1:]))
        case _:
            return Instantiate(_binary(source, form))


def _execute(source: str, form: Form) -> Execute:
    match form.head, form.items[1:]:
        case "invoke", _:
            return _invoke(form)
        case "get", (*names, String(value)):
            return Get(_name(names), value.decode())
        case (("component" | "module"), _):
            directive = _definition_or_instance(source, form)
            if not isinstance(directive, Define):
                return directive
    raise ScriptError(form.line, f"nothing that can be run: ({form.head} ...)")


def _invoke(form: Form) -> Invoke:
    match form.items[1:]:
        case (Word(name), String(function), *arguments):
            return Invoke(name, function.decode(), _forms(form, arguments))
        case (String(function), *arguments):
            return Invoke(None, function.decode(), _forms(form, arguments))
    raise ScriptError(form.line, "invoke needs the name of a function")


def _binary(source: str, form: Form) -> Binary:
    """Return a module or component. Text after the script's own words is passed to the assembler unchanged."""
    if form.head not in ("component", "module"):
        raise ScriptError(form.line, f"a component or module is expected, not ({form.head} ...)")
    rest = list(form.items[1:])
    if rest and isinstance(rest[0], Word) and rest[0].text == "definition":
        rest = rest[1:]
    body = source[rest[0].start : form.end] if rest else ")"
    name = None
    if rest and isinstance(rest[0], Word) and rest[0].text.startswith("$"):
        name = rest[0].text
        rest = rest[1:]
    component = form.head == "component"
    match rest:
        case (Word("binary"), *strings):
            return Binary(component, name, b"".join(_strings(form, strings)), assembled=True)
        case (Word("quote"), *strings):
            quoted = b"\n".join(_strings(form, strings))
            return Binary(component, name, b"(%s %s)" % (form.head.encode(), quoted))
    return Binary(component, name, f"({form.head} {body}".encode())


def _strings(form: Form, nodes: list[Node]) -> list[bytes]:
    strings = [node.value for node in nodes if isinstance(node, String)]
    if len(strings) != len(nodes):
        raise ScriptError(form.line, "only strings may follow binary or quote")
    return strings


def _forms(form: Form, nodes: list[Node]) -> tuple[Form, ...]:
    forms = tuple(node for node in nodes if isinstance(node, Form))
    if len(forms) != len(nodes):
        raise ScriptError(form.line, "values in parentheses are expected")
    return forms


def _name(nodes: list[Node]) -> str | None:
    match nodes:
        case []:
            return None
        case [Word(name)]:
            return name
    raise ScriptError(nodes[0].line, "a $name is expected")
