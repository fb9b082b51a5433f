"""A user's own data in one NumPy file, .npz: images and labels of both splits as arrays."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eps_resnet.data.own import MOST_CLASSES, SMALLEST, Look, require_classes, require_pixels
from eps_resnet.data.shrink import squared
from eps_resnet.data.store import Images
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError

KEYS = ("train_images", "train_labels", "test_images", "test_labels")
EXPECTED = f"expected the arrays {', '.join(KEYS)}, as `numpy.savez` writes them"
SHOWN = 100  # characters of a library's words in a message

Arrays = dict[str, NDArray[Any]]


def look(path: Path) -> Look:
    """Reads and checks the whole file. Raises UserError, which says what was expected, if it cannot be used."""
    arrays = _checked(path)
    train, classes = arrays["train_images"], int(arrays["train_labels"].max()) + 1
    return Look(
        sha256=sha256(path),
        train_images=len(train),
        test_images=len(arrays["test_images"]),
        classes=tuple(map(str, range(classes))),
        channels=1 if train.ndim == 3 else train.shape[3],
        short_side=min(train.shape[1:3]),
        are_photographs=False,  # arrays do not tell
    )


def read(path: Path, size: int) -> Images:
    """The images of a file whose SHA-256 was verified, as squares of that size. Raises UserError as `look` does."""
    arrays = _checked(path)
    require_pixels(f"Each image of {path}", arrays["train_images"].shape[1:3], size)
    train, test = (_as_stored(arrays[f"{split}_images"], size) for split in ("train", "test"))
    labels = (torch.from_numpy(arrays[f"{split}_labels"].astype(np.uint8)) for split in ("train", "test"))
    return Images(train, next(labels), test, next(labels))


def _as_stored(images: NDArray[Any], size: int) -> Tensor:
    """Images (N, H, W) or (N, H, W, C) as (N, C, size, size)."""
    channels_first = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return squared(torch.from_numpy(np.ascontiguousarray(channels_first)), size)


def _checked(path: Path) -> Arrays:
    arrays = _loaded(path)
    for split in ("train", "test"):
        _check_split(path, split, arrays[f"{split}_images"], arrays[f"{split}_labels"])
    train, test = (arrays[f"{split}_images"].shape[1:] for split in ("train", "test"))
    if train != test:
        raise UserError(f"{path} has training images of shape {train} and test images of shape {test}; expected one.")
    require_pixels(f"Each image of {path}", train[:2], SMALLEST)
    _check_labels(path, arrays["train_labels"], arrays["test_labels"])
    return arrays


def _loaded(path: Path) -> Arrays:
    """The arrays of a file that may be anything. Raises UserError where it is no .npz or has no such arrays."""
    try:
        with zipfile.ZipFile(path) as file:
            if missing := [key for key in KEYS if f"{key}.npy" not in file.namelist()]:
                raise UserError(f"{path} has no {', no '.join(missing)}; {EXPECTED}.")
            return {key: _array(path, file, key) for key in KEYS}
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split())[:SHOWN] or type(error).__name__
        raise UserError(f"{path} is damaged or no .npz file ({reason}); {EXPECTED}.") from None


def _array(path: Path, zipped: zipfile.ZipFile, key: str) -> NDArray[Any]:
    try:
        with zipped.open(f"{key}.npy") as member:
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            return array
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        raise UserError(
            f"{path}: {key} is an array of objects, as NumPy makes of images of different sizes; expected images of "
            "one size. Resize them first, or give a folder of image files."
        ) from None


def _check_split(path: Path, split: str, images: NDArray[Any], labels: NDArray[Any]) -> None:
    name = f"{split}_images"
    if images.dtype != np.uint8:
        raise UserError(f"{path}: {name} has the type {images.dtype}; expected uint8, pixels from 0 to 255.")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise UserError(
            f"{path}: {name} has the shape {images.shape}; expected (N, H, W), or (N, H, W, C) with C 1 or 3."
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise UserError(
            f"{path}: {split}_labels has the type {labels.dtype} and the shape {labels.shape}; expected "
            "whole numbers, (N,)."
        )
    if len(images) != len(labels):
        raise UserError(f"{path} has {len(images)} {name}, but {len(labels)} {split}_labels; expected as many.")
    if not len(images):
        raise UserError(f"{path}: {name} has no images.")


def _check_labels(path: Path, train: NDArray[Any], test: NDArray[Any]) -> None:
    """Raises UserError unless the labels of both splits are all of 0, 1, ... up to the largest one."""
    lowest, highest = min(int(train.min()), int(test.min())), max(int(train.max()), int(test.max()))
    if lowest < 0 or highest >= MOST_CLASSES:
        wrong = lowest if lowest < 0 else highest
        raise UserError(f"{path} has the label {wrong}; expected 0, 1, ... and at most {MOST_CLASSES - 1}.")
    require_classes(path, highest + 1)
    counts = {name: np.bincount(labels, minlength=highest + 1) for name, labels in (("train", train), ("test", test))}
    for label in range(highest + 1):
        lacking = [f"{name}_labels" for name, count in counts.items() if not count[label]]
        if len(lacking) == 2:
            raise UserError(f"{path}: labels skip {label}; expected each of 0 to {highest}, with no gap.")
        if lacking:
            raise UserError(f"{path}: class {label} is missing from {lacking[0]}; expected each class in both splits.")
