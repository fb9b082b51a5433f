"""Random transformations of whole batches of raw images, the mean image and the normalisation of pixels."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from eps_resnet.experiments.models import Augmentation, Recipe

CHUNK = 1024  # images summed at a time: no second copy of 1.9 GB, and in float32 exact (1024 x 255 < 2^24)
# The reference code deforms SVHN's images but the paper says nothing of it. These constants are ours, taken from
# Simard et al. (ICDAR 2003), who chose them for handwritten digits of 28x28 pixels.
ELASTIC_SIGMA = 4.0  # standard deviation of the Gaussian that smooths the displacements, in pixels
ELASTIC_ALPHA = 34.0  # factor of the smoothed displacements, in pixels


def mean_image(images: Tensor) -> Tensor:
    """Per-pixel mean (C, H, W) of raw uint8 images (N, C, H, W), in float32; of the training images only.

    The sum is exact. The reference code includes the test images in the mean (docs/fidelity.md).
    """
    total = torch.zeros(images.shape[1:], dtype=torch.float64, device=images.device)
    for chunk in torch.split(images, CHUNK):
        total += chunk.float().sum(0)
    return (total / len(images)).float()


def normalise(images: Tensor, mean: Tensor, recipe: Recipe) -> Tensor:
    """Raw images (N, C, H, W), values 0 to 255, to network inputs: minus the mean image, divided by a constant."""
    assert recipe.pixel_divisor is not None, "only ImageNet's recipe has none (eps_resnet/method/inputs/jpeg.py)"
    return (images.float() - mean) / recipe.pixel_divisor


class Draws(NamedTuple):
    """What was drawn for each image, (N, ...); a kind that the augmentation does not have is empty, (N, 0)."""

    brightness: Tensor  # what is added
    contrast: Tensor  # a factor
    displacements: Tensor  # (N, H, W, 2)
    shifts: Tensor  # (N, 2), rows and columns
    flips: Tensor  # whether


def drawn(count: int, height: int, width: int, augmentation: Augmentation, draw: torch.Generator) -> Draws:
    """The draws for so many images, on the CPU, all from `draw`; each image has its own."""
    brightness = contrast = field = shifts = flips = torch.empty(count, 0)
    if augmentation.brightness or augmentation.contrast:
        low, high = augmentation.contrast or (1.0, 1.0)
        brightness = uniform(count, -augmentation.brightness, augmentation.brightness, draw)
        contrast = uniform(count, low, high, draw)
    if augmentation.elastic:
        field = displacements(count, height, width, draw)
    if augmentation.pad:
        shifts = torch.randint(2 * augmentation.pad + 1, (2, count), generator=draw).T
    if augmentation.flip:
        flips = torch.rand(count, generator=draw) < 0.5
    return Draws(brightness, contrast, field, shifts, flips)


def on_device(draws: Sequence[Draws], device: torch.device) -> list[Draws]:
    """The draws of several mini-batches on a device, which waits once for each kind of draw."""
    sizes = [len(one.flips) for one in draws]
    kinds = [torch.split(torch.cat(kind).to(device), sizes) for kind in zip(*draws, strict=True)]
    return [Draws(*one) for one in zip(*kinds, strict=True)]


def augmented(images: Tensor, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Raw images (N, C, H, W) after what `augmentation` names, as uint8 or float32 on the same device, same shape.

    Colour, elastic deformation, pad and crop, flip, in this order.
    """
    if augmentation.brightness or augmentation.contrast:
        images = recoloured(images, draws.brightness, draws.contrast)
    if augmentation.elastic:
        images = deformed(images, draws.displacements)
    if augmentation.pad:
        images = random_crops(images, augmentation.pad, draws.shifts[:, 0], draws.shifts[:, 1])
    if augmentation.flip:
        images = random_flips(images, draws.flips)
    return images


def uniform(count: int, low: float, high: float, draw: torch.Generator) -> Tensor:
    """Numbers (count,) drawn evenly from [low, high)."""
    return low + (high - low) * torch.rand(count, generator=draw)


def recoloured(images: Tensor, shift: Tensor, factor: Tensor) -> Tensor:
    """Images (N, C, H, W) brighter by shift[i], their contrast about each channel's mean times factor[i], in float32.

    Clipped to [0, 255] once, at the end, as the reference code does.
    """
    shift, factor = (t[:, None, None, None] for t in (shift, factor))
    return contrasted(images.float() + shift, factor).clip(0, 255)


def contrasted(images: Tensor, factor: Tensor) -> Tensor:
    """Images (..., C, H, W) with the distance of each pixel from its channel's mean times `factor`; not clipped."""
    mean = images.mean((-2, -1), keepdim=True)
    return (images - mean) * factor + mean


def displacements(count: int, height: int, width: int, draw: torch.Generator) -> Tensor:
    """Smooth random fields (count, height, width, 2): how far, in pixels, each pixel's source lies right and down."""
    field = uniform(count * 2 * height * width, -1, 1, draw).reshape(count * 2, 1, height, width)
    reach = round(3 * ELASTIC_SIGMA)
    weights = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * ELASTIC_SIGMA**2))
    weights /= weights.sum()
    field = F.conv2d(field, weights[None, None, :, None], padding=(reach, 0))
    field = F.conv2d(field, weights[None, None, None, :], padding=(0, reach))
    return ELASTIC_ALPHA * field.reshape(count, 2, height, width).permute(0, 2, 3, 1)


def deformed(images: Tensor, field: Tensor) -> Tensor:
    """Images (N, C, H, W) sampled bilinearly where `field` (N, H, W, 2) points, in float32; edges are repeated."""
    count, _, height, width = images.shape
    identity = torch.eye(2, 3, device=images.device).expand(count, 2, 3)
    grid = F.affine_grid(identity, [count, 1, height, width], align_corners=False)
    steps = field[..., 0] * (2 / width), field[..., 1] * (2 / height)  # in the grid's units
    places = grid + torch.stack(steps, -1)
    sampled = F.grid_sample(images.float(), places, padding_mode="border", align_corners=False)
    return sampled.clip(0, 255)  # the four weights may add up to a little more than 1


def random_crops(images: Tensor, pad: int, rows: Tensor, columns: Tensor) -> Tensor:
    """Crops back to (N, C, H, W) after zero padding, image i shifted by rows[i] and columns[i] in [0, 2 pad].

    Whole rows are copied, each from the place in the padded images where it begins: pixel by pixel takes three times
    as long.
    """
    count, channels, height, width = images.shape
    padded = F.pad(images, (pad,) * 4)
    maps = torch.arange(count * channels, device=images.device).reshape(count, channels, 1)
    lines = maps * padded.shape[2] + torch.arange(height, device=images.device) + rows[:, None, None]
    begins = lines * padded.shape[3] + columns[:, None, None]
    row_from = padded.flatten().unfold(0, width, 1)  # a view: all rows of this width, wherever they begin
    return row_from.index_select(0, begins.flatten()).reshape(images.shape)


def random_flips(images: Tensor, flip: Tensor) -> Tensor:
    """Mirrors left and right the images (N, C, H, W) whose `flip` is true."""
    both = torch.cat([images, images.flip(3)])
    return both.index_select(0, torch.arange(len(images), device=images.device) + len(images) * flip)


def steps_per_epoch(images: int, recipe: Recipe) -> int:
    """Training steps in an epoch of so many images: one pass over them, or the number that the recipe gives."""
    if recipe.epoch_steps is not None:
        return recipe.epoch_steps
    return images // recipe.batch if recipe.drop_last else -(-images // recipe.batch)
