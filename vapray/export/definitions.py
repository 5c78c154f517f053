"""A module's top-level statements: what each defines, and what it needs."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.abc import InspectLoader
from importlib.util import find_spec
from typing import cast

__all__ = ["Binding", "Module", "Statement", "bindings", "read_module"]


@dataclass(frozen=True)
class Binding:
    """A name that a module imports: what it stands for elsewhere."""

    module: str
    """Dotted."""
    name: str | None
    """In that module; None for the module itself."""


@dataclass(eq=False)
class Statement:
    """A top-level statement that is no import."""

    node: ast.stmt
    """Parsed."""
    text: str
    """As written, with the comments directly above and a docstring directly below."""
    defines: tuple[str, ...]
    """Names."""

    @cached_property
    def needs(self) -> frozenset[str]:
        """Names that it looks up when it runs; those in annotations are not looked up."""
        return frozenset(_names(self.node, annotations=False))

    @cached_property
    def mentions(self) -> frozenset[str]:
        """All names in it."""
        return frozenset(_names(self.node, annotations=True))


@dataclass(eq=False)
class Module:
    """What a module is made of."""

    name: str
    """Dotted."""
    docstring: str
    """Its docstring, or nothing."""
    statements: list[Statement] = field(default_factory=list)
    """In order; ``__all__`` left out."""
    imports: dict[str, Binding] = field(default_factory=dict)
    """By the name that stands for each here; those for type checkers alone left out."""

    @cached_property
    def definitions(self) -> dict[str, list[Statement]]:
        """The statements that define each name."""
        found: dict[str, list[Statement]] = {}
        for statement in self.statements:
            for name in statement.defines:
                found.setdefault(name, []).append(statement)
        return found


@lru_cache
def read_module(name: str) -> Module:
    """Parse a module's source; nothing of it is run, but its packages are imported."""
    spec = find_spec(name)
    assert spec is not None, name
    source = cast(InspectLoader, spec.loader).get_source(name) or ""
    tree, lines = ast.parse(source), source.splitlines()
    module = Module(name, ast.get_docstring(tree) or "")
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    nodes = [node for node in tree.body if not _is_ignored(node)]
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module.imports.update(bindings(node, package))
        elif _is_docstring(node):
            if module.statements:
                module.statements[-1].text += "\n" + _text(node, lines)
        else:
            module.statements.append(Statement(node, _text(node, lines), tuple(_defined(node))))
    return module


def bindings(node: ast.Import | ast.ImportFrom, package: str = "") -> Iterator[tuple[str, Binding]]:
    """The names that an import gives, and what they stand for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.split(".")[0], Binding(alias.name, None)
        return
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    source = ".".join([*above, *filter(None, [node.module])])
    for alias in node.names:
        yield alias.asname or alias.name, Binding(source, alias.name)


def _names(node: ast.AST, *, annotations: bool) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    for field_name, value in ast.iter_fields(node):
        if field_name in ("annotation", "returns") and not annotations:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _names(child, annotations=annotations)


def _is_ignored(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    return isinstance(node, ast.Assign) and _defined(node) == ["__all__"]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    inner = list(ast.walk(node))
    stored = [found.id for found in inner if isinstance(found, ast.Name) and isinstance(found.ctx, ast.Store)]
    tried = [found for found in inner if isinstance(found, ast.Import | ast.ImportFrom)]
    return list(dict.fromkeys([*stored, *(name for found in tried for name, _ in bindings(found))]))


def _text(node: ast.stmt, lines: list[str]) -> str:
    """The source of a statement with its decorators and the comments above."""
    first = min([node.lineno, *(above.lineno for above in getattr(node, "decorator_list", []))]) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return "\n".join(lines[first : node.end_lineno])
