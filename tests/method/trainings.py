"""Small trainings for the tests, on digits or what looks like them."""

from typing import Any

import torch
from torch import Tensor

from eps_resnet.data import digits
from eps_resnet.data.store import Images
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Recipe, Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.method import loop
from eps_resnet.method.inputs.batches import TensorBatches
from eps_resnet.method.state import Training

CPU = torch.device("cpu")


def new_training(experiments: Registry, epsilon: float, depth: int = 14, **recipe: Any) -> Training:
    """A gated training of digits before its first step, with these changes of the recipe."""
    data = experiments.datasets["digits"]
    changed = data.model_copy(update={"recipe": Recipe.model_validate(data.recipe.model_dump() | recipe)})
    registry = experiments.model_copy(update={"datasets": {"digits": changed}})
    run = Run(dataset="digits", depth=depth, method="epsilon_side", epsilon=epsilon)
    training = loop.new_training(registry.experiment_of(run, Layout()), CPU)
    training.network.set_epsilon(epsilon)
    training.network.train()
    return training


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sixteen drawn inputs and their labels."""
    return torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(seed)), torch.arange(16) % 10


def batches_of(training: Training, images: int) -> TensorBatches:
    """The training's batches of so many digits, and as many to test on."""
    whole = digits.read(training.experiment.data.archives[0])
    few = Images(
        whole.train_images[:images], whole.train_labels[:images], whole.test_images[:images], whole.test_labels[:images]
    )
    return TensorBatches(few, training.recipe, training.run.seed, CPU)
