"""Binds each import of a component to a function of the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from wasi_trio.component._arity import arity_difference, context_difference
from wasi_trio.component._errors import LinkError
from wasi_trio.component._imports import HostCall, Imports, Provider, host_call
from wasi_trio.component._plan import HostFunc, Plan
from wasi_trio.component._types import ValType
from wasi_trio.component.wit import Wit


class Unmet(NamedTuple):
    """A function or resource that a component imports from ``interface`` ("" for the root) and the host lacks.

    ``difference`` says how the host's function of that name differs. It is None if the host has no such function.
    """

    interface: str
    name: str
    difference: str | None = None

    def __str__(self) -> str:
        line = f"{self.interface} {self.name}".strip()
        return line if self.difference is None else f"{line}: {self.difference}"


@dataclass(slots=True)
class Binding:
    """The result of binding. ``calls`` says how to call the host's function for each import that has one."""

    plan: Plan
    imports: Imports
    calls: dict[HostFunc, HostCall] = field(default_factory=dict)
    #: For imports with bindings, the parameter types with their Python classes.
    typed: dict[HostFunc, tuple[ValType, ...]] = field(default_factory=dict)
    missing: list[Unmet] = field(default_factory=list)
    mismatched: list[Unmet] = field(default_factory=list)
    _providers: dict[str, Provider | None] = field(default_factory=dict)

    def check(self) -> None:
        """Raise LinkError if an import is not satisfied."""
        missing = tuple(map(str, self.missing))
        mismatched = tuple(map(str, self.mismatched))
        if missing:
            line = f"nothing provides these imports of the component: {', '.join(self._grouped())}"
            raise LinkError(line, missing, mismatched)
        if mismatched:
            line = f"the component declares imports with other types than the host's: {'; '.join(mismatched)}"
            raise LinkError(line, (), mismatched)

    def provider(self, name: str) -> Provider | None:
        """Return the provider of an import, found by its own name or that of the interface that it implements."""
        if name not in self._providers:
            found = self.imports.find(name)
            self._providers[name] = self.imports.find(self.plan.interface_of(name)) if found is None else found
        return self._providers[name]

    def _grouped(self) -> list[str]:
        """Return the missing imports, with one name for each interface that has no provider."""
        names = [
            unmet.interface if unmet.interface and self.provider(unmet.interface) is None else str(unmet)
            for unmet in self.missing
        ]
        return list(dict.fromkeys(names))


def bind(plan: Plan, imports: Imports, wit: Wit | None = None) -> Binding:
    """Find the host's function for every import.

    If ``wit`` contains an interface, the component must declare its functions with the same types.
    """
    binding = Binding(plan, imports)
    names = {resource: (interface, resource.name) for interface, resource in plan.resources}
    resources = {resource: (plan.interface_of(interface), name) for resource, (interface, name) in names.items()}
    check = None if wit is None else wit.checker(resources)
    checked: set[Provider] = set()
    for func in plan.host_funcs:
        interface = plan.interface_of(func.interface)
        provider = binding.provider(func.interface)
        call = None if provider is None else host_call(provider.implementation, func.name)
        if call is None:
            binding.missing.append(Unmet(func.interface, func.name))
            continue
        assert provider is not None
        typed = provider.typed
        if typed is not None:
            difference = typed.difference(func.name, func.type, names)
        else:
            difference = None if check is None else check(interface, func.name, func.type)
        difference = difference or arity_difference(provider.implementation, func.name, func.type)
        if difference is None and provider not in checked:
            checked.add(provider)
            difference = context_difference(provider.implementation)
        if difference is not None:
            binding.mismatched.append(Unmet(func.interface, func.name, difference))
            continue
        binding.calls[func] = call
        if typed is not None:
            binding.typed[func] = typed.typing.parameters(func.type, typed.function(func.name))
    for interface, resource in plan.resources:
        if binding.provider(interface) is None:
            binding.missing.append(Unmet(interface, resource.name))
    return binding
