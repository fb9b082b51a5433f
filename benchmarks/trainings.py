"""Trainings of CIFAR-10's networks on drawn images, ready for a step."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from eps_resnet.experiments import registry
from eps_resnet.experiments.models import Method, Run
from eps_resnet.experiments.registry import recipe_of
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.method.networks.resnet import ResNet, initialise
from eps_resnet.method.state import Training
from eps_resnet.method.streams import stream
from eps_resnet.method.train import train_step

REGISTRY = registry.load(Path("config/experiments.yaml"))
BATCH, CHANNELS, SIZE, CLASSES = 128, 3, 32, 10


def training_of(depth: int, method: Method = "epsilon_side", gated: bool = True) -> Training:
    """A training of a network of so many layers as the registry has it, all its gates open, or with none at all."""
    key = "cifar10-110-epsilon_side-2p5-s0" if method == "epsilon_side" else f"cifar10-110-{method}-s0"
    run = REGISTRY.run(key).model_copy(update={"depth": depth})
    if not gated:
        run = run.model_copy(update={"epsilon": None})
    return new_training(run)


def new_training(run: Run) -> Training:
    """The training of a run before its first step, its gates, if any, all open."""
    recipe = recipe_of(REGISTRY, run)
    network = ResNet(architecture_of(run, REGISTRY.datasets[run.dataset], recipe))
    initialise(network, recipe.initialisation, stream(run.seed, "weights"))
    network.to(memory_format=torch.channels_last).train()
    if run.epsilon is not None:
        network.set_epsilon(0.0)
    return Training(run, recipe, network)


def batch(images: int = BATCH) -> tuple[Tensor, Tensor]:
    """Drawn inputs and labels: a step's time does not depend on what is in them."""
    draw = stream(0, "images")
    return torch.randn(images, CHANNELS, SIZE, SIZE, generator=draw), torch.randint(CLASSES, (images,), generator=draw)


def step_of(training: Training, images: int = BATCH) -> Callable[[], object]:
    """One step with a rate of 0, so that gates stay as they are."""
    inputs, labels = batch(images)
    return lambda: train_step(training, inputs, labels, 0.0)
