"""What differs between two versions of a layer's code, definition by definition."""

import ast
import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eps_resnet.provenance.code import STATEMENTS, statements

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Definition:
    """A function, a method or another statement of a module or class."""

    name: str
    file: Path
    node: ast.stmt

    @property
    def meaning(self) -> str:
        """The same for equal code."""
        return ast.dump(self.node)


@dataclass(frozen=True)
class Change:
    """A definition that is new or another than before.

    `statements`: those inside it that stood nowhere in the former code, as their first and last line.
    `has_other_value`: whether it is a constant with another value than before, or a function with another default,
    number or comparison.
    """

    definition: Definition
    statements: tuple[tuple[int, int], ...]
    has_other_value: bool

    @property
    def body(self) -> tuple[tuple[int, int], ...]:
        """All statements inside a function; none of anything else."""
        return tuple(map(_lines, _inside(self.definition.node)))


def changes(before: Iterable[Path], after: Iterable[Path]) -> list[Change]:
    """The changed and new definitions of a layer, given its modules before and after."""
    old = [definition for file in before for definition in _definitions(file)]
    known, named = {definition.meaning for definition in old}, {definition.name: definition for definition in old}
    stood = {_header(node) for definition in old for node in _inside(definition.node)}
    found = []
    for definition in (definition for file in after for definition in _definitions(file)):
        if definition.meaning not in known and not isinstance(definition.node, ast.Import | ast.ImportFrom):
            new = tuple(_lines(node) for node in _inside(definition.node) if _header(node) not in stood)
            found.append(Change(definition, new, _has_other_value(named.get(definition.name), definition)))
    return found


def _definitions(file: Path) -> Iterator[Definition]:
    for node in statements(file.read_text(encoding="utf-8")):
        if isinstance(node, ast.ClassDef):
            members, node.body = node.body, []
            for member in members:
                yield Definition(f"{node.name}.{_name(member)}", file, member)
        yield Definition(_name(node), file, node)


def _name(node: ast.stmt) -> str:
    if isinstance(node, Function | ast.ClassDef):
        return node.name
    return ", ".join(ast.unparse(target) for target in _targets(node)) or ast.unparse(node)[:40]


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []


def _inside(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements inside a function that do something when they are reached; what an error says changes nothing."""
    for statement in (inner for field in STATEMENTS for inner in getattr(node, field, [])):
        does = not isinstance(statement, Function | ast.ClassDef | ast.Raise | ast.Pass | ast.Nonlocal | ast.Global)
        if isinstance(statement, ast.stmt) and does and not _only_declares(statement):
            yield statement
        yield from _inside(statement)


def _only_declares(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and node.value is None


def _bare(node: ast.stmt) -> ast.stmt:
    """A statement without the statements inside it."""
    bare = copy.copy(node)
    for field in STATEMENTS:
        if hasattr(bare, field):
            setattr(bare, field, [])
    return bare


def _header(node: ast.stmt) -> str:
    return ast.dump(_bare(node))


def _lines(node: ast.stmt) -> tuple[int, int]:
    """First and last line of a statement, of one with a body those before it."""
    inner: list[ast.stmt] = getattr(node, "body", [])
    last = inner[0].lineno - 1 if inner else node.end_lineno or node.lineno
    return node.lineno, max(node.lineno, last)


def _has_other_value(then: Definition | None, now: Definition) -> bool:
    if then is None:
        return False
    if isinstance(then.node, Function) and isinstance(now.node, Function):
        former, present = _defaults(then.node), _defaults(now.node)
        is_other_default = any(present[name] != former[name] for name in present.keys() & former.keys())
        values = [sorted(_values(definition.node)) for definition in (then, now)]
        return is_other_default or (len(values[0]) == len(values[1]) and values[0] != values[1])
    constants = [getattr(definition.node, "value", None) for definition in (then, now)]
    return bool(_targets(now.node)) and len({ast.dump(value) if value else "" for value in constants}) > 1


def _values(node: ast.AST) -> Iterator[str]:
    """Numbers and comparisons in a function: whether < or <= is meant shows in no probe, as nothing is ever equal."""
    for inner in ast.walk(node):
        if (
            isinstance(inner, ast.Constant)
            and isinstance(inner.value, int | float)
            and inner.value not in (True, False)
        ):
            yield repr(inner.value)
        if isinstance(inner, ast.Compare):
            yield from (type(operator).__name__ for operator in inner.ops)


def _defaults(node: Function) -> dict[str, str]:
    """The default of each argument that has one."""
    placed, named = [*node.args.posonlyargs, *node.args.args], node.args.kwonlyargs
    pairs = [*zip(reversed(placed), reversed(node.args.defaults), strict=False)]
    pairs += [(argument, default) for argument, default in zip(named, node.args.kw_defaults, strict=True) if default]
    return {argument.arg: ast.dump(default) for argument, default in pairs}
