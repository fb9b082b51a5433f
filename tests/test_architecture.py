"""The house: imports run downwards only, and a layer of code is its folders."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from eps_resnet.experiments.models import FIGURES
from eps_resnet.provenance.code import BELOW, LAYERS, Layer, layer_files
from tests.conftest import PROJECT

PACKAGE = PROJECT / "eps_resnet"
# From top to bottom: each may import what stands below it.
ORDER = (
    *("__main__", "torchrun", "cli", "workflow", "operations", "evidence", "runs", "exchange", "measure", "provenance"),
    *("method", "data", "experiments", "files"),
)


def modules() -> dict[str, Path]:
    return {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The modules of this package that a module imports, wherever in it, with the line."""
    known = modules()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "eps_resnet":
            place = (node.module or "").partition(".")[2]
            for alias in node.names:
                inner = f"{place}.{alias.name}" if place else alias.name
                yield (inner if inner in known else place), node.lineno


def room(module: str) -> str:
    return module.split(".")[0]


def test_at_most_twenty_rooms_stand_at_the_top() -> None:
    assert len({room(name) for name in modules()} - {""}) <= 20
    assert {room(name) for name in modules()} - {""} <= set(ORDER)


def test_no_import_runs_upwards() -> None:
    upward = [
        f"{path.relative_to(PROJECT)}:{line}: {name} imports {imported}, which stands above it"
        for name, path in modules().items()
        for imported, line in imports(path)
        if name and ORDER.index(room(imported)) < ORDER.index(room(name))
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: {imported for imported, _ in imports(path)} - {name} for name, path in modules().items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def files_of(layer: Layer) -> set[Path]:
    """The modules of a layer; of the tables' those of all figures."""
    return {path for figure in FIGURES for path in layer_files(layer, figure)}


@pytest.mark.parametrize("layer", LAYERS)
def test_what_a_layer_imports_from_below_is_part_of_it_or_listed_with_the_reason(layer: Layer) -> None:
    files = files_of(layer)
    own = {_name(path) for path in files}
    strangers = {
        f"{path.relative_to(PROJECT)}:{line} imports {imported}: add it to LAYERS, or to BELOW with the reason"
        for path in files
        for imported, line in imports(path)
        if imported not in own and not any(f"{imported}.".startswith(f"{place}.") for place in BELOW[layer])
    }
    assert sorted(strangers) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_every_exception_is_still_imported_and_has_its_reason(layer: Layer) -> None:
    files = files_of(layer)
    found = {imported for path in files for imported, _ in imports(path)}
    for place, reason in BELOW[layer].items():
        assert any(f"{imported}.".startswith(f"{place}.") for imported in found), f"{place} is not imported"
        assert len(reason) > 20
