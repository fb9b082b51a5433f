"""What a result was made from: configuration, data and code, as a document; its digest is the result's fingerprint.

Fingerprints are layered, so that a change redoes only what depends on it: training, then evaluation, then tables.
"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from eps_resnet.data.manifest import data_digest
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import digest
from eps_resnet.provenance.code import LAYERS, Layer, layer_digest
from eps_resnet.provenance.lineage import path_between

CHECKPOINTS = "epoch-*.safetensors"  # the files of an unfinished training
SHOWN = 60  # characters of a value in a message
# Keys of a recipe or a run that were added after results had been made: the value with which a training is as it was
# without the key. With that value the key is left out, so that older results stay what they are.
NEUTRAL: dict[str, Any] = {"first_rate": None, "variant": None}


def training_parts(experiment: Experiment) -> dict[str, Any]:
    """Everything a training depends on; its digest is the training's fingerprint."""
    return {
        **_configuration(experiment),
        "data": data_digest(experiment.layout, experiment.run.dataset),
        "code": layer_digest("training"),
    }


@cache
def _configuration(experiment: Experiment) -> dict[str, Any]:
    return {
        "run": _without_neutral(experiment.run.model_dump(mode="json")),
        "recipe": _used(experiment),
        "blocks": list(experiment.blocks),
        "images": experiment.data.model_dump(mode="json", include={"classes", "channels", "size"}),
    }


def _without_neutral(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in NEUTRAL or value != NEUTRAL[key]}


def _used(experiment: Experiment) -> dict[str, Any]:
    """The recipe's keys that bear on a run of that method: a change of the others leaves it as it is."""
    unused: set[str] = {"device", "epsilons"}
    if experiment.run.method != "epsilon_side":
        unused |= {"adaptive_steps", "restart_on", "gate_scope", "epsilon_start_epoch", "discarded_in_evaluation"}
    if experiment.run.method == "standard":
        unused.add("side_weight")
    used = _without_neutral(experiment.recipe.model_dump(mode="json", exclude=unused))
    method = experiment.run.method
    return {**used, "epochs": experiment.epochs, "rate_steps": experiment.recipe.rate_steps_of(method)}


def training_fingerprint(experiment: Experiment) -> str:
    """Fingerprint of a run's training by the present code."""
    return digest(training_parts(experiment))


def evaluation_parts(training: str) -> dict[str, Any]:
    """What the pruning and evaluation of a training with that fingerprint depend on."""
    return {"training": training, "code": layer_digest("evaluation")}


def fingerprint_in(document: Any) -> str | None:
    """The fingerprint that a manifest or metrics file carries, if it is that of what it says it was made from."""
    if not isinstance(document, dict):
        return None
    fingerprint = document.get("fingerprint")
    return fingerprint if fingerprint == digest(document.get("made_from")) else None


def trained_fingerprint(experiment: Experiment) -> str:
    """Fingerprint of the training whose results are here, or where there are none of the one that is due."""
    return fingerprint_in(read_json(experiment.files.manifest)) or training_fingerprint(experiment)


@dataclass(frozen=True)
class Difference:
    """One value of what a result was made from that is another now; `place` is its dotted name."""

    place: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.place or 'all'} was {_shown(self.then)}, is {_shown(self.now)}"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def differences(then: Any, now: Any, place: str = "") -> list[Difference]:
    """The leaves in which two JSON documents differ."""
    if isinstance(then, dict) and isinstance(now, dict):
        names = [*now, *(name for name in then if name not in now)]
        inner = [differences(then.get(n), now.get(n), f"{place}.{n}" if place else n) for n in names]
        return [difference for part in inner for difference in part]
    return [] if then == now else [Difference(place, then, now)]


def staleness(then: Any, now: dict[str, Any], layer: Layer, device: str = "cpu") -> list[Difference]:
    """In what that made something differs from `now`; nothing if it is current.

    The code may be another where the lineage leads from it to the present one, for results of that device.
    """
    now = json.loads(json.dumps(now))  # JSON knows no tuples
    if isinstance(then, dict) and path_between(layer, then.get("code"), now["code"], device) is not None:
        then = {**then, "code": now["code"]}
    return differences(then, now)


def reasons(then: Any, now: dict[str, Any], layer: Layer, device: str = "cpu") -> list[str]:
    """Why something made from `then` is stale, in words; nothing if it is current."""
    found = staleness(then, now, layer, device)
    words = [str(difference) for difference in found if difference.place.split(".")[0] != "code"]
    if len(words) < len(found):
        places = " and ".join(f"eps_resnet/{place}" for place in LAYERS[layer])
        words.append(f"the code in {places} was changed; `eps-resnet attest` tells whether its results are the same")
    return words
