"""Measures a run: errors of the gated and the pruned network, what was kept, what it costs, how far they agree."""

from typing import Any

import torch
from torch import Tensor

from eps_resnet.data import manifest
from eps_resnet.data.batches import open_batches
from eps_resnet.files import digest, sha256, write_sealed
from eps_resnet.history import read_history
from eps_resnet.layout import Layout
from eps_resnet.networks.architecture import architecture_of
from eps_resnet.networks.size import Size, size_of
from eps_resnet.predict import Predictions, predict
from eps_resnet.provenance import evaluation_parts
from eps_resnet.prune import load_pruned, load_trained
from eps_resnet.registry import Registry, recipe_of

CPU = torch.device("cpu")


def evaluate(
    registry: Registry, layout: Layout, key: str, device: torch.device = CPU, workers: int | None = None
) -> None:
    """Evaluates a trained and pruned run on its test images and writes metrics.json.

    Three errors, never one (docs/fidelity.md): `final` is the last epoch's, `settled` that of the last epoch at the
    lowest rate, pruned (None if the rate never fell to a hundredth), `best` the lowest, which looks at the test images.
    """
    run = registry.run(key)
    data, recipe = registry.datasets[run.dataset], recipe_of(registry, run)
    network, facts = load_trained(registry, layout, key)
    if recipe.discarded_in_evaluation == "identity":
        network.set_discarded(facts["discarded"])
    pruned = load_pruned(registry, layout, key)
    batches = open_batches(registry, layout, run, device, workers=workers)
    gated, plain = (predict(net.to(device), batches) for net in (network, pruned))

    whole = architecture_of(run, data, recipe)
    before, after = size_of(whole.plain(), data.size), size_of(pruned.architecture, data.size)
    history = read_history(layout.history(key))
    last, best = history.iloc[-1], history.iloc[int(history["test_error"].argmin())]
    origin = manifest.read(layout, run.dataset)
    made_from = evaluation_parts(registry, layout, key)
    write_sealed(
        layout.metrics(key),
        {
            "key": key,
            "fingerprint": digest(made_from),
            "made_from": made_from,
            "model_sha256": sha256(layout.model(key)),
            "pruned_sha256": sha256(layout.pruned(key)),
            "data_differs": origin.differs if origin else None,
            "test_images": len(batches.test_labels),
            "epoch": facts["epoch"],
            "settled": facts["settled"],
            "error": {
                "gated": gated.error,
                "pruned": plain.error,
                "gated_top5": gated.top5_error,
                "pruned_top5": plain.top5_error,
                "settled": plain.error if facts["settled"] else None,
                "final": float(last["test_error"]),
                "best": float(best["test_error"]),
                "best_epoch": int(best["epoch"]),
            },
            "blocks": list(before.blocks),
            "kept": list(after.blocks),
            "discarded": sum(facts["discarded"]),
            "discarded_blocks": [index for index, gone in enumerate(facts["discarded"]) if gone],
            "discarded_final": int(last["discarded"]),
            "layers": {
                "all": run.depth,
                "kept": 2 + whole.layers_per_block * sum(after.blocks),
                "kept_per_stage": [whole.layers_per_block * n for n in after.blocks],
            },
            "before": _size(before),
            "after": _size(after),
            "compression": _compression(before, after),
            "agreement": _agreement(gated, plain, facts),
        },
    )


def _size(size: Size) -> dict[str, Any]:
    return {"parameters": size.parameters, "size_mib": size.mib, "multiply_adds": size.multiply_adds}


def _compression(before: Size, after: Size) -> dict[str, float]:
    """Both readings: the paper's bars are baseline size x (1 - share of discarded blocks), not a parameter count."""
    ratio = 1 - sum(after.blocks) / sum(before.blocks)
    return {
        "discarded_ratio": ratio,
        "size_mib_by_block_ratio": before.mib * (1 - ratio),
        "parameters_removed": 1 - after.parameters / before.parameters,
    }


def _agreement(gated: Predictions, plain: Predictions, facts: dict[str, Any]) -> dict[str, Any]:
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
