"""Training here against independent code that does the same: pytorchcv, torchvision, and a network written plainly."""

import json
import math
import statistics
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from pytorchcv.models.preresnet_cifar import preresnet20_cifar10, preresnet110_cifar10
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models import resnet101

from benchmarks.inputs import (
    CPU,
    Batch,
    Pictures,
    drawn_images,
    endless,
    usual_inputs,
    usual_loader,
)
from benchmarks.measure import Line, in_turns, line
from benchmarks.trainings import REGISTRY, experiment_of, new_training
from eps_resnet.data import digits
from eps_resnet.data.store import Images
from eps_resnet.experiments.models import Recipe, Run
from eps_resnet.method.inputs.batches import TEST_BATCH, TensorBatches
from eps_resnet.method.loop import train_epoch, train_step
from eps_resnet.method.schedule import RateSchedule
from eps_resnet.method.streams import stream

ITEM = "10 peers"
CIFAR, IMAGENET = "cifar10-110-standard-s0", "imagenet-101-standard-s0"
DEMO = tuple(f"digits-20-standard-s{seed}" for seed in range(5))
IMAGES = 1280  # ten batches an epoch: a step and its batch cost the same in a larger data set
PAIRS, IMAGENET_PAIRS, IMAGENET_BATCH = 7, 7, 8
ROOM = 3 * 2**30  # bytes: what steps of two of these networks hold between them
SECONDS = 18.0  # after which a training is stopped that has not reached the demo's error


def lines(cores: int) -> list[Line]:
    """Steps on CIFAR's and ImageNet's sizes, and on one core, as the demo trains, the time to the demo's error."""
    _have_memory()
    found = [*_cifar(cores), _imagenet(cores)]
    return [*found, _time_to_error()] if cores == 1 else found


def _have_memory() -> None:
    """Takes from the system, once, what steps will need, where freed memory is kept (eps_resnet/runs/memory.py).

    Otherwise a network's first steps after another's would find its memory in pieces, and pay for fetching more.
    """
    torch.ones(ROOM, dtype=torch.uint8)


class PlainBlock(nn.Module):
    """BN-ReLU-convolution twice beside the shortcut, which pools and pads where the stage changes."""

    def __init__(self, inputs: int, outputs: int, is_first: bool) -> None:
        super().__init__()
        self.extra = (outputs - inputs) // 2
        self.norm1 = nn.Identity() if is_first else nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        stride, pad = (2, 0) if self.extra else (1, 1)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, pad, bias=False)
        self.norm2 = nn.Sequential(nn.BatchNorm2d(outputs), nn.ReLU())
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        residual, shortcut = self.norm1(x), x
        if self.extra:
            residual = F.pad(residual, (0, 1, 0, 1))  # TensorFlow's SAME padding, as ours has it
            shortcut = F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, self.extra, self.extra))
        made: Tensor = shortcut + self.conv2(self.norm2(self.conv1(residual)))
        return made


class PlainResNet(nn.Module):
    """The network that ours is without gates and side head, for 32x32 images, as one writes it down first."""

    def __init__(self, blocks: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        shapes = [(16, 16)] * blocks + [(16, 32)] + [(32, 32)] * (blocks - 1) + [(32, 64)] + [(64, 64)] * (blocks - 1)
        self.blocks = nn.Sequential(*(PlainBlock(*shape, index == 0) for index, shape in enumerate(shapes)))
        self.norm = nn.Sequential(nn.BatchNorm2d(64), nn.ReLU())
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) to logits (N, classes)."""
        logits: Tensor = self.linear(self.norm(self.blocks(self.stem(x))).mean((2, 3)))
        return logits


def plain_step(network: nn.Module, recipe: Recipe, rate: float = 0.0) -> Callable[[Tensor, Tensor], None]:
    """A step of the plain eager loop: the optimiser with its defaults, everything decays."""
    optimizer = torch.optim.SGD(
        network.train().parameters(), rate, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )
    return lambda inputs, labels: _step(network, optimizer, inputs, labels)


def _step(network: nn.Module, optimizer: torch.optim.SGD, inputs: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(network(inputs), labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _feeding(step: Callable[[Tensor, Tensor], object], batches: Iterator[Batch]) -> Callable[[], object]:
    return lambda: step(*next(batches))


def _cifar(cores: int) -> list[Line]:
    """A step with its batch, at a rate of 0, so that random images leave every weight a number."""
    run = REGISTRY.run(CIFAR)
    data, recipe = experiment_of(run).data, experiment_of(run).recipe
    images, training = drawn_images(IMAGES, data.channels, data.size, data.classes), new_training(run)
    usual = usual_loader(images.train_images, images.train_labels, recipe)
    ours = _feeding(
        lambda inputs, labels: train_step(training, inputs, labels, 0.0),
        endless(TensorBatches(images, recipe, run.seed, CPU).training),
    )
    networks = {
        f"pytorchcv's preresnet{run.depth}_cifar10": preresnet110_cifar10(),
        "the same network written plainly in NCHW": PlainResNet((run.depth - 2) // 6, data.classes),
    }
    found = []
    for name, network in networks.items():
        theirs = _feeding(plain_step(network, recipe), endless(lambda epoch: usual))
        what = f"training step of ResNet-{run.depth} with its batch of {recipe.batch}: times as fast as {name}"
        found.append(_compared(what, theirs, ours, recipe.batch, PAIRS, cores))
    return found


def _imagenet(cores: int) -> Line:
    run = REGISTRY.run(IMAGENET)
    data, recipe = experiment_of(run).data, experiment_of(run).recipe
    draw = stream(0, "images")
    inputs = torch.randn(IMAGENET_BATCH, data.channels, data.size, data.size, generator=draw)
    labels = torch.randint(data.classes, (IMAGENET_BATCH,), generator=draw)
    training, network = new_training(run), plain_step(resnet101(), recipe)
    what = f"training step of ResNet-{run.depth}, batch {IMAGENET_BATCH}: times as fast as torchvision's resnet101"
    found = _compared(
        what,
        lambda: network(inputs, labels),
        lambda: train_step(training, inputs, labels, 0.0),
        IMAGENET_BATCH,
        IMAGENET_PAIRS,
        cores,
    )
    other = f"torchvision's is post-activation; ours normalises each of the recipe's {recipe.slices} slices alone"
    return replace(found, note=f"{found.note}; {other}")


def _compared(
    what: str, theirs: Callable[[], object], ours: Callable[[], object], batch: int, pairs: int, cores: int
) -> Line:
    ratio = in_turns(theirs, ours, pairs)
    speeds = [batch / seconds for seconds in ratio.seconds]
    note = f"{speeds[1]:.1f} images/s against {speeds[0]:.1f}"
    return replace(line(ITEM, what, ratio, cores), note=note)


@dataclass(frozen=True)
class Reached:
    """When a training's test error first was the demo's, or that it had not been when the training ended."""

    seconds: float
    epoch: int
    is_there: bool


def _time_to_error() -> Line:
    """The demo's training and the same recipe in a plain loop, each seed of both until it has the demo's error."""
    runs = [REGISTRY.run(key) for key in DEMO]
    experiment = experiment_of(runs[0])
    images, target = digits.read(experiment.data.archives[0]), _demo_error(runs)
    ends = (target, experiment.epochs)
    pairs = [(_reached(_our_epochs(run, images), *ends), _reached(_peers_epochs(run, images), *ends)) for run in runs]
    ratios = [theirs.seconds / ours.seconds for ours, theirs in pairs]
    what = (
        f"time to the demo's test error of {target:.2%}, ResNet-{runs[0].depth}: times as fast as pytorchcv's network"
    )
    note = " against ".join(_in_words(side) for side in zip(*pairs, strict=True))
    note += f"; {len(runs)} trainings of each, which differ in their seed, each with its start"
    return Line(ITEM, what, statistics.median(ratios), min(ratios), max(ratios), 1, note=note)


def _demo_error(runs: Sequence[Run]) -> float:
    """The test error that the demo's trainings end with: the median over their seeds."""
    paths = [experiment_of(run).files.metrics for run in runs]
    errors = [json.loads(path.read_text(encoding="utf-8"))["error"]["settled"] for path in paths]
    return float(statistics.median(errors))


