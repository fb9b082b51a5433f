"""metrics.json: what came out of a run, from what was measured and what its shape says. No torch in here."""

from typing import Any

import numpy as np

from eps_resnet.data import manifest
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry, recipe_of
from eps_resnet.files.digests import digest, sha256, write_sealed
from eps_resnet.measure.size import Size, size_of
from eps_resnet.method.history import read_history
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.provenance.fingerprints import evaluation_parts


def write_metrics(
    registry: Registry,
    layout: Layout,
    key: str,
    facts: dict[str, Any],
    errors: dict[str, float],
    test_images: int,
    agreement: dict[str, int],
) -> None:
    """Writes a run's metrics.json; its network, pruned network and history must be there.

    `facts` are those stored with its network. `errors`: gated, pruned, gated_top5 and pruned_top5, as fractions of the
    test images. Three errors are reported, never one (docs/fidelity.md): `final` is the last epoch's, `settled` that of
    the last epoch at the lowest rate, pruned (None if the rate never fell to a hundredth), `best` the lowest, which
    looks at the test images.
    """
    run = registry.run(key)
    data, recipe = registry.datasets[run.dataset], recipe_of(registry, run)
    whole = architecture_of(run, data, recipe)
    before, after = size_of(whole.plain(), data.size), size_of(whole.without(facts["discarded"]), data.size)
    history = read_history(layout.history(key))
    last, best = history.iloc[-1], history.iloc[int(np.nanargmin(history["test_error"]))]
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
            "test_images": test_images,
            "epoch": facts["epoch"],
            "settled": facts["settled"],
            "error": {
                **errors,
                "settled": errors["pruned"] if facts["settled"] else None,
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
            "agreement": agreement,
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
