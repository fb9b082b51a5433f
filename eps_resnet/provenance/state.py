"""Whether a data set is fetched and a run trained and evaluated, from what is there now."""

from typing import Any, Literal

from eps_resnet.data.manifest import is_accepted
from eps_resnet.data.manifest import read as read_manifest
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import is_sealed
from eps_resnet.provenance.code import Layer
from eps_resnet.provenance.fingerprints import (
    CHECKPOINTS,
    evaluation_parts,
    fingerprint_in,
    reasons,
    training_fingerprint,
    training_parts,
)

State = Literal["done", "partial", "stale", "missing"]


def is_current(document: Any, now: dict[str, Any], layer: Layer, device: str = "cpu") -> bool:
    """Whether a manifest or metrics file is unaltered and was made from what is there now."""
    is_sound = is_sealed(document) and fingerprint_in(document) is not None
    return is_sound and not reasons(document["made_from"], now, layer, device)


def is_trained(registry: Registry, layout: Layout, key: str) -> bool:
    """Whether the run's training is finished and made from what is there now. The network may be absent."""
    manifest = read_json(layout.manifest(key))
    return is_current(manifest, training_parts(registry, layout, key), "training", device_of(manifest))


def device_of(manifest: Any) -> str:
    """What a run was trained on, as its manifest says."""
    return str(manifest["machine"]["device"]) if isinstance(manifest, dict) and "machine" in manifest else "cpu"


def is_evaluated(registry: Registry, layout: Layout, key: str) -> bool:
    """Whether the run is trained and that training evaluated, both made from what is there now.

    The checkpoint may be absent: its digest in the manifest tells which one the metrics are of.
    """
    manifest, metrics = read_json(layout.manifest(key)), read_json(layout.metrics(key))
    return (
        is_trained(registry, layout, key)
        and is_current(metrics, evaluation_parts(registry, layout, key), "evaluation")
        and metrics.get("model_sha256") == manifest.get("model_sha256")
    )


def is_fetched(registry: Registry, layout: Layout, dataset: str) -> bool:
    """Whether the stored images come from a copy that the registry accepts, with its number of images."""
    stored = read_manifest(layout, dataset)
    return stored is not None and is_accepted(stored, registry.dataset(dataset))


def state(registry: Registry, layout: Layout, key: str) -> State:
    """`done`, `partial` (a checkpoint, or no metrics yet), `stale` (made from something else) or `missing`."""
    if is_evaluated(registry, layout, key):
        return "done"
    if is_trained(registry, layout, key):
        return "stale" if layout.metrics(key).exists() else "partial"
    if any(layout.work(training_fingerprint(registry, layout, key)).glob(CHECKPOINTS)):
        return "partial"
    return "stale" if layout.manifest(key).exists() or layout.metrics(key).exists() else "missing"
