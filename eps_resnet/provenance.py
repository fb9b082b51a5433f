"""What a result was made from: fingerprints of configuration, data and code, and the state of every run.

Fingerprints are layered, so that a change redoes only what depends on it: training, then evaluation, then tables.
No torch in here: Snakemake asks for every run's state each time it starts.
"""

import ast
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Literal

from eps_resnet.data.manifest import data_digest, is_accepted
from eps_resnet.data.manifest import read as read_manifest
from eps_resnet.files import Digests, digest, is_sealed, read_json, sha256
from eps_resnet.layout import Layout
from eps_resnet.networks.architecture import blocks_of
from eps_resnet.registry import DataSet, Recipe, Registry, Run, recipe_of
from eps_resnet.schedule import epochs_of

PACKAGE = Path(__file__).parent
# The modules that decide the numbers (and the bytes) of each layer. The registry, the command line, checkpoints and
# progress are not among them: they change no result.
TRAINING_CODE = (
    *("arithmetic", "gate", "parallel", "schedule", "streams", "predict", "history", "training", "train"),
    "certificate",
    *("networks/architecture", "networks/layers", "networks/blocks", "networks/resnet"),
    *("data/batches", "data/augment"),
)
JPEG_CODE = ("data/jpeg",)  # for data sets whose images are JPEG files
EVALUATION_CODE = ("networks/size", "prune", "evaluate", "metrics")
TABLE_KEYS = ("title", "published_name", "remark", "reduced")  # of a data set, that tables and drawings show
TABLE_CODE = ("published", "figures/__init__", "figures/results", "figures/remarks", "figures/drawing")

CHECKPOINTS = "epoch-*.safetensors"  # the files of an unfinished training
SHOWN = 60  # characters of a value in a message
STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)  # the nodes that statements are below

State = Literal["done", "partial", "stale", "missing"]


def code_digests(modules: tuple[str, ...]) -> dict[str, str]:
    """Digest of each module's meaning: comments, docstrings and layout do not count."""
    return {name: _code_digest(name) for name in modules}


@cache
def _code_digest(module: str) -> str:
    return digest(_meaning((PACKAGE / f"{module}.py").read_text()))


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    _remove_docstrings(tree)
    return ast.dump(tree)


def _remove_docstrings(node: ast.AST) -> None:
    body = getattr(node, "body", None)
    if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body.pop(0)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, STATEMENTS):  # not into expressions, most of a tree: this is done at every start
            _remove_docstrings(child)


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
        "code": code_digests(training_code(data)),
        **({"simulated": True} if registry.simulated else {}),
    }


def _used(recipe: Recipe, run: Run) -> dict[str, Any]:
    """The recipe's keys that bear on a run of that method: a change of the others leaves it as it is."""
    unused: set[str] = {"device", "epsilons"}
    if run.method != "epsilon_side":
        unused |= {"adaptive_steps", "restart_on", "gate_scope", "epsilon_start_epoch"}
        unused.add("discarded_in_evaluation")
    if run.method == "standard":
        unused.add("side_weight")
    document = recipe.model_dump(mode="json", exclude=unused)
    return {**document, "epochs": epochs_of(recipe, run)}


def training_fingerprint(registry: Registry, layout: Layout, key: str) -> str:
    """Fingerprint of a run's training."""
    return digest(training_parts(registry, layout, key))


def evaluation_parts(registry: Registry, layout: Layout, key: str) -> dict[str, Any]:
    """What a run's pruning and evaluation depend on, its training among it."""
    return {"training": training_fingerprint(registry, layout, key), "code": code_digests(EVALUATION_CODE)}


def evaluation_fingerprint(registry: Registry, layout: Layout, key: str) -> str:
    """Fingerprint of a run's pruning and evaluation."""
    return digest(evaluation_parts(registry, layout, key))


