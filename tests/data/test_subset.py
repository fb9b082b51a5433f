"""Smaller versions of a data set: which images are taken, and how they are averaged."""

from fractions import Fraction
from math import floor
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.data import manifest, subset
from eps_resnet.data.fetch import fetch
from eps_resnet.data.store import Images, load
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Archive, DataSet
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError

FILES = 5


def numbered(each: int, test: int = 10) -> Images:
    """Images of 4x4 pixels of five files with `each` training images, whose labels are their places."""
    count = FILES * each
    return Images(
        torch.zeros(count, 3, 4, 4, dtype=torch.uint8),
        torch.arange(count),
        torch.zeros(test, 3, 4, 4, dtype=torch.uint8),
        torch.arange(1000, 1000 + test),
    )


def wanted(experiments: Registry, train: int, test: int, *, size: int = 4, validation: bool = False) -> DataSet:
    """A data set in CIFAR-10's layout that takes so many images."""
    archive = Archive(name="drawn", train_images=train, test_images=test)
    changes = {"archives": (archive,), "size": size, "validation": validation}
    return experiments.datasets["cifar10"].model_copy(update=changes)


@given(st.integers(2, 40), st.data())
def test_of_copies_of_any_length_the_same_images_of_each_file_are_taken(
    experiments: Registry, each: int, draw: st.DataObject
) -> None:
    few = draw.draw(st.integers(1, each))
    data = wanted(experiments, FILES * few, 10)
    taken = [subset.taken("drawn", data, data.archives[0], numbered(length)) for length in (each, 2 * each)]
    for images, length in zip(taken, (each, 2 * each), strict=True):
        expected = [length * file + place for file in range(FILES) for place in range(few)]
        assert images.train_labels.tolist() == expected
        assert images.test_labels.tolist() == list(range(1000, 1010))


@given(st.integers(1, 20), st.integers(1, 20))
def test_validation_images_are_training_images_that_are_not_trained_on(
    experiments: Registry, few: int, held: int
) -> None:
    data = wanted(experiments, FILES * few, FILES * held, validation=True)
    images = subset.taken("drawn", data, data.archives[0], numbered(few + held))
    assert sorted([*images.train_labels.tolist(), *images.test_labels.tolist()]) == list(range(FILES * (few + held)))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (12, 10, "12 training images after the first 0 cannot be taken evenly from 5 files"),
        (60, 10, "has 50 training images, the copy should have 60 or more"),
        (50, 11, "has 10 test images, the copy should have 11 or more"),
    ],
)
def test_numbers_that_files_cannot_give_are_an_error(
    experiments: Registry, train: int, test: int, message: str
) -> None:
    data = wanted(experiments, train, test)
    with pytest.raises(UserError, match=message):
        subset.taken("drawn", data, data.archives[0], numbered(10))


@given(
    st.sampled_from([1, 2, 3]).flatmap(
        lambda area: st.tuples(st.just(area), st.lists(st.integers(0, 255), min_size=36, max_size=36))
    )
)
def test_an_averaged_pixel_is_the_mean_of_its_square_rounded_half_up(drawn: tuple[int, list[int]]) -> None:
    area, pixels = drawn
    image = torch.tensor(pixels, dtype=torch.uint8).reshape(1, 1, 6, 6)
    size = 6 // area
    small = subset.averaged(image, size)
    for row in range(size):
        for column in range(size):
            square = image[0, 0, area * row : area * (row + 1), area * column : area * (column + 1)]
            assert int(small[0, 0, row, column]) == floor(Fraction(int(square.sum()), area**2) + Fraction(1, 2))


def test_a_size_that_does_not_divide_the_images_is_an_error() -> None:
    with pytest.raises(UserError, match="cannot be averaged to 5"):
        subset.averaged(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), 5)


def test_another_version_of_the_same_copy_is_not_accepted(experiments: Registry) -> None:
    data = experiments.datasets["cifar10-cpu"]
    archive = data.archives[0]
    stored = manifest.DataManifest(
        "cifar10-cpu", archive.name, archive.sha256, archive.differs, 10_000, 10_000, "", size=16, validation=False
    )
    assert manifest.is_accepted(stored, data)
    assert not manifest.is_accepted(stored, data.model_copy(update={"size": 32}))
    assert not manifest.is_accepted(stored, data.model_copy(update={"validation": True}))


@pytest.mark.slow
def test_real_images_are_taken_and_averaged_from_the_copy(
    experiments: Registry, tmp_path: Path, real_data: Path
) -> None:
    layout = Layout(tmp_path)
    archive = real_data / "cifar-10-binary-half.tar.gz"
    for name in ("cifar10", "cifar10-cpu"):
        fetch(experiments, layout, name, str(archive))
    whole, small = load(layout, "cifar10"), load(layout, "cifar10-cpu")
    pick = torch.cat([torch.arange(5000 * file, 5000 * file + 2000) for file in range(FILES)])
    assert torch.equal(small.train_labels, whole.train_labels[pick])
    assert torch.equal(small.test_labels, whole.test_labels)
    means = whole.train_images[pick].float().unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    assert torch.equal(small.train_images.float(), (means + 0.5).floor())