def _in_words(side: Sequence[Reached]) -> str:
    seconds, epoch = (statistics.median(getattr(one, name) for one in side) for name in ("seconds", "epoch"))
    missed = sum(not one.is_there for one in side)
    return f"{seconds:.1f} s (epoch {epoch:g}" + (f"; {missed} never had it)" if missed else ")")


def _reached(epochs: Iterator[float], target: float, last: int) -> Reached:
    started = time.perf_counter()
    for epoch, error in enumerate(epochs, 1):
        seconds = time.perf_counter() - started
        if error <= target or epoch == last or seconds > SECONDS:
            return Reached(seconds, epoch, error <= target)
    raise AssertionError("trainings here have no end of their own")


def _our_epochs(run: Run, images: Images) -> Iterator[float]:
    """Test errors, epoch by epoch."""
    training = new_training(run)
    batches = TensorBatches(images, training.recipe, run.seed, CPU)
    while True:
        yield train_epoch(training, batches).test_error


def _peers_epochs(run: Run, images: Images) -> Iterator[float]:
    torch.manual_seed(run.seed)
    return plain_epochs(peers_network(images), run, experiment_of(run).recipe, images)


def peers_network(images: Images) -> nn.Module:
    """pytorchcv's network of 20 layers for such images, its weights drawn from PyTorch's own stream."""
    network = preresnet20_cifar10(in_channels=images.train_images.shape[1], in_size=images.train_images.shape[2:])
    network.features.final_pool = nn.AdaptiveAvgPool2d(1)  # its own, of 8x8, asks for images of 32x32 after all
    return network  # type: ignore[no-any-return]


def plain_epochs(
    network: nn.Module, run: Run, recipe: Recipe, images: Images, tested: Container[int] | None = None
) -> Iterator[float]:
    """Test errors, epoch by epoch, of a network in a plain loop: the run's rates, decay on weights, and crops.

    NaN in an epoch that is not among the tested, of which None means all.
    """
    weights, others = ([p for p in network.parameters() if (p.dim() > 1) == is_weight] for is_weight in (True, False))
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others}]
    optimizer, schedule = torch.optim.SGD(groups, recipe.rate, recipe.momentum), RateSchedule.of(recipe, run)
    usual = usual_loader(images.train_images, images.train_labels, recipe, run.seed)
    test = _test_loader(images, recipe)
    for epoch in count(1):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(epoch)
        network.train()
        for inputs, labels in usual:
            _step(network, optimizer, inputs, labels)
        yield _error(network.eval(), test) if tested is None or epoch in tested else math.nan


def _test_loader(images: Images, recipe: Recipe) -> "DataLoader[Any]":
    pictures = Pictures(images.test_images, images.test_labels, usual_inputs(images.train_images, recipe))
    return DataLoader(pictures, TEST_BATCH)


@torch.no_grad()
def _error(network: nn.Module, test: "DataLoader[Any]") -> float:
    wrong = [network(inputs).argmax(1) != labels for inputs, labels in test]
    return int(torch.cat(wrong).sum()) / sum(map(len, wrong))
