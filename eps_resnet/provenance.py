"""What a result was made from: fingerprints of configuration, data and code, and the state of every run.

Fingerprints are layered, so that a change redoes only what depends on it: training, then evaluation, then tables.
No torch in here: Snakemake asks for every run's state each time it starts.
"""

import ast
import hashlib
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Literal

from eps_resnet.data.manifest import data_digest
from eps_resnet.data.manifest import read as read_manifest
from eps_resnet.files import read_json, sha256
from eps_resnet.layout import Layout
from eps_resnet.networks.architecture import blocks_of
from eps_resnet.registry import DataSet, Recipe, Registry, Run, recipe_of
from eps_resnet.schedule import epochs_of

PACKAGE = Path(__file__).parent
# The modules that decide the numbers (and the bytes) of each layer. The registry, the command line, checkpoints and
# progress are not among them: they change no result.
TRAINING_CODE = (
    *("arithmetic", "gate", "parallel", "schedule", "streams", "predict", "history", "train"),
    *("networks/architecture", "networks/layers", "networks/blocks", "networks/resnet"),
    *("data/batches", "data/augment"),
)
JPEG_CODE = ("data/jpeg",)  # for data sets whose images are JPEG files
EVALUATION_CODE = ("networks/size", "prune", "evaluate")
TABLE_CODE = ("published", "figures/__init__", "figures/results", "figures/remarks", "figures/drawing")

State = Literal["done", "partial", "stale", "missing"]


def digest(document: Any) -> str:
    """Sixteen hexadecimal digits of a JSON document's canonical form."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_digest(modules: tuple[str, ...]) -> str:
    """Digest of the modules' meaning: comments, docstrings and layout do not count."""
    return digest({name: _meaning((PACKAGE / f"{name}.py").read_text()) for name in modules})


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body.pop(0)  # a docstring
    return ast.dump(tree)


def training_code(data: DataSet) -> tuple[str, ...]:
    """The modules that decide the numbers of a training on a data set."""
    return TRAINING_CODE + (JPEG_CODE if data.format == "imagenet" else ())


def git_commit() -> str | None:
    """The commit of the code that runs, with "+dirty" if it was changed since; None outside a git repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+dirty" if _git("status", "--porcelain", "--", "eps_resnet", "config") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PACKAGE.parent), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def training_parts(registry: Registry, layout: Layout, key: str) -> dict[str, Any]:
    """Everything a training depends on; its digest is the training's fingerprint."""
    run = registry.run(key)
    data = registry.datasets[run.dataset]
    return {
        "run": run.model_dump(mode="json"),
        "recipe": _used(recipe_of(registry, run), run),
        "blocks": blocks_of(run.depth, data.recipe),
        "images": data.model_dump(mode="json", include={"classes", "channels", "size"}),
        "data": data_digest(layout, run.dataset),
        "code": code_digest(training_code(data)),
    }


def _used(recipe: Recipe, run: Run) -> dict[str, Any]:
    """The recipe's keys that bear on a run of that method: a change of the others leaves it as it is."""
    unused: set[str] = {"device", "epsilons"}
    if run.method != "epsilon_side":
        unused |= {"adaptive_steps", "restart_on", "gate_scope", "epsilon_start_epoch"}
    if run.method == "standard":
        unused.add("side_weight")
    document = recipe.model_dump(mode="json", exclude=unused)
    return {**document, "epochs": epochs_of(recipe, run)}


def training_fingerprint(registry: Registry, layout: Layout, key: str) -> str:
    """Fingerprint of a run's training."""
    return digest(training_parts(registry, layout, key))


def evaluation_fingerprint(registry: Registry, layout: Layout, key: str) -> str:
    """Fingerprint of a run's pruning and evaluation, which includes that of its training."""
    return digest({"training": training_fingerprint(registry, layout, key), "code": code_digest(EVALUATION_CODE)})


