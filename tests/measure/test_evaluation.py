"""Agreement of the gated and the pruned network, on predictions that are written out."""

import torch

from eps_resnet.measure.evaluation import agreement_of
from eps_resnet.method.predict import Predictions
from eps_resnet.provenance.records import EpochFacts


def predictions(classes: list[int], closed: list[list[bool]]) -> Predictions:
    right = torch.ones(len(classes), dtype=torch.bool)
    return Predictions(torch.tensor(classes), right, right, torch.tensor(closed))


def test_agreement_counts_images_and_the_gates_that_were_not_as_pruning_takes_them_to_be() -> None:
    facts = EpochFacts(epoch=1, epsilon=2.5, discarded=[True, False, False, True], flickered=3)
    as_taken = [True, False, False, True]
    gated = predictions([1, 2, 3, 4, 5], [as_taken, [False, False, False, True], [False, True, True, True]])
    agreement = agreement_of(gated, predictions([1, 2, 3, 0, 0], [[]]), facts)
    assert (agreement.images, agreement.equal) == (5, 3)
    assert (agreement.batches, agreement.batches_with_other_gates) == (3, 2)
    assert agreement.discarded_gates_that_opened == 1  # one gate, in two batches
    assert agreement.kept_gates_that_closed == 2
    assert agreement.flickered_in_training == 3
