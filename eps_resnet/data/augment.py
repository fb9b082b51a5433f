"""Training batches: order, crops and flips of whole batches of tensors, and the normalisation of pixels."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from eps_resnet.registry import Recipe
from eps_resnet.streams import stream


def mean_image(images: Tensor) -> Tensor:
    """Per-pixel mean (C, H, W) of raw images (N, C, H, W), in float32; of the training images only.

    The reference code includes the test images in the mean (docs/fidelity.md).
    """
    return images.double().mean(0).float()


def normalise(images: Tensor, mean: Tensor, recipe: Recipe) -> Tensor:
    """Raw uint8 images (N, C, H, W) to network inputs: minus the mean image, divided by a constant."""
    return (images.float() - mean) / recipe.pixel_divisor


def random_crops(images: Tensor, pad: int, rows: Tensor, columns: Tensor) -> Tensor:
    """Crops back to (N, C, H, W) after zero padding, image i shifted by rows[i] and columns[i] in [0, 2 pad]."""
    height, width = images.shape[2:]
    windows = F.pad(images, (pad,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, rows, columns]


def random_flips(images: Tensor, flip: Tensor) -> Tensor:
    """Mirrors left and right the images (N, C, H, W) whose `flip` is true."""
    return torch.where(flip[:, None, None, None], images.flip(3), images)


def training_batches(
    images: Tensor, labels: Tensor, mean: Tensor, recipe: Recipe, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled, augmented, normalised batches; all of it drawn from (seed, epoch).

    Images (N, C, H, W) uint8 and labels (N,) on the device of training. Every image has its own crop and flip.
    The last, partial batch is left out where the recipe says so.
    """
    count, draw, augmentation = len(images), stream(seed, "batches", epoch), recipe.augmentation
    order = torch.randperm(count, generator=draw)
    shifts = torch.randint(2 * augmentation.pad + 1, (2, count), generator=draw)
    flips = torch.rand(count, generator=draw) < 0.5
    order, shifts, flips = (t.to(images.device) for t in (order, shifts, flips))
    end = steps_per_epoch(count, recipe) * recipe.batch
    for start in range(0, min(end, count), recipe.batch):
        part = slice(start, start + recipe.batch)
        batch = images[order[part]]
        if augmentation.pad:
            batch = random_crops(batch, augmentation.pad, shifts[0, part], shifts[1, part])
        if augmentation.flip:
            batch = random_flips(batch, flips[part])
        yield normalise(batch, mean, recipe), labels[order[part]]


def steps_per_epoch(images: int, recipe: Recipe) -> int:
    """Training steps in an epoch of so many images."""
    return images // recipe.batch if recipe.drop_last else -(-images // recipe.batch)
