"""ImageNet's batches: JPEG files decoded, cropped and recoloured in worker processes, normalised on the device."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from eps_resnet.data.decode import cores, decoded
from eps_resnet.data.listing import load
from eps_resnet.data.workers import in_workers
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.models import AreaCrop, Augmentation
from eps_resnet.files.errors import UserError
from eps_resnet.method.inputs.augment import contrasted, uniform
from eps_resnet.method.inputs.batches import TEST_BATCH, order
from eps_resnet.method.parallel import Share
from eps_resnet.method.streams import stream

# Mean and standard deviation of ImageNet's colours, and the principal components of its pixels, all for values 0 to 1:
# Krizhevsky et al. 2012 with the numbers of Facebook's ResNet code, which the reference code also has.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PCA_VALUES = (0.2175, 0.0188, 0.0045)
PCA_VECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))  # one column each
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue look
TRIES = 10  # reference code: random crops tried before the whole image is taken


class JpegBatches:
    """Batches of ImageNet. What an image becomes depends on seed, epoch and its place in the epoch, on nothing else."""

    def __init__(
        self,
        experiment: Experiment,
        device: torch.device,
        share: Share = Share(),
        workers: int | None = None,
    ) -> None:
        listing, recipe = load(experiment.layout, experiment.run.dataset), experiment.recipe
        self._train, self._test = listing["train"], listing["test"]
        if len(self._train) < recipe.batch:
            raise UserError(f"A batch has {recipe.batch} images, but there are only {len(self._train)} to train on.")
        self._recipe, self.size, self._seed = recipe, experiment.data.size, experiment.run.seed
        self._device, self._share = device, share
        self._workers = workers or cores()
        self._labels = self._train.labels.to(device).long()
        self.test_labels = self._test.labels.to(device).long()
        self.mean, self._std = (255 * torch.tensor(values, device=device).reshape(3, 1, 1) for values in (MEAN, STD))

    def training(self, epoch: int, skip: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch, counted from 1: inputs (B, C, H, W) and labels (B,), this process's share of each mini-batch.

        The first `skip` mini-batches are left out.
        """
        batches = order(len(self._train), self._recipe, stream(self._seed, "batches", epoch))
        work = partial(self._training_images, epoch, batches)
        steps = range(skip, len(batches))
        for step, images in zip(steps, self._in_workers(work, steps, self._workers // self._share.of), strict=True):
            chosen = batches[step][self._share.rows(len(batches[step]))]
            yield self._normalised(images), self._labels[chosen.to(self._device)]

    def test(self) -> Iterator[Tensor]:
        """The test inputs (B, C, H, W) in stored order, in batches of 128, the last one short."""
        batches = torch.split(torch.arange(len(self._test)), TEST_BATCH)
        work = partial(self._test_images, batches)
        for images in self._in_workers(work, range(len(batches)), self._workers):  # process 0 alone tests
            yield self._normalised(images)

    def _training_images(self, epoch: int, batches: Sequence[Tensor], step: int) -> Tensor:
        rows, augmentation = self._share.rows(len(batches[step])), self._recipe.augmentation
        images = []
        for place, index in enumerate(batches[step][rows].tolist(), step * self._recipe.batch + rows.start):
            draw = stream(self._seed, f"image {place}", epoch)
            images.append(training_image(decoded(self._train, index), augmentation, self.size, draw))
        return torch.stack(images)

    def _test_images(self, batches: Sequence[Tensor], step: int) -> Tensor:
        area = _area(self._recipe.augmentation)
        return torch.stack([test_image(decoded(self._test, i), area, self.size) for i in batches[step].tolist()])

    def _in_workers(self, work: Callable[[int], Tensor], steps: range, workers: int) -> Iterator[Tensor]:
        return in_workers(work, steps, max(1, workers), pin=self._device.type == "cuda")

    def _normalised(self, images: Tensor) -> Tensor:
        return (images.to(self._device, non_blocking=True).float() - self.mean) / self._std


def training_image(image: Tensor, augmentation: Augmentation, size: int, draw: torch.Generator) -> Tensor:
    """A random crop (3, size, size) of an image (3, H, W), its colours changed and perhaps mirrored; uint8.

    Colours are rounded once, at the end: a quarter of the bytes travels to the device.
    """
    crop = area_crop(image, _area(augmentation), size, draw)
    image = recoloured(crop, augmentation, draw).round().to(torch.uint8)
    return image.flip(2) if augmentation.flip and float(torch.rand(1, generator=draw)) < 0.5 else image


def test_image(image: Tensor, area: AreaCrop, size: int) -> Tensor:
    """The centre (3, size, size) of an image (3, H, W) after its short side was resized to `test_short_side`; uint8."""
    resized = vision.resize(image, [area.test_short_side], InterpolationMode.BILINEAR, antialias=False)
    centre: Tensor = vision.center_crop(resized, [size, size])
    return centre


def area_crop(image: Tensor, area: AreaCrop, size: int, draw: torch.Generator) -> Tensor:
    """A crop of random area, shape and place, resized to (3, size, size) by bicubic interpolation; float, 0 to 255.

    The ratio of the sides is drawn evenly, then inverted with probability 1/2. Where none of ten crops fits into the
    image, the whole of it is resized (reference code).
    """
    height, width = image.shape[1:]
    top = left = 0
    crop = (height, width)
    for _ in range(TRIES):
        share, ratio, swap, down, right = torch.rand(5, generator=draw).tolist()
        covered, aspect = height * width * _between(area.share, share), _between(area.aspect, ratio)
        sides = round((covered / aspect) ** 0.5), round((covered * aspect) ** 0.5)
        high, wide = sides if swap < 0.5 else sides[::-1]
        if 0 < high <= height and 0 < wide <= width:
            top, left, crop = int(down * (height - high + 1)), int(right * (width - wide + 1)), (high, wide)
            break
    pixels = image[None, :, top : top + crop[0], left : left + crop[1]].float()  # PyTorch rounds bytes in between
    return F.interpolate(pixels, (size, size), mode="bicubic", antialias=False)[0].clip(0, 255)


def recoloured(image: Tensor, augmentation: Augmentation, draw: torch.Generator) -> Tensor:
    """An image (3, H, W), float, with its brightness, contrast, saturation and lighting changed in random order.

    Clipped to [0, 255] once, at the end (reference code).
    """
    changes: tuple[Callable[[Tensor, Augmentation, torch.Generator], Tensor], ...]
    changes = (_brightness, _contrast, _saturation, _lighting)
    for number in torch.randperm(len(changes), generator=draw).tolist():
        image = changes[number](image, augmentation, draw)
    return image.clip(0, 255)


def _brightness(image: Tensor, augmentation: Augmentation, draw: torch.Generator) -> Tensor:
    return image + uniform(1, -augmentation.brightness, augmentation.brightness, draw)


def _contrast(image: Tensor, augmentation: Augmentation, draw: torch.Generator) -> Tensor:
    return contrasted(image, uniform(1, *(augmentation.contrast or (1.0, 1.0)), draw))


def _saturation(image: Tensor, augmentation: Augmentation, draw: torch.Generator) -> Tensor:
    factor = uniform(1, 1 - augmentation.saturation, 1 + augmentation.saturation, draw)
    grey = torch.tensordot(torch.tensor(GREY), image, 1)
    return torch.lerp(grey.expand_as(image), image, factor)


def _lighting(image: Tensor, augmentation: Augmentation, draw: torch.Generator) -> Tensor:
    strength = augmentation.lighting * torch.randn(3, generator=draw)
    colour = torch.tensor(PCA_VECTORS) @ (strength * 255 * torch.tensor(PCA_VALUES))
    return image + colour[:, None, None]


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * share


def _area(augmentation: Augmentation) -> AreaCrop:
    return cast(AreaCrop, augmentation.area)  # the registry sees to it that ImageNet has one