def table_fingerprint(registry: Registry, layout: Layout, name: str) -> str:
    """Fingerprint of a figure's tables and drawings: its selection, its code, and the results it shows."""
    figure = registry.figure(name)
    data = registry.datasets[figure.dataset]
    results = {
        key: [sha256(path) if path.exists() else None for path in result_files(layout, figure.figure, key)]
        for key in registry.runs_of(name)
    }
    return digest(
        {
            "figure": figure.model_dump(mode="json"),
            "data": data.model_dump(mode="json", include={"title", "published_name", "remark"}),
            "decay": data.recipe.weight_decay,
            "images": read_json(layout.data_manifest(figure.dataset)),
            "results": results,
            "states": {key: state(registry, layout, key) for key in results},
            "published": [sha256(path) for path in published_files(figure.figure)],
            "code": code_digest((*TABLE_CODE, f"figures/figure{figure.figure}")),
        }
    )


def result_files(layout: Layout, figure: str, key: str) -> list[Path]:
    """The files of a run that a figure of the paper reads."""
    curves = {"5": [layout.blocks(key)], "9": [layout.history(key)]}
    return [layout.metrics(key), *curves.get(figure, [])]


def published_files(figure: str) -> list[Path]:
    """The published data that a figure of the paper reads."""
    return [published_csv(), *([published_pattern_csv()] if figure == "1" else [])]


def published_csv() -> Path:
    """The published numbers, which belong to the project whatever the root of the results is."""
    return Path("paper_tables/published/published.csv")


def published_pattern_csv() -> Path:
    """The published pattern of kept blocks, Figure 1."""
    return Path("paper_tables/published/figure1.csv")


def is_trained(registry: Registry, layout: Layout, key: str) -> bool:
    """Whether the run's training is finished and its fingerprint the present one."""
    manifest = read_json(layout.manifest(key))
    return _fingerprint_in(manifest) == training_fingerprint(registry, layout, key)


def is_evaluated(registry: Registry, layout: Layout, key: str) -> bool:
    """Whether the run is trained and that training evaluated, both with the present fingerprints.

    The checkpoint may be absent: its digest in the manifest tells which one the metrics are of.
    """
    manifest, metrics = read_json(layout.manifest(key)), read_json(layout.metrics(key))
    return (
        is_trained(registry, layout, key)
        and _fingerprint_in(metrics) == evaluation_fingerprint(registry, layout, key)
        and metrics.get("model_sha256") == manifest.get("model_sha256")
    )


def is_drawn(registry: Registry, layout: Layout, name: str) -> bool:
    """Whether a figure's tables show the present results of its runs, all of which are done."""
    manifest = read_json(layout.table_manifest(name))
    is_of_these = _fingerprint_in(manifest) == table_fingerprint(registry, layout, name)
    return is_of_these and all(is_evaluated(registry, layout, key) for key in registry.runs_of(name))


def is_fetched(registry: Registry, layout: Layout, dataset: str) -> bool:
    """Whether the stored images come from a copy that the registry accepts, with its number of images."""
    stored = read_manifest(layout, dataset)
    return stored is not None and any(
        (stored.copy, stored.copy_sha256, stored.train_images, stored.test_images)
        == (archive.name, archive.sha256, archive.train_images, archive.test_images)
        for archive in registry.dataset(dataset).archives
    )


def _fingerprint_in(document: Any) -> str | None:
    """The fingerprint that a manifest or metrics file carries; None if it is missing or damaged."""
    fingerprint = document.get("fingerprint") if isinstance(document, dict) else None
    return fingerprint if isinstance(fingerprint, str) else None


def state(registry: Registry, layout: Layout, key: str) -> State:
    """`done`, `partial` (a checkpoint, or no metrics yet), `stale` (made from something else) or `missing`."""
    if is_evaluated(registry, layout, key):
        return "done"
    if is_trained(registry, layout, key):
        return "stale" if layout.metrics(key).exists() else "partial"
    if any(layout.work(training_fingerprint(registry, layout, key)).glob("epoch-*.pt")):
        return "partial"
    return "stale" if layout.manifest(key).exists() or layout.metrics(key).exists() else "missing"
