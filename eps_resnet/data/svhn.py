"""SVHN's cropped digits, format 2: train_32x32.mat and extra_32x32.mat to train on, test_32x32.mat to test on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eps_resnet.data.store import Images
from eps_resnet.errors import UserError

TRAIN_FILES = ("train_32x32.mat", "extra_32x32.mat")  # Sec. 4, "SVHN": both are trained on
TEST_FILES = ("test_32x32.mat",)
ZERO = 10  # the label of the digit 0
EXPECTED = "expected SVHN's format 2: X, 32x32x3xN of uint8, and y, Nx1 of labels 1 to 10"


def read(path: Path) -> Images:
    """Reads the verified folder of the three files. Raises UserError if one is not of format 2."""
    train, test = parse([path / name for name in TRAIN_FILES]), parse([path / name for name in TEST_FILES])
    return Images(*train, *test)


def parse(files: list[Path]) -> tuple[Tensor, Tensor]:
    """The images (N, 3, 32, 32) and labels (N,), both uint8, of files one after another. The digit 0 has the label 0.

    All images are 1.9 GB, so one file at a time is copied into its place. Raises UserError if one is not of format 2.
    """
    counts = [_count(file) for file in files]
    images = torch.empty(sum(counts), 3, 32, 32, dtype=torch.uint8)
    labels = torch.empty(sum(counts), dtype=torch.uint8)
    start = 0
    for file, count in zip(files, counts, strict=True):
        images[start : start + count], labels[start : start + count] = _content(file)
        start += count
    return images, labels


def _count(file: Path) -> int:
    """The number of images in a file, from the shapes at its beginning."""
    from scipy.io import whosmat

    shapes = {name: shape for name, shape, _ in _readable(whosmat, file)}
    if missing := {"X", "y"} - set(shapes):
        found = ", ".join(sorted(shapes)) or "nothing"
        raise UserError(f"{file} has no {' and no '.join(sorted(missing))}, but {found}; {EXPECTED}.")
    count = shapes["X"][-1]
    if (shapes["X"], shapes["y"]) != ((32, 32, 3, count), (count, 1)):
        raise UserError(f"{file} has X {shapes['X']} and y {shapes['y']}; {EXPECTED}.")
    return int(count)


def _content(file: Path) -> tuple[Tensor, Tensor]:
    from scipy.io import loadmat

    content = _readable(loadmat, file)
    pixels, labels = content["X"], content["y"][:, 0]
    if pixels.dtype != "uint8" or labels.dtype.kind not in "uif":
        raise UserError(f"{file} has X of type {pixels.dtype} and y of type {labels.dtype}; {EXPECTED}.")
    if wrong := set(labels.tolist()) - set(range(1, ZERO + 1)):
        raise UserError(f"{file} has the label {min(wrong)}; {EXPECTED}.")
    return torch.from_numpy(pixels).permute(3, 2, 0, 1), torch.from_numpy(labels.astype("uint8") % ZERO)


def _readable(read: Callable[[Path], Any], file: Path) -> Any:
    try:
        return read(file)
    except Exception as error:  # scipy raises many kinds on a file that is none of MATLAB's
        raise UserError(f"{file} cannot be read as a MATLAB file ({error}); {EXPECTED}.") from None
