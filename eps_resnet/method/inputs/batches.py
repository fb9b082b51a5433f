"""The batches that a network is trained and tested on, from images that all lie on the device."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from eps_resnet.data.store import Images
from eps_resnet.experiments.models import Recipe
from eps_resnet.files.errors import UserError
from eps_resnet.method.inputs.augment import Draws, augmented, drawn, mean_image, normalise, on_device, steps_per_epoch
from eps_resnet.method.parallel import Share
from eps_resnet.method.streams import stream

TEST_BATCH = 128  # Sec. 4 evaluates as it trains: batches of 128 in stored order, the last one short

# Steps whose draws travel to the device together. Ours: SVHN's displacements are 1 MiB a step, so 64 MiB at a time.
SENT_TOGETHER = 64


class Batches(Protocol):
    """A data set as normalised batches, on the device of training.

    `mean` is what is subtracted from raw pixels, `size` the images' height and width.
    """

    mean: Tensor
    size: int
    test_labels: Tensor

    def training(self, epoch: int, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch, counted from 1: inputs (B, C, H, W) and labels (B,), this process's share of each mini-batch.

        The first `skip` mini-batches are left out, and the others are what they would be without.
        """

    def test(self) -> Iterator[Tensor]:
        """The test inputs (B, C, H, W) in stored order, in batches of 128, the last one short."""


class TensorBatches:
    """Batches of a data set whose images all lie on the device; order and augmentation are drawn from (seed, epoch)."""

    def __init__(self, images: Images, recipe: Recipe, seed: int, device: torch.device, share: Share = Share()) -> None:
        if steps_per_epoch(len(images.train_labels), recipe) == 0:
            raise UserError(
                f"A batch has {recipe.batch} images, but there are only {len(images.train_labels)} to train on."
            )
        self.recipe, self.seed, self.share = recipe, seed, share
        self.train_images, self.train_labels = images.train_images.to(device), images.train_labels.to(device).long()
        self.test_images, self.test_labels = images.test_images.to(device), images.test_labels.to(device).long()
        self.mean, self.size = mean_image(self.train_images), self.train_images.shape[-1]

    def training(self, epoch: int, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch, counted from 1: inputs (B, C, H, W) and labels (B,), this process's share of each mini-batch.

        The first `skip` mini-batches are left out, and the others are what they would be without.
        """
        draw = stream(self.seed, "batches", epoch)
        for step, (chosen, draws) in enumerate(self._drawn(draw)):
            if step < skip:  # drawn all the same: the draws of the others come after its own
                continue
            images = self.train_images.index_select(0, chosen)  # whole images at a time
            batch = augmented(images, self.recipe.augmentation, draws)
            rows = self.share.rows(len(chosen))
            yield normalise(batch[rows], self.mean, self.recipe), self.train_labels[chosen[rows]]

    def _drawn(self, draw: torch.Generator) -> Iterator[tuple[Tensor, Draws]]:
        """On the device: the images of each mini-batch, and what is drawn for them; sent there many steps at a time."""
        chosen, device = order(len(self.train_labels), self.recipe, draw), self.mean.device
        (height, width), augmentation = self.train_images.shape[2:], self.recipe.augmentation
        for first in range(0, len(chosen), SENT_TOGETHER):
            part = chosen[first : first + SENT_TOGETHER]
            draws = on_device([drawn(len(one), height, width, augmentation, draw) for one in part], device)
            indices = torch.split(torch.cat(part).to(device), [len(one) for one in part])
            yield from zip(indices, draws, strict=True)

    def test(self) -> Iterator[Tensor]:
        """The test inputs (B, C, H, W) in stored order, in batches of 128, the last one short."""
        for batch in torch.split(self.test_images, TEST_BATCH):
            yield normalise(batch, self.mean, self.recipe)


def order(images: int, recipe: Recipe, draw: torch.Generator) -> list[Tensor]:
    """Which images each mini-batch of an epoch holds (on the CPU): permutations, one after another if one is too short.

    The last, partial mini-batch is left out where the recipe says so.
    """
    steps = steps_per_epoch(images, recipe)
    needed = min(steps * recipe.batch, images) if recipe.epoch_steps is None else steps * recipe.batch
    passes = [torch.randperm(images, generator=draw) for _ in range(-(-needed // images))]
    return list(torch.split(torch.cat(passes)[:needed], recipe.batch))
