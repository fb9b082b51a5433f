"""What would be redone for a run, step by step, and because of what."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

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
    code, device = read_json(path)["made_from"]["code"], state.device_of(read_json(experiment.files.manifest))
    return in_words(path_between(layer, code, layer_digest(layer), device) or ())


def _training(experiment: Experiment) -> tuple[str, ...]:
    path, now = experiment.files.manifest, fingerprints.training_parts(experiment)
    manifest = read_json(path)
    if manifest is None:
        folder = experiment.layout.work(fingerprints.training_fingerprint(experiment))
        checkpoints = sorted(folder.glob(fingerprints.CHECKPOINTS))
        return (f"it was interrupted; it resumes from {checkpoints[-1].name}",) if checkpoints else ("it never ran",)
    if not is_sealed(manifest):
        return (f"{path} was altered",)
    return tuple(fingerprints.reasons(manifest.get("made_from"), now, "training", state.device_of(manifest)))


def _evaluation(experiment: Experiment, is_trained: bool) -> tuple[str, ...]:
    manifest, metrics = read_json(experiment.files.manifest), read_json(experiment.files.metrics)
    if not is_trained:
        return ("it follows the training",)
    if metrics is None:
        return ("it never ran",)
    if not is_sealed(metrics):
        return (f"{experiment.files.metrics} was altered",)
    if metrics.get("model_sha256") != manifest.get("model_sha256"):
        return ("the metrics are of another network",)
    now = fingerprints.evaluation_parts(manifest["fingerprint"])
    return tuple(fingerprints.reasons(metrics.get("made_from"), now, "evaluation"))


def _figure(registry: Registry, layout: Layout, name: str, follows: bool) -> tuple[str, ...]:
    manifest = read_json(layout.table_manifest(name))
    if follows:
        return ("it shows this run",)
    if manifest is None:
        return ("it was never drawn",)
    if not is_sealed(manifest):
        return (f"{layout.table_manifest(name)} was altered",)
    now = current.table_parts(registry, layout, name)
    if reasons := fingerprints.reasons(manifest.get("made_from"), now, "tables"):
        return tuple(reasons)
    waits = [k for k in registry.runs_of(name) if not state.is_evaluated(registry.experiment(k, layout))]
    return (f"runs that it shows are not done: {', '.join(waits)}",) if waits else ()
