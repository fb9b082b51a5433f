"""What would be redone for a run, step by step, and because of what."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from eps_resnet.data.manifest import data_digest
from eps_resnet.evidence.figures import current
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import is_sealed, sha256
from eps_resnet.provenance import fingerprints, state
from eps_resnet.provenance.code import Layer, layer_digest
from eps_resnet.provenance.lineage import in_words, path_between


@dataclass(frozen=True)
class Step:
    """A step of a run, and why it would be done; nothing if its result is current.

    `rests_on`: what of the lineage its result rests on, where other code than the present made it.
    """

    name: str
    reasons: tuple[str, ...]
    rests_on: str = ""


def why(registry: Registry, layout: Layout, key: str) -> list[Step]:
    """The steps of a run in the order in which they are done: data, training, evaluation and each figure."""
    return why_each(registry, layout, [key])[key]


def why_each(registry: Registry, layout: Layout, keys: Iterable[str]) -> dict[str, list[Step]]:
    """The same of several runs, by key; what they share, images and figures, is looked at once."""
    data, figure = cache(partial(_data, registry, layout)), cache(partial(_figure, registry, layout))
    shown = {name: registry.runs_of(name) for name in registry.figures}
    found = {}
    for key in keys:
        experiment = registry.experiment(key, layout)
        name = experiment.run.dataset
        training = _training(experiment)
        evaluation = _evaluation(experiment, is_trained=not training)
        manifest, metrics = experiment.files.manifest, experiment.files.metrics
        is_due = bool(training or evaluation)
        found[key] = [
            # Images are needed for what is redone, and else not looked for.
            Step(f"fetch {name}", data(name) if is_due else ()),
            Step("train", training, _rests_on(experiment, manifest, "training", training)),
            Step("prune, evaluate", evaluation, _rests_on(experiment, metrics, "evaluation", evaluation)),
            *(Step(f, figure(f, follows=is_due)) for f in registry.figures if key in shown[f]),
        ]
    return found


def _data(registry: Registry, layout: Layout, name: str) -> tuple[str, ...]:
    if not layout.store(name).exists():
        return ("the images are not here",)
    if not state.is_fetched(layout, name, registry.datasets[name]):
        return ("data/ holds a copy that the registry does not accept",)
    if sha256(layout.store(name)) != data_digest(layout, name):
        return ("the images were altered",)
    return ()


def _rests_on(experiment: Experiment, path: Path, layer: Layer, reasons: tuple[str, ...]) -> str:
    if reasons:
        return ""
    code, device = read_json(path)["made_from"]["code"], state.trained_on(read_json(experiment.files.manifest))
    return in_words(path_between(layer, code, layer_digest(layer), device) or ())


def _training(experiment: Experiment) -> tuple[str, ...]:
    path = experiment.files.manifest
    folder = experiment.layout.work(fingerprints.training_fingerprint(experiment))
    if read_json(path) is None and (checkpoints := sorted(folder.glob(fingerprints.CHECKPOINTS))):
        return (f"it was interrupted; it resumes from {checkpoints[-1].name}",)
    return _reasons(path, fingerprints.training_parts(experiment), "training")


def _evaluation(experiment: Experiment, is_trained: bool) -> tuple[str, ...]:
    if not is_trained:
        return ("it follows the training",)
    manifest, path = read_json(experiment.files.manifest), experiment.files.metrics
    metrics = read_json(path)
    if is_sealed(metrics) and metrics.get("model_sha256") != manifest.get("model_sha256"):
        return ("the metrics are of another network",)
    return _reasons(path, fingerprints.evaluation_parts(manifest["fingerprint"]), "evaluation")


def _figure(registry: Registry, layout: Layout, name: str, follows: bool) -> tuple[str, ...]:
    if follows:
        return ("it shows this run",)
    path, now = layout.table_manifest(name), current.table_parts(registry, layout, name)
    if reasons := _reasons(path, now, "tables", never="it was never drawn"):
        return reasons
    waits = [k for k in registry.runs_of(name) if not state.is_evaluated(registry.experiment(k, layout))]
    return (f"runs that it shows are not done: {', '.join(waits)}",) if waits else ()


def _reasons(path: Path, now: dict[str, Any], layer: Layer, never: str = "it never ran") -> tuple[str, ...]:
    """Why what the document at `path` is about would be redone; nothing if it is current."""
    document = read_json(path)
    if document is None:
        return (never,)
    if not is_sealed(document):
        return (f"{path} was altered",)
    return tuple(fingerprints.reasons(document.get("made_from"), now, layer, state.trained_on(document)))
