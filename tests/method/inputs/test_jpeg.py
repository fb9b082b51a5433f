"""ImageNet's crops and colours against their definitions, and batches that do not depend on who makes them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from eps_resnet.data.decode import decoded
from eps_resnet.data.fetch import fetch
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import AreaCrop, Augmentation, Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from eps_resnet.method.inputs import jpeg
from eps_resnet.method.inputs.jpeg import JpegBatches, area_crop, recoloured, training_image
from eps_resnet.method.parallel import Share
from tests.data.imagenet_copies import accepting, make_folder

CPU = torch.device("cpu")


SEEDS = st.integers(0, 2**32 - 1)


AREA = AreaCrop(share=(0.08, 1), aspect=(3 / 4, 4 / 3), test_short_side=36)


NO_COLOUR = Augmentation(area=AREA)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=generator(seed))


def crops(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int, count: int, area: AreaCrop = AREA
) -> list[tuple[int, ...]]:
    """Top, left, height and width of so many random crops of an image."""
    seen: list[tuple[int, ...]] = []
    draw = generator(0)
    # Each pixel holds its own place, so that what is resized tells where it was cut.
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([rows, columns, rows])

    def look(pixels: Tensor, *_: object, **__: object) -> Tensor:
        top, left = (int(plane[0, 0]) for plane in pixels[0, :2])
        seen.append((top, left, *pixels.shape[2:]))
        return pixels

    monkeypatch.setattr(jpeg.F, "interpolate", look)
    for _ in range(count):
        area_crop(image, area, 32, draw)
    return seen


def test_crops_have_8_to_100_percent_of_the_area_and_sides_of_3_to_4_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = crops(monkeypatch, 300, 400, 2000)
    areas = np.array([height * width / 120_000 for _, _, height, width in seen])
    ratios = np.array([width / height for *_, height, width in seen])
    assert areas.min() < 0.1
    assert areas.max() > 0.9
    assert 0.079 < areas.min() <= areas.max() <= 1
    assert 0.74 < ratios.min() < 0.77
    assert 1.31 < ratios.max() < 1.35
    assert all(top + height <= 300 and left + width <= 400 for top, left, height, width in seen)
    assert {top for top, *_ in seen} > set(range(20))


def test_the_share_of_the_area_is_drawn_evenly_and_the_shape_inverted_half_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    square = AREA.model_copy(update={"aspect": (1, 1)})  # fits always, so that no draw is rejected
    areas = np.array([height * width / 90_000 for *_, height, width in crops(monkeypatch, 300, 300, 3000, square)])
    assert np.allclose(np.quantile(areas, (0.1, 0.5, 0.9)), (0.172, 0.54, 0.908), atol=0.03)
    wide = np.array([width > height for *_, height, width in crops(monkeypatch, 300, 300, 3000)])
    assert 0.47 < wide.mean() < 0.53  # without the inversion: 0.57


def test_an_image_no_crop_fits_into_is_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(crops(monkeypatch, 2, 2000, 20)) == {(0, 0, 2, 2000)}


@given(st.integers(1, 60), st.integers(1, 60), SEEDS)
def test_images_of_any_size_become_inputs_of_one_size_by_the_draws_alone(height: int, width: int, seed: int) -> None:
    augmentation = Augmentation(area=AREA, flip=True, brightness=30, contrast=(0.8, 1.2), saturation=0.4, lighting=0.1)
    image = picture(height, width, seed)
    result = training_image(image, augmentation, 16, generator(seed))
    assert (result.shape, result.dtype) == ((3, 16, 16), torch.uint8)
    assert torch.equal(result, training_image(image, augmentation, 16, generator(seed)))
    assert jpeg.test_image(image, AREA, 16).shape == (3, 16, 16)


def test_the_whole_image_is_resized_by_bicubic_interpolation_without_antialias(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jpeg, "TRIES", 0)
    image = picture(64, 64)
    # Every fourth pixel, between two: a filter that averages over four pixels would give something else.
    expected = torch.nn.functional.interpolate(image[None].double(), (16, 16), mode="bicubic")[0].clip(0, 255)
    assert float((area_crop(image, AREA, 16, generator(0)).double() - expected).abs().max()) <= 0.01


def test_test_images_are_the_centre_after_the_short_side_is_resized() -> None:
    image = torch.arange(90, dtype=torch.uint8).expand(3, 36, 90)  # short side as wanted: only the centre is cut
    assert jpeg.test_image(image, AREA, 32)[0, 0].tolist() == list(range(29, 61))
    assert jpeg.test_image(picture(72, 144), AREA, 32).shape == (3, 32, 32)


def colours(seed: int, **changes: object) -> tuple[Tensor, Tensor]:
    """An image of middling colours before and after one kind of change."""
    image = picture(8, 8, seed).float() / 4 + 96
    return image, recoloured(image, Augmentation(area=AREA, **changes), generator(seed))  # type: ignore[arg-type]


@given(SEEDS)
def test_brightness_shifts_all_pixels_alike_by_30_at_most(seed: int) -> None:
    before, after = colours(seed, brightness=30)
    shift = after - before
    assert float(shift.std()) < 1e-4
    assert abs(float(shift.mean())) <= 30


@given(SEEDS)
def test_contrast_keeps_each_channels_mean(seed: int) -> None:
    before, after = colours(seed, contrast=(0.8, 1.2))
    assert torch.allclose(before.mean((1, 2)), after.mean((1, 2)), atol=1e-3)
    factors = after.std((1, 2)) / before.std((1, 2))
    assert 0.799 < float(factors.min()) <= float(factors.max()) < 1.201
    assert float(factors.std()) < 1e-4


@given(SEEDS)
def test_saturation_scales_the_distance_from_grey_and_keeps_the_grey(seed: int) -> None:
    before, after = colours(seed, saturation=0.4)
    grey = torch.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1)
    assert torch.allclose((before * grey).sum(0), (after * grey).sum(0), atol=1e-3)
    factor = (after[0] - after[1]) / (before[0] - before[1])
    factor = factor[(before[0] - before[1]).abs() > 5]
    assert 0.599 < float(factor.min()) <= float(factor.max()) < 1.401
    assert float(factor.max() - factor.min()) < 1e-3


def test_lighting_follows_the_principal_components() -> None:
    shifts = torch.stack(
        [(after - before)[:, 0, 0] for before, after in (colours(i, lighting=0.1) for i in range(3000))]
    )
    values, vectors = torch.linalg.eigh(shifts.T.double().cov())
    expected = 0.1 * 255 * torch.tensor([0.0045, 0.0188, 0.2175], dtype=torch.double)
    assert torch.allclose(values.sqrt(), expected, rtol=0.06)
    first = torch.tensor([-0.5675, -0.5808, -0.5836], dtype=torch.double)
    assert abs(float(vectors[:, 2] @ first)) > 0.999


def test_the_four_changes_of_colour_come_in_any_order_and_are_clipped_once_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    for name in ("_brightness", "_contrast", "_saturation", "_lighting"):
        monkeypatch.setattr(jpeg, name, lambda image, *_, name=name: made.append(name) or image * -2)
    image, draw, orders = torch.full((3, 2, 2), 250.0), generator(0), set()
    for _ in range(300):
        assert torch.equal(recoloured(image, NO_COLOUR, draw), torch.full((3, 2, 2), 255.0))  # 0 if clipped before
        orders.add(tuple(made))
        made.clear()
    assert len(orders) == 24


@pytest.fixture
def small(experiments: Registry, tmp_path: Path) -> tuple[Registry, Layout]:
    registry, layout = accepting(experiments), Layout(tmp_path / "root")
    fetch(registry, layout, "imagenet", str(make_folder(tmp_path / "images")))
    return registry, layout


def opened(small: tuple[Registry, Layout], seed: int = 0, share: Share = Share()) -> JpegBatches:
    run = Run(dataset="imagenet", depth=14, method="standard", seed=seed)
    return JpegBatches(small[0].experiment_of(run, small[1]), CPU, share)


def epoch(batches: JpegBatches, number: int = 1) -> tuple[Tensor, Tensor]:
    inputs, labels = zip(*batches.training(number), strict=True)
    return torch.stack(inputs), torch.stack(labels)


def test_an_epoch_has_the_recipes_steps_and_depends_on_seed_and_epoch_not_on_the_workers(
    small: tuple[Registry, Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, labels = epoch(opened(small))
    assert inputs.shape == (5, 4, 3, 32, 32)
    assert inputs.dtype == torch.float32
    assert labels.flatten()[:12].bincount().tolist() == [4, 4, 4]  # 12 images, then some of them again
    monkeypatch.setattr(jpeg, "cores", lambda: 1)
    again = epoch(opened(small))
    assert torch.equal(inputs, again[0])
    assert torch.equal(labels, again[1])
    assert not torch.equal(inputs, epoch(opened(small), 2)[0])
    assert not torch.equal(inputs, epoch(opened(small, seed=1))[0])


def test_processes_together_see_what_one_alone_sees(small: tuple[Registry, Layout]) -> None:
    inputs, labels = epoch(opened(small))
    shares = [epoch(opened(small, share=Share(i, 2))) for i in range(2)]
    assert torch.equal(torch.cat([part[0] for part in shares], 1), inputs)
    assert torch.equal(torch.cat([part[1] for part in shares], 1), labels)


def test_test_inputs_come_in_stored_order_normalised_by_imagenets_mean_and_std(
    small: tuple[Registry, Layout],
) -> None:
    batches = opened(small)
    inputs = torch.cat(list(batches.test()))
    assert len(inputs) == len(batches.test_labels) == 6
    assert batches.test_labels.tolist() == [0, 0, 1, 1, 2, 2]
    raw = jpeg.test_image(decoded(batches._test, 4), AREA, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (raw / 255 - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    assert torch.allclose(inputs[4], expected, atol=1e-5)


def test_an_image_that_became_corrupt_stops_the_training_and_is_named(small: tuple[Registry, Layout]) -> None:
    batches = opened(small)
    name = batches._train.name(5)
    (batches._train.place / name).write_bytes(b"no longer a picture")
    with pytest.raises(UserError, match=rf"^Image {name} in .* is corrupt: it cannot be decoded\.$"):
        list(batches.training(1))


def test_too_few_images_for_a_mini_batch_are_refused(small: tuple[Registry, Layout]) -> None:
    data = small[0].datasets["imagenet"]
    greedy = data.model_copy(update={"recipe": data.recipe.model_copy(update={"batch": 13})})
    registry = small[0].model_copy(update={"datasets": {"imagenet": greedy}})
    with pytest.raises(UserError, match="A batch has 13 images, but there are only 12"):
        opened((registry, small[1]))
