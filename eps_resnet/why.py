"""What would be redone for a run, step by step, and because of what."""

from dataclasses import dataclass

from eps_resnet import provenance
from eps_resnet.data.manifest import data_digest
from eps_resnet.files import is_sealed, read_json, sha256
from eps_resnet.layout import Layout
from eps_resnet.registry import Registry


@dataclass(frozen=True)
class Step:
    """A step of a run, and why it would be done; nothing if its result is current."""

    name: str
    reasons: tuple[str, ...]


def why(registry: Registry, layout: Layout, key: str) -> list[Step]:
    """The steps of a run in the order in which they are done: data, training, evaluation and each figure."""
    run = registry.run(key)
    data = _data(registry, layout, run.dataset)
    training = _training(registry, layout, key)
    evaluation = _evaluation(registry, layout, key, is_trained=not training)
    steps = [
        # Images are needed for what is redone, and else not looked for.
        Step(f"fetch {run.dataset}", data if training or evaluation else ()),
        Step("train", training),
        Step("prune, evaluate", evaluation),
    ]
    for name in registry.figures:
        if key in registry.runs_of(name):
            steps.append(Step(name, _figure(registry, layout, name, follows=bool(training or evaluation))))
    return steps


def _data(registry: Registry, layout: Layout, name: str) -> tuple[str, ...]:
    if not layout.store(name).exists():
        return ("the images are not here",)
    if not provenance.is_fetched(registry, layout, name):
        return ("data/ holds a copy that the registry does not accept",)
    if sha256(layout.store(name)) != data_digest(layout, name):
        return ("the images were altered",)
    return ()


def _training(registry: Registry, layout: Layout, key: str) -> tuple[str, ...]:
    manifest, now = read_json(layout.manifest(key)), provenance.training_parts(registry, layout, key)
    if manifest is None:
        folder = layout.work(provenance.training_fingerprint(registry, layout, key))
        checkpoints = sorted(folder.glob(provenance.CHECKPOINTS))
        return (f"it was interrupted; it resumes from {checkpoints[-1].name}",) if checkpoints else ("it never ran",)
    if not is_sealed(manifest):
        return (f"{layout.manifest(key)} was altered",)
    return tuple(provenance.reasons(manifest.get("made_from"), now))


def _evaluation(registry: Registry, layout: Layout, key: str, is_trained: bool) -> tuple[str, ...]:
    manifest, metrics = read_json(layout.manifest(key)), read_json(layout.metrics(key))
    if not is_trained:
        return ("it follows the training",)
    if metrics is None:
        return ("it never ran",)
    if not is_sealed(metrics):
        return (f"{layout.metrics(key)} was altered",)
    if metrics.get("model_sha256") != manifest.get("model_sha256"):
        return ("the metrics are of another network",)
    return tuple(provenance.reasons(metrics.get("made_from"), provenance.evaluation_parts(registry, layout, key)))


def _figure(registry: Registry, layout: Layout, name: str, follows: bool) -> tuple[str, ...]:
    manifest = read_json(layout.table_manifest(name))
    if follows:
        return ("it shows this run",)
    if manifest is None:
        return ("it was never drawn",)
    if not is_sealed(manifest):
        return (f"{layout.table_manifest(name)} was altered",)
    if reasons := provenance.reasons(manifest.get("made_from"), provenance.table_parts(registry, layout, name)):
        return tuple(reasons)
    waits = [k for k in registry.runs_of(name) if not provenance.is_evaluated(registry, layout, k)]
    return (f"runs that it shows are not done: {', '.join(waits)}",) if waits else ()
