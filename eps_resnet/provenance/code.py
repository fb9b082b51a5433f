"""The code that a result was made by: one digest for each layer, the same wherever in it a definition lies.

A layer is its folders: what a change in them redoes (docs/architecture.md). Which imports from below are no part of it,
and why, says BELOW in tests/test_architecture.py. Comments, docstrings, formatting, the place of a definition and the
words of an error do not count.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal

from eps_resnet.experiments.models import OWN_FIGURES, stem_of
from eps_resnet.files.digests import digest
from eps_resnet.files.errors import UserError

PACKAGE = Path(__file__).parent.parent
Layer = Literal["training", "evaluation", "tables"]
LAYERS: dict[Layer, tuple[str, ...]] = {
    "training": ("method", "data/decode.py"),
    "evaluation": ("measure",),
    "tables": ("evidence/figures", "evidence/published.py", "evidence/statistics.py"),
}
OUTSIDE = "not a git repository"  # as git words it
STATEMENTS = ("body", "orelse", "finalbody", "handlers", "cases")  # the fields of a node that hold statements


def layer_files(layer: Layer, figure: str | None = None, package: Path = PACKAGE) -> list[Path]:
    """The modules of a layer; of the tables' layer those of one figure, not the others' own modules."""
    files = modules(package / place for place in LAYERS[layer])
    own = None if figure is None else stem_of(figure)
    return [file for file in files if file.stem == own or not _makes_one_figure(file)]


def _makes_one_figure(file: Path) -> bool:
    return file.stem in OWN_FIGURES or file.stem.removeprefix("figure").isdigit()


def modules(places: Iterable[Path]) -> list[Path]:
    """These modules, and those of these folders."""
    return [file for place in places for file in ([place] if place.suffix else sorted(place.rglob("*.py")))]


@cache
def layer_digest(layer: Layer, figure: str | None = None) -> str:
    """The digest of a layer of the code that runs."""
    return code_digest(map(_source, layer_files(layer, figure)))


@cache
def _source(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def code_digest(sources: Iterable[str]) -> str:
    """Sixteen hexadecimal digits of what these modules' statements do, whatever their order and places."""
    found = [meaning for source in sources for meaning in _meanings(source)]
    imports = {line for line in found if line.startswith("Import")}  # a module more imports the same once more
    return digest(sorted(imports) + sorted(line for line in found if line not in imports))


@cache
def _meanings(source: str) -> tuple[str, ...]:
    return tuple(map(ast.dump, statements(source)))


def statements(source: str) -> list[ast.stmt]:
    """The statements at the top of a module, without all that changes no result."""
    return list(_bare(ast.parse(source).body))


def _bare(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements without docstrings, imports of this package and what an error says; imports one by one."""
    for place, node in enumerate(body):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and place == 0:
            continue
        if isinstance(node, ast.Import):
            yield from (ast.Import([name]) for name in node.names if not _is_own(name.name))
            continue
        if isinstance(node, ast.ImportFrom):
            if not _is_own(node.module) and not node.level and node.module != "__future__":
                yield from (ast.ImportFrom(node.module, [name], 0) for name in node.names)
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Raise):
            yield ast.copy_location(ast.Raise(node.exc.func if isinstance(node.exc, ast.Call) else node.exc), node)
            continue
        if isinstance(node, ast.Assert):
            node.msg = None
        for field in STATEMENTS:
            if inner := getattr(node, field, None):
                setattr(node, field, list(_bare(inner)))
        yield node


def _is_own(module: str | None) -> bool:
    return (module or "").split(".")[0] == PACKAGE.name


def git_commit() -> str | None:
    """The commit of the code that runs, with "+dirty" if it was changed since; None outside a git repository.

    None as well, and a word about it, where git does not tell.
    """
    try:
        commit = git("rev-parse", "HEAD").decode().strip()
        return commit + ("+dirty" if git("status", "--porcelain", "--", PACKAGE.name, "config") else "")
    except UserError as error:
        if OUTSIDE not in str(error):
            print(f"The manifest will name no commit of the code: {error}", file=sys.stderr)
        return None


def git(*arguments: str) -> bytes:
    """What git answers about this code's repository. Raises UserError, with git's reason, where it does not."""
    # git answers none but a repository's owner, out of care for programs that its settings name. Who calls this runs
    # the owner's code anyway.
    command = ["git", "-C", str(PACKAGE.parent), "-c", "safe.directory=*", *arguments]
    try:
        return subprocess.run(command, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C"}).stdout
    except OSError as error:
        raise UserError(f"git cannot be run ({error.strerror})") from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"git answers: {error.stderr.decode(errors='replace').strip()}") from None
