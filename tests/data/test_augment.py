"""Whole-batch augmentation against its image-by-image definition."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.data.augment import mean_image, random_crops, random_flips, training_batches
from eps_resnet.registry import Augmentation, Registry


@given(st.integers(1, 9), st.integers(0, 4), st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_each_image_gets_its_own_crop_and_flip(count: int, pad: int, size: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 3, size, size + 1), dtype=torch.uint8, generator=draw)
    rows, columns = torch.randint(2 * pad + 1, (2, count), generator=draw)
    flip = torch.rand(count, generator=draw) < 0.5
    result = random_flips(random_crops(images, pad, rows, columns), flip)
    for i in range(count):
        top, left = int(rows[i]), int(columns[i])
        expected = F.pad(images[i], (pad,) * 4)[:, top : top + size, left : left + size + 1]
        assert torch.equal(result[i], expected.flip(2) if flip[i] else expected)


def test_an_epoch_visits_each_image_at_most_once_and_drops_the_partial_batch(experiments: Registry) -> None:
    recipe = experiments.datasets["digits"].recipe.model_copy(update={"augmentation": Augmentation(), "batch": 8})
    images = torch.arange(30, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)
    mean = torch.zeros(1, 4, 4)
    batches = list(training_batches(images, torch.arange(30), mean, recipe, seed=0, epoch=1))
    assert [len(labels) for _, labels in batches] == [8, 8, 8]
    seen = torch.cat([labels for _, labels in batches])
    assert len(seen.unique()) == 24
    for inputs, labels in batches:
        assert torch.equal(inputs[:, 0, 0, 0], labels / recipe.pixel_divisor)


def test_epochs_and_seeds_have_different_orders_and_equal_ones_the_same(experiments: Registry) -> None:
    recipe = experiments.datasets["digits"].recipe
    images, labels, mean = torch.zeros(256, 1, 8, 8, dtype=torch.uint8), torch.arange(256), torch.zeros(1, 8, 8)

    def order(seed: int, epoch: int) -> list[int]:
        return [int(i) for _, part in training_batches(images, labels, mean, recipe, seed, epoch) for i in part]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_the_mean_is_taken_per_pixel() -> None:
    images = torch.tensor([[[[0, 255]]], [[[100, 255]]]], dtype=torch.uint8)
    assert mean_image(images).tolist() == [[[50, 255]]]
