"""One Python file out of modules of ours: all that a class needs of them, and no import of ``vapray``.

The file is made of the modules' own source, statement by statement, in the order in which Python would run it. What
nothing needs is left out. Annotations are not evaluated in it, so what of ours they alone name is left out too.
"""

import ast
import builtins
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from vapray import __version__
from vapray.export.definitions import Binding, Module, Statement, bindings, read_module
from vapray.export.renaming import renamed

__all__ = ["bundle"]

PACKAGE = __name__.split(".")[0]
HEADER = f"""\
# Made by vapray {__version__} out of its own modules; each section names its own. Not for clinical use.
# SPDX-License-Identifier: Apache-2.0
"""
Place = tuple[str, str]
"""A module and a name in it."""


@lru_cache
def bundle(module: str, name: str) -> str:
    """The source of one file that defines what ``module`` calls ``name``, and works without vapray.

    Args:
        module: dotted name of one of our modules.
        name: a class or function of it.

    Raises:
        ValueError: it needs one of our modules as a whole (``import vapray.x``), or one that acts when it is imported.
    """
    return _Bundle(read_module(module), name).source()


class _Bundle:
    def __init__(self, root: Module, name: str) -> None:
        self._root = root
        self._kept: set[Statement] = set()
        self._outside: dict[tuple[str, str], Binding] = {}
        """By module and name there."""
        self._aliased: set[Place] = set()
        """Definitions that somebody imports under another name."""
        self._keep(root, name)
        self._modules = list(dict.fromkeys(self._in_order(root, set())))
        self._names = self._chosen_names()

    def _keep(self, module: Module, name: str) -> None:
        """Keep what a name stands for in a module, and all that this needs."""
        target = _resolve(module, name)
        if isinstance(target, Binding):
            self._outside[module.name, name] = target
            return
        if target is not None:
            source, own_name = target
            if own_name != name:
                self._aliased.add((source.name, own_name))
            for statement in source.definitions[own_name]:
                self._keep_statement(source, statement)

    def _keep_statement(self, module: Module, statement: Statement) -> None:
        if statement in self._kept:
            return
        self._kept.add(statement)
        scope = _scope(module, statement)
        for needed in sorted(statement.needs):
            self._keep(scope, needed)
        for mentioned in sorted(statement.mentions - statement.needs):
            if mentioned in scope.imports and not _is_ours(scope.imports[mentioned]):
                self._keep(scope, mentioned)

    def _in_order(self, module: Module, seen: set[str]) -> Iterator[Module]:
        """Modules in the order in which importing ``module`` would run them."""
        if module.name in seen:
            return
        seen.add(module.name)
        yield from self._imported(module, seen)
        yield module
        # What a function imports is not needed before it is called.
        for statement in self._statements(module):
            yield from self._imported(_scope(module, statement), seen)

    def _imported(self, module: Module, seen: set[str]) -> Iterator[Module]:
        for binding in module.imports.values():
            if _is_ours(binding):
                yield from self._in_order(read_module(binding.module), seen)

    def _chosen_names(self) -> dict[Place, str]:
        """For each kept definition and import, the name it has in the file; the first that asks keeps its own."""
        taken: dict[str, Place | Binding] = {name: ("builtins", name) for name in dir(builtins)}
        chosen: dict[Place, str] = {}
        for module in self._modules:
            places = [(module.name, name) for kept in self._statements(module) for name in kept.defines]
            for place in [*places, *(place for place in self._outside if place[0] == module.name)]:
                thing = self._outside.get(place, place)
                wanted = place[1]
                # Where an alias gives way to the definition's own name, something local may be called like that.
                if thing in self._aliased or taken.setdefault(wanted, thing) != thing:
                    wanted = f"{wanted}_of_{module.name.replace('.', '_')}"
                    taken[wanted] = thing
                chosen[place] = wanted
        return chosen

    def _statements(self, module: Module) -> list[Statement]:
        return [statement for statement in module.statements if statement in self._kept]

    def source(self) -> str:
        """The file."""
        for module in filter(self._statements, self._modules):
            for statement in module.statements:
                if not statement.defines:
                    raise ValueError(
                        f"{module.name}: line {statement.node.lineno} acts on import; it cannot be bundled"
                    )
        imports = sorted({_import_line(found, self._names[place]) for place, found in self._outside.items()})
        docstring = f'"""{self._root.docstring}\n"""'
        head = [HEADER + docstring, "from __future__ import annotations", "\n".join(imports)]
        return "\n\n".join([*head, *map(self._section, filter(self._statements, self._modules))]) + "\n"

    def _section(self, module: Module) -> str:
        path = f"{module.name.replace('.', '/')}.py"
        about = [] if module is self._root else module.docstring.splitlines()
        title = "\n".join(f"# {line}".rstrip() for line in [f"---- {path} ".ljust(100, "-"), *about])
        return "\n\n\n".join([title, *(self._rendered(module, statement) for statement in self._statements(module))])

    def _rendered(self, module: Module, statement: Statement) -> str:
        scope, names = _scope(module, statement), dict[str, str]()
        for name in {*statement.defines, *statement.mentions}:
            target = _resolve(scope, name)
            place = (target[0].name, target[1]) if isinstance(target, tuple) else (scope.name, name)
            names[name] = self._names.get(place, name)
        changed = {old: new for old, new in names.items() if old != new}
        return renamed(statement.text, changed, PACKAGE) if changed or scope is not module else statement.text


def _is_ours(binding: Binding) -> bool:
    return binding.module.split(".")[0] == PACKAGE


def _scope(module: Module, statement: Statement) -> Module:
    """The module as a statement sees it: with what its functions import of ours."""
    inner = [node for node in ast.walk(statement.node) if isinstance(node, ast.ImportFrom)]
    ours = {name: found for node in inner for name, found in bindings(node) if _is_ours(found)}
    return replace(module, imports={**module.imports, **ours}) if ours else module


def _resolve(module: Module, name: str) -> tuple[Module, str] | Binding | None:
    """What a name stands for: a definition of ours, something of another package, or nothing of a module's."""
    if name in module.definitions:
        return module, name
    binding = module.imports.get(name)
    if binding is None or not _is_ours(binding):
        return binding
    if binding.name is None:
        raise ValueError(f"{module.name}: import names from {binding.module}, not the module; it cannot be bundled")
    found = _resolve(read_module(binding.module), binding.name)
    if found is None:
        raise ValueError(f"{module.name}: {name} of {binding.module} is no definition; it cannot be bundled")
    return found


def _import_line(binding: Binding, name: str) -> str:
    if binding.name is None:
        return f"import {binding.module}" + ("" if name == binding.module.split(".")[0] else f" as {name}")
    return f"from {binding.module} import {binding.name}" + ("" if name == binding.name else f" as {name}")