def table_parts(registry: Registry, layout: Layout, name: str) -> dict[str, Any]:
    """What a figure's tables and drawings depend on: its selection, its code, and the results it shows."""
    figure = registry.figure(name)
    data = registry.datasets[figure.dataset]
    results = {
        key: [sha256(path) if path.exists() else None for path in result_files(layout, figure.figure, key)]
        for key in registry.runs_of(name)
    }
    return {
        "figure": figure.model_dump(mode="json"),
        "data": data.model_dump(mode="json", include=set(TABLE_KEYS)),
        "recipe": data.recipe.model_dump(mode="json") if data.reduced else None,
        "decay": data.recipe.weight_decay,
        "images": read_json(layout.data_manifest(figure.dataset)),
        "results": results,
        "states": {key: state(registry, layout, key) for key in results},
        "published": [sha256(path) for path in published_files(figure.figure)],
        "code": code_digests((*TABLE_CODE, f"figures/figure{figure.figure}")),
    }


def table_fingerprint(registry: Registry, layout: Layout, name: str) -> str:
    """Fingerprint of a figure's tables and drawings."""
    return digest(table_parts(registry, layout, name))


def reasons(then: Any, now: Any) -> list[str]:
    """Why something made from `then` is stale: each difference from `now` in words; nothing if it is current."""
    lines = []
    for line in differences(then, json.loads(json.dumps(now))):  # JSON knows no tuples
        module = line.split(" was ")[0].removeprefix("code.")
        lines.append(f"eps_resnet/{module}.py was changed" if line.startswith("code.") else line)
    return lines


def is_altered(path: Path, expected: str | None, digests: Digests) -> bool:
    """Whether a file that may be absent is there, but not with the SHA-256 it should have."""
    return path.exists() and digests.sha256(path) != expected


def differences(then: Any, now: Any, where: str = "") -> list[str]:
    """The leaves in which two JSON documents differ, one line each: its dotted name, what it was and what it is."""
    if isinstance(then, dict) and isinstance(now, dict):
        names = [*now, *(name for name in then if name not in now)]
        inner = [differences(then.get(n), now.get(n), f"{where}.{n}" if where else n) for n in names]
        return [line for part in inner for line in part]
    return [] if then == now else [f"{where or 'all'} was {_shown(then)}, is {_shown(now)}"]


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


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
    """Whether the run's training is finished and its fingerprint the present one. The network may be absent."""
    manifest = read_json(layout.manifest(key))
    return is_sealed(manifest) and _fingerprint_in(manifest) == training_fingerprint(registry, layout, key)


def is_evaluated(registry: Registry, layout: Layout, key: str) -> bool:
    """Whether the run is trained and that training evaluated, both with the present fingerprints.

    The checkpoint may be absent: its digest in the manifest tells which one the metrics are of.
    """
    manifest, metrics = read_json(layout.manifest(key)), read_json(layout.metrics(key))
    return (
        is_trained(registry, layout, key)
        and is_sealed(metrics)
        and _fingerprint_in(metrics) == evaluation_fingerprint(registry, layout, key)
        and metrics.get("model_sha256") == manifest.get("model_sha256")
    )


def is_drawn(registry: Registry, layout: Layout, name: str) -> bool:
    """Whether a figure's tables show the present results of its runs, all of which are done."""
    manifest = read_json(layout.table_manifest(name))
    is_of_these = is_sealed(manifest) and _fingerprint_in(manifest) == table_fingerprint(registry, layout, name)
    return is_of_these and all(is_evaluated(registry, layout, key) for key in registry.runs_of(name))


def is_fetched(registry: Registry, layout: Layout, dataset: str) -> bool:
    """Whether the stored images come from a copy that the registry accepts, with its number of images."""
    stored = read_manifest(layout, dataset)
    return stored is not None and is_accepted(stored, registry.dataset(dataset))


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
    if any(layout.work(training_fingerprint(registry, layout, key)).glob(CHECKPOINTS)):
        return "partial"
    return "stale" if layout.manifest(key).exists() or layout.metrics(key).exists() else "missing"
