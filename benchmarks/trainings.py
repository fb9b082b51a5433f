"""Trainings of CIFAR-10's networks on drawn images, ready for a step."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from eps_resnet.experiments import registry
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Method, Run
from eps_resnet.method import loop
from eps_resnet.method.loop import train_step
from eps_resnet.method.state import Training
from eps_resnet.method.streams import stream

REGISTRY = registry.load(Path("config/experiments.yaml"))
CPU = torch.device("cpu")
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
    training = loop.new_training(experiment_of(run), CPU)
    training.network.train()
    if run.epsilon is not None:
        training.network.set_epsilon(0.0)
    return training


def experiment_of(run: Run) -> Experiment:
    """A run of the registry's data sets, with the recipe and the files that the project has of it."""
    return REGISTRY.experiment_of(run, Layout())


def batch(images: int = BATCH) -> tuple[Tensor, Tensor]:
    """Drawn inputs and labels: a step's time does not depend on what is in them."""
    draw = stream(0, "images")
    return torch.randn(images, CHANNELS, SIZE, SIZE, generator=draw), torch.randint(CLASSES, (images,), generator=draw)


def step_of(training: Training, images: int = BATCH) -> Callable[[], object]:
    """One step with a rate of 0, so that gates stay as they are."""
    inputs, labels = batch(images)
    return lambda: train_step(training, inputs, labels, 0.0)
