"""Trainings of CIFAR-10's networks on drawn images, ready for a step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from eps_resnet.experiments import registry
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Method, Run
from eps_resnet.method import loop
from eps_resnet.method.arithmetic import Precision
from eps_resnet.method.loop import train_step
from eps_resnet.method.state import Training
from eps_resnet.method.streams import stream

REGISTRY = registry.load(Path("config/experiments.yaml"))
CPU = torch.device("cpu")
BATCH, CHANNELS, SIZE, CLASSES = 128, 3, 32, 10


def run_of(depth: int, method: Method = "epsilon_side") -> Run:
    """A run of CIFAR-10 as the registry has it, of so many layers."""
    key = "cifar10-110-epsilon_side-2p5-s0" if method == "epsilon_side" else f"cifar10-110-{method}-s0"
    return REGISTRY.run(key).model_copy(update={"depth": depth})


def training_of(
    depth: int, method: Method = "epsilon_side", gated: bool = True, precision: Precision = "float32"
) -> Training:
    """A training of a network of so many layers as the registry has it, all its gates open, or with none at all."""
    run = run_of(depth, method)
    return new_training(run if gated else run.model_copy(update={"epsilon": None}), precision)


def new_training(run: Run, precision: Precision = "float32") -> Training:
    """The training of a run before its first step, its gates, if any, all open."""
    experiment = experiment_of(run)
    recipe = experiment.recipe.model_copy(update={"precision": precision})
    training = loop.new_training(replace(experiment, recipe=recipe), CPU)
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
