"""Other names for what two modules call alike, where their sources share one file."""

import ast
from collections.abc import Mapping

from vapray.export.definitions import bindings

__all__ = ["renamed"]

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def renamed(text: str, names: Mapping[str, str], package: str) -> str:
    """The source of a top-level statement with other global names, and without its imports of ``package``.

    Names that a function binds itself are left alone. A statement in which nothing changes stays as it is written.
    """
    tree = ast.parse(text)
    before = ast.unparse(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.name = names.get(node.name, node.name)
    after = ast.unparse(ast.fix_missing_locations(_Renamer(names, package).visit(tree)))
    return text if after == before else after


class _Renamer(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str], package: str) -> None:
        self._names, self._package = names, package

    def _without(self, bound: set[str]) -> "_Renamer":
        return _Renamer({old: new for old, new in self._names.items() if old not in bound}, self._package)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = self._names.get(node.id, node.id)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        return ast.Pass() if (node.module or "").split(".")[0] == self._package else node

    def _visit_function(self, node: FunctionNode) -> FunctionNode:
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        node.args.kw_defaults = [default and self.visit(default) for default in node.args.kw_defaults]
        inner = self._without(_bound(node, self._package))
        if isinstance(node, ast.Lambda):
            node.body = inner.visit(node.body)
        else:
            node.decorator_list = [self.visit(above) for above in node.decorator_list]
            node.body = [inner.visit(statement) for statement in node.body]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.bases = [self.visit(base) for base in node.bases]
        node.keywords = [self.visit(keyword) for keyword in node.keywords]
        node.decorator_list = [self.visit(above) for above in node.decorator_list]
        # Methods do not see the names of the class's body.
        body = self._without({name for statement in node.body for name in _stored(statement)})
        node.body = [
            (self if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) else body).visit(statement)
            for statement in node.body
        ]
        return node


def _bound(node: FunctionNode, package: str) -> set[str]:
    """Names that a function binds: parameters, and what it stores; not what it imports of ``package``."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
    names = {argument.arg for argument in arguments if argument}
    for statement in [] if isinstance(node, ast.Lambda) else node.body:
        names |= _stored(statement)
        for inner in ast.walk(statement):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                names |= {name for name, found in bindings(inner) if found.module.split(".")[0] != package}
    return names


def _stored(node: ast.stmt) -> set[str]:
    """Names that a statement of a function's or a class's body binds in it."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    return {
        name for inner in ast.walk(node) for name in (
            [inner.id] if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
            else [inner.name] if isinstance(inner, ast.FunctionDef | ast.ExceptHandler) and inner.name
            else []
        )
    }  # fmt: skip
