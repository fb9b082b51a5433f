"""A user's own data in one .npz: it comes back image by image, and what is wrong with it is said in a sentence."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.data import npz
from eps_resnet.files.errors import UserError
from tests.data.own_copies import Arrays, arrays, make_npz


def written(path: Path, **changes: object) -> Path:
    """The digits' file with other arrays, or without those that are None."""
    changed = {**arrays(), **changes}
    np.savez(path, **{key: value for key, value in changed.items() if value is not None})
    return path


def test_every_image_and_label_comes_back(tmp_path: Path) -> None:
    given_arrays, images = arrays(), npz.read(make_npz(tmp_path / "digits.npz"), 8)
    assert np.array_equal(images.train_images[:, 0].numpy(), given_arrays["train_images"])
    assert images.test_labels.tolist() == given_arrays["test_labels"].tolist()
    assert {tensor.dtype for tensor in vars(images).values()} == {torch.uint8}


def test_the_last_axis_holds_the_colours(tmp_path: Path) -> None:
    grey = arrays()
    coloured = {
        key: np.stack([grey[key], grey[key] // 2, grey[key] // 3], axis=-1) for key in ("train_images", "test_images")
    }
    path = written(tmp_path / "a.npz", **coloured)
    assert npz.look(path).channels == 3
    assert np.array_equal(npz.read(path, 8).train_images[:, 1].numpy(), grey["train_images"] // 2)


def test_a_look_says_what_there_is(tmp_path: Path) -> None:
    look = npz.look(make_npz(tmp_path / "digits.npz"))
    assert (look.train_images, look.test_images, look.channels, look.short_side) == (80, 40, 1, 8)
    assert look.classes == tuple("0123456789")
    assert not look.are_photographs


def relabelled(old: int, new: int, *splits: str) -> Callable[[Arrays], Arrays]:
    return lambda a: {f"{s}_labels": np.where(a[f"{s}_labels"] == old, new, a[f"{s}_labels"]) for s in splits}


def without_classes(labels: Arrays) -> Arrays:
    return {key: np.zeros_like(labels[key]) for key in ("train_labels", "test_labels")}


def of_different_sizes(_: Arrays) -> dict[str, object]:
    images = np.empty(80, dtype=object)
    images[:] = [np.zeros((8 + i % 2, 8), np.uint8) for i in range(80)]
    return {"train_images": images}


def zeros(*shape: int, split: str = "train") -> Callable[[Arrays], Arrays]:
    return lambda _: {f"{split}_images": np.zeros(shape, np.uint8)}


def small(_: Arrays) -> Arrays:
    return {"train_images": np.zeros((80, 7, 9), np.uint8), "test_images": np.zeros((40, 7, 9), np.uint8)}


MISTAKES: dict[str, tuple[Callable[[Arrays], object], str]] = {
    "lengths": (lambda a: {"train_labels": a["train_labels"][1:]}, "80 train_images, but 79 train_labels; expected"),
    "floats": (lambda a: {"test_images": a["test_images"] / 255}, "test_images has the type float64; expected uint8"),
    "labels": (
        lambda a: {"test_labels": a["test_labels"] * 1.0},
        "test_labels has the type float64 .*; expected whole",
    ),
    "channels first": (zeros(80, 3, 8, 8), r"shape \(80, 3, 8, 8\); expected \(N,"),
    "small": (small, "7x9 pixels; the networks need 8"),
    "two sizes": (zeros(40, 9, 9, split="test"), r"shape \(8, 8\) and test images of shape \(9, 9\)"),
    "objects": (of_different_sizes, "train_images is an array of objects, .* of different sizes; expected images of"),
    "a gap": (relabelled(3, 4, "train", "test"), "labels skip 3; expected each of 0 to 9"),
    "one split": (relabelled(3, 4, "test"), "class 3 is missing from test_labels"),
    "one class": (without_classes, "one class; expected two or more"),
    "negative": (relabelled(3, -1, "train"), "the label -1; expected 0, 1"),
    "large": (relabelled(3, 70_000, "train"), "the label 70000; expected 0, 1"),
    "missing": (lambda _: {"test_labels": None}, "has no test_labels; expected the arrays train_images"),
    "empty": (lambda a: {k: a[k][:0] for k in ("test_images", "test_labels")}, "test_images has no images"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_gets_its_sentence(tmp_path: Path, mistake: str) -> None:
    change, message = MISTAKES[mistake]
    path = written(tmp_path / "a.npz", **change(arrays()))  # type: ignore[arg-type]
    for used in (npz.look, lambda p: npz.read(p, 8)):
        with pytest.raises(UserError, match=message):
            used(path)


def test_an_image_is_not_enlarged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"8x8 pixels and is not enlarged to 32x32; choose a size of 8 or less"):
        npz.read(make_npz(tmp_path / "a.npz"), 32)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged or no \.npz file"):
        npz.look(path)


@given(st.sampled_from(npz.KEYS), st.data())
def test_damage_inside_an_array_is_refused_or_gives_images(
    tmp_path_factory: pytest.TempPathFactory, key: str, data: st.DataObject
) -> None:
    """The archive itself is sound, so that no checksum stands before what the header of an array claims."""
    path, contents = tmp_path_factory.getbasetemp() / "damaged.npz", {}
    for name, array in arrays(20, 20).items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        contents[name] = bytearray(buffer.getvalue())
    place = data.draw(st.integers(0, len(contents[key]) - 1))
    contents[key][place] = data.draw(st.integers(0, 255))
    with zipfile.ZipFile(path, "w") as file:
        for name, content in contents.items():
            file.writestr(f"{name}.npy", bytes(content))
    try:
        images = npz.read(path, 8)
    except UserError:
        return
    assert len(images.train_images) == len(images.train_labels) > 0
