"""Predictions of a network on the test images, in stored order, and the gates that were closed meanwhile."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eps_resnet.files import interruption
from eps_resnet.method.inputs.batches import TEST_BATCH, Batches
from eps_resnet.method.networks.resnet import ResNet

TOP = 5  # ImageNet's second error: the class is not among the five most likely


@dataclass(frozen=True)
class Predictions:
    """Per image: the predicted class (N,), whether it is right, and whether the class is among the five most likely.

    `closed`: per batch and block, whether the gate was closed (batches, blocks).
    """

    classes: Tensor
    right: Tensor
    in_top: Tensor
    closed: Tensor

    @property
    def error(self) -> float:
        """Share of images whose class is wrong."""
        return int((~self.right).sum()) / len(self.right)

    @property
    def wrong_per_batch(self) -> list[int]:
        """Wrong images in each batch."""
        return [int((~part).sum()) for part in torch.split(self.right, TEST_BATCH)]

    @property
    def top5_error(self) -> float:
        """Share of images whose class is not among the five most likely."""
        return int((~self.in_top).sum()) / len(self.in_top)


@torch.no_grad()
def predict(network: ResNet, batches: Batches, interruptible: bool = False) -> Predictions:
    """Predicts the classes of the test images, gates on, with running batch-norm statistics.

    The gate decides per batch, so the batches are part of the result (docs/fidelity.md). Leaves the network in the
    mode it was in. Raises Interrupted, if it may, between batches when a signal was noted.
    """
    was_training = network.training
    network.eval()
    logits, closed = [], []
    for inputs in batches.test():
        if interruptible:
            interruption.check()
        logits.append(network(inputs.contiguous(memory_format=torch.channels_last))[0])
        closed.append([gate.closed for gate in network.read_gates()])
    network.train(was_training)
    scores, labels = torch.cat(logits), batches.test_labels
    classes = scores.argmax(1)
    top = scores.topk(min(TOP, scores.shape[1]), 1).indices
    return Predictions(
        classes,
        classes == labels,
        (top == labels[:, None]).any(1),
        torch.tensor(closed, dtype=torch.bool).reshape(len(closed), -1),
    )
