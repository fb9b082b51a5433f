"""Measures a trained and a pruned network on the test images: their errors, and how far the two agree."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eps_resnet.experiments.models import Recipe
from eps_resnet.method.inputs.batches import Batches
from eps_resnet.method.networks.resnet import ResNet
from eps_resnet.method.predict import Predictions, predict
from eps_resnet.provenance.records import Agreement, EpochFacts, Latest, WrongPerBatch


@dataclass(frozen=True)
class Measured:
    """Errors as fractions of the test images, of the network with its gates on and of the pruned one."""

    gated: float
    pruned: float
    gated_top5: float
    pruned_top5: float
    agreement: Agreement
    wrong_per_batch: WrongPerBatch


def measured(network: ResNet, pruned: ResNet, facts: EpochFacts, recipe: Recipe, batches: Batches) -> Measured:
    """What the two networks, on the batches' device, predict of the test images."""
    if recipe.discarded_in_evaluation == "identity":
        network.set_discarded(facts.discarded)
    gated, plain = predict(network, batches), predict(pruned, batches)
    wrong = WrongPerBatch(gated=gated.wrong_per_batch, pruned=plain.wrong_per_batch)
    agreement = agreement_of(gated, plain, facts)
    return Measured(gated.error, plain.error, gated.top5_error, plain.top5_error, agreement, wrong)


def latest_of(facts: EpochFacts, measured: Measured) -> Latest:
    """What is recorded of the last epoch at the lowest rate, from what was measured of its networks."""
    return Latest(
        epoch=facts.epoch,
        discarded=sum(facts.discarded),
        flickered=facts.flickered,
        gated=measured.gated,
        pruned=measured.pruned,
    )


def agreement_of(gated: Predictions, plain: Predictions, facts: EpochFacts) -> Agreement:
    """Image-by-image agreement, and where it can fail: batches in which a gate was not as pruning takes it to be."""
    gone = torch.tensor(facts.discarded, dtype=torch.bool)
    unlike: Tensor = gated.closed != gone
    return Agreement(
        images=len(gated.classes),
        equal=int((gated.classes == plain.classes).sum()),
        batches=len(gated.closed),
        batches_with_other_gates=int(unlike.any(1).sum()),
        kept_gates_that_closed=int(unlike[:, ~gone].any(0).sum()),
        discarded_gates_that_opened=int(unlike[:, gone].any(0).sum()),
        flickered_in_training=facts.flickered,
    )
