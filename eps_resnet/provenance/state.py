"""Whether a data set is fetched and a run trained and evaluated, from what is there now."""

from typing import Any, Literal

from eps_resnet.data.manifest import is_accepted
from eps_resnet.data.manifest import read as read_manifest
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import DataSet
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import is_sealed
from eps_resnet.provenance import fingerprints
from eps_resnet.provenance.code import Layer

State = Literal["done", "partial", "stale", "missing"]


def is_current(document: Any, now: dict[str, Any], layer: Layer) -> bool:
    """Whether a manifest or metrics file is unaltered and was made from what is there now."""
    is_sound = is_sealed(document) and fingerprints.fingerprint_in(document) is not None
    return is_sound and not fingerprints.staleness(document["made_from"], now, layer, trained_on(document))


def trained_on(manifest: Any) -> str:
    """What a run was trained on, as its manifest says, and in what if not in float32: `cpu in bfloat16`.

    The CPU for what is no manifest of a training.
    """
    if not isinstance(manifest, dict) or "machine" not in manifest:
        return "cpu"
    device = str(_part(manifest, "machine").get("device", "unknown"))
    precision = _part(_part(manifest, "made_from"), "recipe").get("precision", "float32")
    return device if precision == "float32" else f"{device} in {precision}"


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of a manifest that anybody may have written: empty where it is no mapping."""
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def is_trained(experiment: Experiment) -> bool:
    """Whether the run's training is finished and made from what is there now. The network may be absent."""
    return is_current(read_json(experiment.files.manifest), fingerprints.training_parts(experiment), "training")


def is_evaluated(experiment: Experiment) -> bool:
    """Whether the run is trained and that training evaluated, both made from what is there now.

    The checkpoint may be absent: its digest in the manifest tells which one the metrics are of.
    """
    if not is_trained(experiment):
        return False
    manifest, metrics = read_json(experiment.files.manifest), read_json(experiment.files.metrics)
    return (
        is_current(metrics, fingerprints.evaluation_parts(manifest["fingerprint"]), "evaluation")
        and metrics.get("model_sha256") == manifest.get("model_sha256")
    )  # fmt: skip


def is_fetched(layout: Layout, dataset: str, data: DataSet) -> bool:
    """Whether the stored images come from a copy that the registry accepts, with its number of images."""
    stored = read_manifest(layout, dataset)
    return stored is not None and is_accepted(stored, data)


def state(experiment: Experiment) -> State:
    """`done`, `partial` (a checkpoint, or no metrics yet), `stale` (made from something else) or `missing`."""
    files = experiment.files
    if is_evaluated(experiment):
        return "done"
    if is_trained(experiment):
        return "stale" if files.metrics.exists() else "partial"
    if any(experiment.layout.work(fingerprints.training_fingerprint(experiment)).glob(fingerprints.CHECKPOINTS)):
        return "partial"
    return "stale" if files.manifest.exists() or files.metrics.exists() else "missing"
