"""Whole-batch augmentation against its image-by-image definition."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from eps_resnet.experiments.models import Augmentation
from eps_resnet.experiments.registry import Registry
from eps_resnet.method.inputs.augment import (
    ELASTIC_ALPHA,
    augmented,
    deformed,
    displacements,
    drawn,
    mean_image,
    random_crops,
    random_flips,
    recoloured,
)


def changed(images: Tensor, augmentation: Augmentation, draw: torch.Generator) -> Tensor:
    """The images as a training sees them, by draws of these."""
    return augmented(images, augmentation, drawn(len(images), *images.shape[2:], augmentation, draw))


SEEDS = st.integers(0, 2**32 - 1)
AUGMENTATIONS = st.builds(
    Augmentation,
    pad=st.integers(0, 4),
    flip=st.booleans(),
    brightness=st.floats(0, 60),
    contrast=st.none() | st.just((0.8, 1.2)),
    elastic=st.booleans(),
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, size: int, seed: int) -> Tensor:
    return torch.randint(256, (count, 3, size, size + 1), dtype=torch.uint8, generator=generator(seed))


@given(st.integers(1, 9), st.integers(0, 4), st.integers(2, 9), SEEDS)
def test_each_image_gets_its_own_crop_and_flip(count: int, pad: int, size: int, seed: int) -> None:
    images, draw = pictures(count, size, seed), generator(seed)
    rows, columns = torch.randint(2 * pad + 1, (2, count), generator=draw)
    flip = torch.rand(count, generator=draw) < 0.5
    result = random_flips(random_crops(images, pad, rows, columns), flip)
    for i in range(count):
        top, left = int(rows[i]), int(columns[i])
        expected = F.pad(images[i], (pad,) * 4)[:, top : top + size, left : left + size + 1]
        assert torch.equal(result[i], expected.flip(2) if flip[i] else expected)


@given(st.integers(1, 5), SEEDS)
def test_brightness_comes_before_contrast_about_each_channels_mean_and_both_are_clipped_once(
    count: int, seed: int
) -> None:
    images, draw = pictures(count, 4, seed), generator(seed)
    shift, factor = torch.rand(2, count, generator=draw) * 60
    result = recoloured(images, shift, factor)
    for i in range(count):
        for channel in range(3):
            bright = images[i, channel].double() + float(shift[i])
            expected = ((bright - bright.mean()) * float(factor[i]) + bright.mean()).clip(0, 255)
            assert torch.allclose(result[i, channel].double(), expected, atol=0.01)


@given(AUGMENTATIONS, st.integers(1, 6), SEEDS)
@example(Augmentation(elastic=True), 2, 407)  # once gave 255.00002
def test_augmented_images_keep_shape_and_range_and_depend_on_the_draws_alone(
    augmentation: Augmentation, count: int, seed: int
) -> None:
    images = pictures(count, 6, seed)
    result = changed(images, augmentation, generator(seed))
    assert result.shape == images.shape
    assert 0 <= float(result.min()) <= float(result.max()) <= 255
    assert torch.equal(result, changed(images, augmentation, generator(seed)))


@given(AUGMENTATIONS, st.integers(2, 6), SEEDS)
def test_what_an_image_becomes_does_not_depend_on_the_others_in_the_batch(
    augmentation: Augmentation, count: int, seed: int
) -> None:
    images = pictures(count, 6, seed)
    others = images.clone()
    others[1:] = 255 - others[1:]
    whole, other = (changed(batch, augmentation, generator(seed)) for batch in (images, others))
    assert torch.allclose(whole[0].float(), other[0].float())


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(flip=True), Augmentation(pad=1), Augmentation(brightness=9), Augmentation(contrast=(0.8, 1.2))],
)
def test_each_image_of_a_batch_has_its_own_draws(augmentation: Augmentation) -> None:
    images = pictures(1, 6, 0).expand(64, -1, -1, -1)
    distinct = {tuple(image.flatten().tolist()) for image in changed(images, augmentation, generator(0))}
    assert len(distinct) == {"flip": 2, "pad": 9}.get(next(iter(augmentation.model_fields_set)), 64)


def test_nothing_happens_to_images_whose_recipe_has_no_augmentation() -> None:
    images, draw = pictures(3, 5, 0), generator(0)
    before = draw.get_state()
    assert torch.equal(changed(images, Augmentation(), draw), images)
    assert torch.equal(draw.get_state(), before)


def test_svhn_is_recoloured_before_it_is_padded_and_never_flipped(experiments: Registry) -> None:
    augmentation = experiments.datasets["svhn"].recipe.augmentation
    assert (augmentation.flip, augmentation.elastic) == (False, False)
    images = torch.full((200, 3, 32, 32), 100, dtype=torch.uint8)
    result = changed(images, augmentation, generator(0))
    inside = result[result > 0]  # the padding stays black: the colours were changed before it was added
    assert (result == 0).any()
    assert 90 <= float(inside.min()) < 92
    assert 108 < float(inside.max()) <= 110


@given(st.integers(-3, 3), st.integers(-3, 3), SEEDS)
def test_an_even_displacement_shifts_the_image_and_repeats_its_edge(right: int, down: int, seed: int) -> None:
    image = pictures(1, 8, seed)
    field = torch.tensor([float(right), float(down)]).expand(1, 8, 9, 2)
    rows, columns = (torch.arange(8) + down).clip(0, 7), (torch.arange(9) + right).clip(0, 8)
    assert torch.allclose(deformed(image, field), image[:, :, rows][..., columns].float(), atol=0.05)


def test_displacements_are_smooth_small_and_drawn_for_each_image() -> None:
    field = displacements(50, 32, 32, generator(0))
    assert field.shape == (50, 32, 32, 2)
    assert float((field[:, 1:] - field[:, :-1]).abs().max()) < 1.5  # pixels, so that no digit is torn
    assert 0.5 < float(field.std()) < 2
    assert float(field.abs().max()) < ELASTIC_ALPHA
    assert not torch.equal(field[0], field[1])


@pytest.mark.parametrize("count", [1, 7, 1024, 1500])
def test_the_mean_is_taken_per_pixel_and_exactly(count: int) -> None:
    images = pictures(count, 2, count)
    expected = torch.tensor([sum(image) / count for image in zip(*images.flatten(1).tolist(), strict=True)])
    assert torch.equal(mean_image(images).flatten(), expected)
