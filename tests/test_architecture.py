"""The house: imports run downwards only, a layer of code is its folders, and texts are UTF-8 in every locale."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from eps_resnet.experiments.models import FIGURES
from eps_resnet.provenance.code import LAYERS, Layer, layer_files
from tests.conftest import PROJECT

PACKAGE = PROJECT / "eps_resnet"
# From top to bottom: each may import what stands below it.
ORDER = (
    *(
        "__main__",
        "torchrun",
        "cli",
        "workflow",
        "cluster",
        "operations",
        "evidence",
        "runs",
        "exchange",
        "measure",
        "provenance",
    ),
    *("method", "data", "experiments", "files"),
)

# What a layer imports from below that belongs to none of it, and why a change there changes none of its results.
BELOW: dict[Layer, dict[str, str]] = {
    "training": {
        "files": "writes and reads what it is given, stops processes, and words errors",
        "experiments": "every value that a training takes from it stands in made_from",
        "data.store": "reads images that have the SHA-256 that stands in made_from",
        "data.listing": "reads the files of a listing whose SHA-256 stands in made_from",
        "data.workers": "hands over what the training's own functions made, byte for byte and in order",
    },
    "evaluation": {
        "method": "decides the training whose fingerprint stands in made_from; attest compares metrics as well",
        "provenance.records": "says what kind of value each key has, and computes none",
        "files": "computes digests of files and documents",
        "experiments": "every value that an evaluation takes from it stands in made_from of the training",
    },
    "tables": {
        "provenance": "says which results are current; their SHA-256 and states stand in made_from",
        "method.history": "reads results whose SHA-256 stands in made_from",
        "files": "writes and reads what it is given, and words errors",
        "experiments": "every value that a table takes from it stands in made_from",
    },
}


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


TEXTS = {"read_text", "write_text"}  # without an encoding: in the locale's
OPENING = {"open", "fdopen"}
BINARY = {"os", "tarfile", "gzip", "zipped", "Image"}  # whose `open` reads bytes


def without_encoding(source: str) -> list[int]:
    """The lines that open a text, or a process that prints one, in whatever encoding the locale has."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and "encoding" not in {keyword.arg for keyword in node.keywords}
        and (_is_of_text(node) or any(keyword.arg in ("text", "universal_newlines") for keyword in node.keywords))
    ]


def _is_of_text(call: ast.Call) -> bool:
    of = call.func.value if isinstance(call.func, ast.Attribute) else None
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in OPENING:
        return of is not None and name in TEXTS  # `write_text` of files/atomic.py names it itself
    place = 1 if of is None or name == "fdopen" else 0  # of the mode: after what is opened
    modes = [*call.args[place:][:1], *(word.value for word in call.keywords if word.arg == "mode")]
    is_binary = any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)
    return not is_binary and (name == "fdopen" or getattr(of, "id", "") not in BINARY)


def test_every_text_is_read_and_written_in_a_named_encoding() -> None:
    files = [*modules().values(), *(PROJECT / "benchmarks").glob("*.py")]
    found = [
        f"{path.relative_to(PROJECT)}:{line}: name the encoding, else it is the locale's"
        for path in files
        for line in without_encoding(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "p.read_text()",
        "p.write_text(t)",
        "p.open()",
        "open(p)",
        "p.open('a+')",
        "open(p, mode='w')",
        "run(c, text=True)",
    ],
)
def test_what_would_be_in_the_locales_encoding_is_noticed(code: str) -> None:
    assert without_encoding(code) == [1]
    assert without_encoding(f"{code[:-1]}, encoding='utf-8')".replace("(, ", "(")) == []


def test_bytes_need_no_encoding() -> None:
    assert (
        without_encoding(
            "p.open('rb')\nopen(p, 'ab')\nos.open(p, os.O_RDONLY)\nos.fdopen(f, 'wb')\ngzip.open(p)\nrun(c)"
        )
        == []
    )
