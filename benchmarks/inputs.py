"""Batches of training images against what torchvision's usual pipeline makes of the same images on the same cores."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.io import encode_jpeg
from torchvision.transforms import InterpolationMode

from benchmarks import loader
from benchmarks.measure import Line, in_turns, line
from benchmarks.trainings import REGISTRY, new_training
from eps_resnet.data.store import Images
from eps_resnet.experiments.models import Recipe, Run
from eps_resnet.method.inputs.batches import TensorBatches
from eps_resnet.method.inputs.jpeg import MEAN, STD, training_image
from eps_resnet.method.loop import train_step
from eps_resnet.method.streams import stream

ITEM = "5 input"
CPU = torch.device("cpu")
IMAGES, DEPTH = 5000, 20  # of CIFAR-10's size; layers of the network that they are fed to
EPOCH_PAIRS, STEP_PAIRS, JPEG_PAIRS = 7, 15, 7
# Of the noise that JPEGs are enlarged from: an eighth of their size, so that their files are as large as photos'.
COARSE = (47, 62)
STEP_SECONDS = 1.0  # for which each step of preparing a JPEG is timed

Batch = tuple[Tensor, Tensor]


def lines(cores: int) -> list[Line]:
    """CIFAR's batches, alone and beside a training step, and on one core, as a worker has it, ImageNet's."""
    data, run = REGISTRY.datasets["cifar10"], REGISTRY.run("cifar10-110-epsilon_side-2p5-s0")
    images = drawn_images(IMAGES, data.channels, data.size, data.classes)
    batches = TensorBatches(images, data.recipe, run.seed, CPU)
    found = [_speed(batches, images, data.recipe, cores), _share_of_step(batches, run, cores)]
    return [*found, _jpegs()] if cores == 1 else found


def drawn_images(number: int, channels: int, size: int, classes: int) -> Images:
    """Training images of drawn pixels, and one to test on: the time does not depend on what is on them."""
    draw = stream(0, "images")
    pixels = torch.randint(256, (number, channels, size, size), dtype=torch.uint8, generator=draw)
    labels = torch.randint(classes, (number,), dtype=torch.uint8, generator=draw)
    return Images(pixels, labels, pixels[:1], labels[:1])


def usual_loader(images: Tensor, labels: Tensor, recipe: Recipe, seed: int = 0) -> "DataLoader[Any]":
    """What one writes with torchvision to have the recipe's batches of these raw images."""
    changes = [transforms.RandomCrop(images.shape[-1], padding=recipe.augmentation.pad)]
    if recipe.augmentation.flip:
        changes.append(transforms.RandomHorizontalFlip())
    pictures = Pictures(images, labels, transforms.Compose([*changes, usual_inputs(images, recipe)]))
    return DataLoader(pictures, recipe.batch, shuffle=True, drop_last=recipe.drop_last, generator=stream(seed, "usual"))


def usual_inputs(images: Tensor, recipe: Recipe) -> Callable[[Image.Image], Tensor]:
    """From a picture to a network input: minus the channel's mean, as is usual, where ours subtract the pixel's."""
    assert recipe.pixel_divisor is not None
    mean = (images.float().mean((0, 2, 3)) / 255).tolist()
    made: Callable[[Image.Image], Tensor] = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(mean, [recipe.pixel_divisor / 255] * len(mean))]
    )
    return made


class Pictures(Dataset[tuple[Tensor, int]]):
    """Raw images and labels as torchvision's own CIFAR10 has them: each item begins as a PIL image."""

    def __init__(self, images: Tensor, labels: Tensor, change: Callable[[Image.Image], Tensor]) -> None:
        pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels  # PIL has grey images without channels
        self.labels, self.change = labels.tolist(), change

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.change(Image.fromarray(self.pixels[index])), self.labels[index]


def endless(epoch: Callable[[int], Iterable[Batch]]) -> Iterator[Batch]:
    """Batches of one epoch after another, counted from 1."""
    for number in count(1):
        yield from epoch(number)


