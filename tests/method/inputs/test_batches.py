"""The order of an epoch's batches, and how processes share them."""

from itertools import chain

import pytest
import torch
from torch import Tensor

from benchmarks.operations import Operations
from eps_resnet.data.store import Images
from eps_resnet.experiments.models import Augmentation, Recipe
from eps_resnet.experiments.registry import Registry
from eps_resnet.method.inputs.batches import SENT_TOGETHER, TensorBatches
from eps_resnet.method.parallel import Share

CPU = torch.device("cpu")


def numbered(count: int) -> Images:
    """Images that are as bright as their number, which is also their label."""
    labels = torch.arange(count, dtype=torch.uint8)
    images = labels[:, None, None, None].expand(-1, 1, 4, 4)
    return Images(images, labels, images[:5], labels[:5])


def epoch(images: Images, recipe: Recipe, seed: int = 0, number: int = 1, share: Share = Share()) -> list[list[int]]:
    return [labels.tolist() for _, labels in TensorBatches(images, recipe, seed, CPU, share).training(number)]


def plain(experiments: Registry, **changes: object) -> Recipe:
    recipe = experiments.datasets["digits"].recipe
    return recipe.model_copy(update={"augmentation": Augmentation(), "batch": 8, **changes})


def test_an_epoch_visits_each_image_at_most_once_and_drops_the_partial_batch(experiments: Registry) -> None:
    recipe = plain(experiments)
    batches = TensorBatches(numbered(30), recipe, 0, CPU)
    seen: list[Tensor] = []
    for inputs, labels in batches.training(1):
        assert len(labels) == 8
        assert torch.allclose(inputs + batches.mean / recipe.pixel_divisor, labels[:, None, None, None] / 8.0)
        seen.append(labels)
    assert len(seen) == 3
    assert len(torch.cat(seen).unique()) == 24


def test_epochs_and_seeds_have_different_orders_and_equal_ones_the_same(experiments: Registry) -> None:
    images, recipe = numbered(250), plain(experiments)
    assert epoch(images, recipe) == epoch(images, recipe)
    assert epoch(images, recipe) != epoch(images, recipe, number=2)
    assert epoch(images, recipe) != epoch(images, recipe, seed=1)


def test_an_epoch_of_more_steps_than_images_goes_over_them_again_in_another_order(experiments: Registry) -> None:
    seen = list(chain(*epoch(numbered(20), plain(experiments, epoch_steps=6))))
    assert len(seen) == 48
    assert sorted(seen[:20]) == sorted(seen[20:40]) == list(range(20))
    assert seen[:20] != seen[20:40]


def test_processes_together_see_what_one_alone_sees(experiments: Registry) -> None:
    recipe = plain(experiments, augmentation=Augmentation(pad=1, flip=True, brightness=5, contrast=(0.8, 1.2)))
    whole = TensorBatches(numbered(30), recipe, 0, CPU).training(1)
    shares = [TensorBatches(numbered(30), recipe, 0, CPU, Share(i, 2)).training(1) for i in range(2)]
    for (inputs, labels), *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat([part[0] for part in parts]), inputs)
        assert torch.equal(torch.cat([part[1] for part in parts]), labels)


@pytest.mark.parametrize("name", ["cifar10", "svhn"])
def test_a_device_is_sent_the_draws_of_many_steps_at_once(experiments: Registry, name: str) -> None:
    """No device: what is sent there is counted, not computed. The images are there from the beginning."""
    recipe = experiments.datasets[name].recipe.model_copy(update={"epoch_steps": 100, "batch": 8})
    pixels = torch.zeros(30, 3, 4, 4, dtype=torch.uint8)
    batches = TensorBatches(Images(pixels, torch.zeros(30), pixels, torch.zeros(30)), recipe, 0, torch.device("meta"))
    with Operations() as counted:
        steps = len(list(batches.training(1)))
    assert steps == 100
    kinds = 6  # order, brightness, contrast, displacements, shifts, flips
    assert counted.sent <= kinds * -(-steps // SENT_TOGETHER)


def test_what_a_step_is_drawn_does_not_depend_on_how_many_are_sent_together(
    experiments: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = Augmentation(pad=1, flip=True, brightness=5, contrast=(0.8, 1.2), elastic=True)
    recipe = plain(experiments, augmentation=changes, drop_last=False)
    epochs = []
    for together in (1, 2, 64):
        monkeypatch.setattr("eps_resnet.method.inputs.batches.SENT_TOGETHER", together)
        epochs.append(list(TensorBatches(numbered(30), recipe, 0, CPU).training(1)))
    for one, *others in zip(*epochs, strict=True):
        for other in others:
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
