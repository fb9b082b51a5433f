"""Complete by construction: no constant and no default of what makes results can change unnoticed."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eps_resnet.files.atomic import read_json
from eps_resnet.provenance.code import LAYERS, PACKAGE, Layer, code_digest, layer_files
from eps_resnet.provenance.fingerprints import staleness

FOLDERS = ("method", "measure", "evidence")
# What lies in these folders and makes nothing that is kept as current: no change of it can be missed.
MADE_ANEW = {
    "evidence/claims": "claims are judged by each `eps-resnet claims` and each report",
    "evidence/inference.py": "the tests behind verdicts and claims, which are made each time",
    "evidence/__init__.py": "it sets matplotlib to the defaults that drawings start from; bytes are compared by a test",
    "evidence/compare.py": "numbers are compared by each `eps-resnet compare` and each report",
    "evidence/consistency.py": "the checks of the paper are computed each time",
    "evidence/margins.py": "margins of verdicts and claims, which are made each time",
    "evidence/sizes.py": "sizes are counted anew by each `eps-resnet compare` and `eps-resnet consistency`",
    "evidence/reproduction.py": "a demo is compared with the committed results each time",
    "evidence/verdict.py": "verdicts are given each time; no table holds one",
    "evidence/report": "the page is written after each call of Snakemake and by `eps-resnet report`",
}
RESULTS: dict[Layer, str] = {
    "training": "results/digits-20-epsilon_side-2p5-s0/manifest.json",
    "evaluation": "results/digits-20-epsilon_side-2p5-s0/metrics.json",
    "tables": "paper_tables/figure6-digits/manifest.json",
}


def values(tree: ast.Module) -> Iterator[tuple[str, Any, int | str]]:
    """Each constant of a module or class and each default argument: its name, and what holds it at which place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.Assign | ast.AnnAssign) and inner.value is not None:
                    yield ast.unparse(inner)[:50], vars(inner), "value"
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            for defaults in (node.args.defaults, node.args.kw_defaults):
                for index, default in enumerate(defaults):
                    if default is not None:
                        yield f"{getattr(node, 'name', 'lambda')}({ast.unparse(default)})", defaults, index


def altered(source: str) -> Iterator[tuple[str, str]]:
    """The module with one constant or default after another changed, and which one that is."""
    for number in range(len(list(values(ast.parse(source))))):
        tree = ast.parse(source)
        name, holder, place = list(values(tree))[number]
        holder[place] = ast.Tuple([holder[place], ast.Constant("another")], ast.Load())
        yield name, ast.unparse(ast.fix_missing_locations(tree))


def files() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (PACKAGE / folder).rglob("*.py"))


def layer_of(path: Path) -> Layer | None:
    return next((layer for layer in LAYERS if path in layer_files(layer, path.stem.removeprefix("figure"))), None)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_changed_constant_or_default_makes_stale_what_depends_on_it(path: Path) -> None:
    layer = layer_of(path)
    if layer is None and not list(values(ast.parse(path.read_text(encoding="utf-8")))):
        return
    if layer is None:
        place = str(path.relative_to(PACKAGE))
        assert place in MADE_ANEW or any(place.startswith(f"{folder}/") for folder in MADE_ANEW), place
        return
    source = path.read_text(encoding="utf-8")
    others = [other.read_text(encoding="utf-8") for other in layer_files(layer, "6") if other != path]
    made_from = read_json(Path(RESULTS[layer]))["made_from"]
    is_first = True
    for name, text in altered(source):
        assert code_digest([text]) != code_digest([source]), name
        if is_first:  # the digest of a layer is that of all its statements: one constant stands for the others
            now = {**made_from, "code": code_digest([text, *others])}
            assert next(found.place for found in staleness(made_from, now, layer)).startswith("code"), name
        is_first = False


def test_every_exception_names_what_is_there() -> None:
    assert [place for place in MADE_ANEW if not (PACKAGE / place).exists()] == []


def test_a_changed_default_of_a_recipe_makes_stale_the_runs_that_it_bears_on(experiments: Any, tmp_path: Path) -> None:
    from eps_resnet.experiments.layout import Layout
    from eps_resnet.provenance.fingerprints import training_parts

    experiment = experiments.experiment("digits-20-epsilon_side-2p5-s0", Layout())
    now = training_parts(experiment)
    assert staleness(read_json(experiment.files.manifest)["made_from"], now, "training") == []
    for key, value in now["recipe"].items():
        other = {**now, "recipe": {**now["recipe"], key: [value, "another"]}}
        found = staleness(read_json(experiment.files.manifest)["made_from"], other, "training")
        assert found, key
