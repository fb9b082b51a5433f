"""Predictions of a network on a whole split, in stored order, and the gates that were closed meanwhile."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eps_resnet.data.augment import normalise
from eps_resnet.network import ResNet
from eps_resnet.registry import Recipe

BATCH = 128  # Sec. 4 evaluates as it trains: batches of 128 in stored order, the last one short


@dataclass(frozen=True)
class Predictions:
    """Predicted classes (N,) and, per batch and block, whether the gate was closed (batches, blocks)."""

    classes: Tensor
    closed: Tensor

    def error(self, labels: Tensor) -> float:
        """Share of images whose class is wrong."""
        return float((self.classes != labels).double().mean())


@torch.no_grad()
def predict(network: ResNet, images: Tensor, mean: Tensor, recipe: Recipe) -> Predictions:
    """Predicts the classes of raw images (N, C, H, W), gates on, with running batch-norm statistics.

    The gate decides per batch, so the batches are part of the result (docs/fidelity.md). Leaves the network in the
    mode it was in.
    """
    training = network.training
    network.eval()
    classes, closed = [], []
    for start in range(0, len(images), BATCH):
        batch = normalise(images[start : start + BATCH], mean, recipe)
        logits, _ = network(batch.contiguous(memory_format=torch.channels_last))
        classes.append(logits.argmax(1))
        closed.append([block.closed for block in network.blocks])
    network.train(training)
    return Predictions(torch.cat(classes), torch.tensor(closed, dtype=torch.bool).reshape(len(classes), -1))
