"""What a result was made from: configuration, data and code, as a document; its digest is the result's fingerprint.

Fingerprints are layered, so that a change redoes only what depends on it: training, then evaluation, then tables.
"""

import json
from pathlib import Path
from typing import Any

from eps_resnet.data.manifest import data_digest
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Recipe, Run
from eps_resnet.experiments.registry import Registry, recipe_of
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import Digests, digest
from eps_resnet.method.networks.architecture import blocks_of
from eps_resnet.method.schedule import epochs_of
from eps_resnet.provenance.code import LAYERS, Layer, layer_digest
from eps_resnet.provenance.lineage import path_between

CHECKPOINTS = "epoch-*.safetensors"  # the files of an unfinished training
SHOWN = 60  # characters of a value in a message
# Keys of a recipe that were added after results had been made: the value by which a training is as it was without the
# key. With that value the key is left out, so that the older results stay what they are.
NEUTRAL: dict[str, Any] = {}


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
        "code": layer_digest("training"),
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
    used = {key: value for key, value in document.items() if key not in NEUTRAL or value != NEUTRAL[key]}
    return {**used, "epochs": epochs_of(recipe, run)}


def training_fingerprint(registry: Registry, layout: Layout, key: str) -> str:
    """Fingerprint of a run's training by the present code."""
    return digest(training_parts(registry, layout, key))


def evaluation_parts(registry: Registry, layout: Layout, key: str) -> dict[str, Any]:
    """What a run's pruning and evaluation depend on: the training that is here, and the code that measures."""
    training = fingerprint_in(read_json(layout.manifest(key))) or training_fingerprint(registry, layout, key)
    return {"training": training, "code": layer_digest("evaluation")}


def fingerprint_in(document: Any) -> str | None:
    """The fingerprint that a manifest or metrics file carries, if it is that of what it says it was made from."""
    if not isinstance(document, dict):
        return None
    fingerprint = document.get("fingerprint")
    return fingerprint if fingerprint == digest(document.get("made_from")) else None


def reasons(then: Any, now: dict[str, Any], layer: Layer, device: str = "cpu") -> list[str]:
    """Why something made from `then` is stale: each difference from `now` in words; nothing if it is current.

    The code may be another where the lineage leads from it to the present one.
    """
    now = json.loads(json.dumps(now))  # JSON knows no tuples
    if isinstance(then, dict) and path_between(layer, then.get("code"), now["code"], device) is not None:
        then = {**then, "code": now["code"]}
    found = differences(then, now)
    changed = [line for line in found if line.split(" was ")[0].split(".")[0] == "code"]
    places = " and ".join(f"eps_resnet/{place}" for place in LAYERS[layer])
    words = [f"the code in {places} was changed; `eps-resnet attest` tells whether it gives the same results"]
    return [line for line in found if line not in changed] + (words if changed else [])


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


def is_altered(path: Path, expected: str | None, digests: Digests) -> bool:
    """Whether a file that may be absent is there, but not with the SHA-256 it should have."""
    return path.exists() and digests.sha256(path) != expected
