"""Measures a run: errors of the gated and the pruned network on the test images, and how far the two agree."""

from typing import Any

import torch
from torch import Tensor

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry, recipe_of
from eps_resnet.measure.metrics import write_metrics
from eps_resnet.measure.prune import load_pruned, load_trained
from eps_resnet.method.inputs.batches import open_batches
from eps_resnet.method.predict import Predictions, predict

CPU = torch.device("cpu")


def evaluate(
    registry: Registry, layout: Layout, key: str, device: torch.device = CPU, workers: int | None = None
) -> None:
    """Evaluates a trained and pruned run on its test images and writes metrics.json."""
    run = registry.run(key)
    network, facts = load_trained(registry, layout, key)
    if recipe_of(registry, run).discarded_in_evaluation == "identity":
        network.set_discarded(facts["discarded"])
    pruned = load_pruned(registry, layout, key)
    batches = open_batches(registry, layout, run, device, workers=workers)
    gated, plain = (predict(net.to(device), batches) for net in (network, pruned))
    errors = {
        "gated": gated.error,
        "pruned": plain.error,
        "gated_top5": gated.top5_error,
        "pruned_top5": plain.top5_error,
    }
    agreement = _agreement(gated, plain, facts)
    write_metrics(registry, layout, key, facts, errors, len(batches.test_labels), agreement)


def _agreement(gated: Predictions, plain: Predictions, facts: dict[str, Any]) -> dict[str, int]:
    """Image-by-image agreement, and where it can fail: batches in which a gate was not as pruning takes it to be."""
    gone = torch.tensor(facts["discarded"], dtype=torch.bool)
    unlike: Tensor = gated.closed != gone
    return {
        "images": len(gated.classes),
        "equal": int((gated.classes == plain.classes).sum()),
        "batches": len(gated.closed),
        "batches_with_other_gates": int(unlike.any(1).sum()),
        "kept_gates_that_closed": int(unlike[:, ~gone].any(0).sum()),
        "discarded_gates_that_opened": int(unlike[:, gone].any(0).sum()),
        "flickered_in_training": facts["flickered"],
    }