def _exhaust(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def _speed(batches: TensorBatches, images: Images, recipe: Recipe, cores: int) -> Line:
    usual, epochs = usual_loader(images.train_images, images.train_labels, recipe), count(1)
    ratio = in_turns(lambda: _exhaust(usual), lambda: _exhaust(batches.training(next(epochs))), EPOCH_PAIRS)
    theirs, ours = (1000 * seconds / len(usual) for seconds in ratio.seconds)
    what = f"augmented CIFAR batches of {recipe.batch}: times as fast as torchvision's pipeline"
    note = f"{ours:.2f} ms a batch against {theirs:.2f} ms, which is PIL's and Python's work on each image"
    if cores > 1:
        note += "; threads wait for each other in operations of microseconds, for long where another process has a core"
    return replace(line(ITEM, what, ratio, cores, at_least=12), note=note)


def _share_of_step(batches: TensorBatches, run: Run, cores: int) -> Line:
    """One batch after one step, as in training: what the step leaves in the caches is not the batch's."""
    made, training = endless(batches.training), new_training(run.model_copy(update={"depth": DEPTH}))
    inputs, labels = next(made)
    ratio = in_turns(lambda: next(made), lambda: train_step(training, inputs, labels, 0.0), STEP_PAIRS)
    what = f"our batch / a training step of ResNet-{DEPTH}, {run.method}"
    batch, step = (1000 * seconds for seconds in ratio.seconds)
    return replace(line(ITEM, what, ratio, cores, at_most=0.05), note=f"{batch:.2f} ms and {step:.0f} ms")


def _jpegs() -> Line:
    contents = [_jpeg(number) for number in range(loader.FILES)]
    ratio = in_turns(_usual_jpegs(contents), lambda: _our_jpegs(contents), JPEG_PAIRS)
    theirs, ours = (len(contents) / seconds for seconds in ratio.seconds)
    kilobytes = sum(len(content) for content in contents) / len(contents) / 1000
    *steps, whole, _ = loader.speeds(contents, STEP_SECONDS)
    shares = zip(("decoding", "cropping", "colours"), (whole / step for step in steps), strict=True)
    note = (
        f"{ours:.0f} images/s against {theirs:.0f}; synthetic images (enlarged noise, {kilobytes:.0f} kB each). Of "
        f"ours, {', '.join(f'{name} takes {share:.0%}' for name, share in shares)}; torchvision has no PCA lighting"
    )
    what = f"ImageNet training images from JPEGs of {loader.FULL[1]}x{loader.FULL[0]}: times as fast as torchvision's"
    return replace(line(ITEM, what, ratio, 1), note=note)


def _jpeg(number: int) -> Tensor:
    noise = torch.randint(256, (3, *COARSE), dtype=torch.uint8, generator=stream(number, "jpeg"))
    coarse: Tensor = encode_jpeg(noise, loader.QUALITY)
    return loader.enlarged(coarse)


def _our_jpegs(contents: list[Tensor]) -> Tensor:
    """A batch as eps_resnet/method/inputs/jpeg.py makes it."""
    draws = [stream(0, f"image {place}") for place in range(len(contents))]
    images = [
        training_image(loader.decoded(content), loader.AUGMENTATION, loader.SIZE, draw)
        for content, draw in zip(contents, draws, strict=True)
    ]
    mean, std = (255 * torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))
    return (torch.stack(images).float() - mean) / std


class _Files(Dataset[Tensor]):
    """JPEGs in memory, opened as torchvision's ImageFolder opens files."""

    def __init__(self, contents: list[Tensor], change: Callable[[Image.Image], Tensor]) -> None:
        self.contents, self.change = [numpy.asarray(content).tobytes() for content in contents], change

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, index: int) -> Tensor:
        return self.change(Image.open(io.BytesIO(self.contents[index])).convert("RGB"))


def _usual_jpegs(contents: list[Tensor]) -> Callable[[], None]:
    changes, area = loader.AUGMENTATION, loader.AUGMENTATION.area
    assert area is not None
    change = transforms.Compose(
        [
            transforms.RandomResizedCrop(loader.SIZE, area.share, area.aspect, InterpolationMode.BICUBIC),
            transforms.ColorJitter(changes.brightness / 255, changes.contrast, changes.saturation),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    files = DataLoader(_Files(contents, change), len(contents), shuffle=True)
    return lambda: _exhaust(files)
