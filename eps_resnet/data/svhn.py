"""SVHN's cropped digits, format 2: train_32x32.mat and extra_32x32.mat to train on, test_32x32.mat to test on."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eps_resnet.data import matlab
from eps_resnet.data.archive import reading
from eps_resnet.data.store import Images
from eps_resnet.files.errors import UserError

TRAIN_FILES = ("train_32x32.mat", "extra_32x32.mat")  # Sec. 4, "SVHN": both are trained on
TEST_FILES = ("test_32x32.mat",)
ZERO = 10  # the label of the digit 0
FORMAT = "SVHN's format 2: X, 32x32x3xN of uint8, and y, Nx1 of labels 1 to 10"
EXPECTED = f"expected {FORMAT}"
PIXELS = 32 * 32 * 3
BLOCK = 256  # images read at a time
MOST = 1_000_000  # images of a file; the largest has 531,131
INFLATION = 1032  # deflate makes no more bytes out of one


def read(path: Path) -> Images:
    """Reads the verified folder of the three files. Raises UserError if one is not of format 2."""
    train, test = parse([path / name for name in TRAIN_FILES]), parse([path / name for name in TEST_FILES])
    return Images(*train, *test)


def parse(files: list[Path]) -> tuple[Tensor, Tensor]:
    """The images (N, 3, 32, 32) and labels (N,), both uint8, of files one after another. The digit 0 has the label 0.

    All images are 1.9 GB, so they are read straight into their place. Raises UserError if a file is not of format 2.
    """
    counts = [_count(file) for file in files]
    images = torch.empty(sum(counts), 3, 32, 32, dtype=torch.uint8)
    labels = torch.empty(sum(counts), dtype=torch.uint8)
    start = 0
    for file, count in zip(files, counts, strict=True):
        _fill(file, images[start : start + count], labels[start : start + count])
        start += count
    return images, labels


def _count(path: Path) -> int:
    """The number of images in a file, from the headers of its arrays."""
    found: dict[str, matlab.Array] = {}
    with reading(path, FORMAT), path.open("rb") as file:
        for array in matlab.variables(file):
            if array.name in found:
                raise UserError(f"{path} has {array.name!r:.100} twice; {EXPECTED}.")
            found[array.name] = array
    if missing := {"X", "y"} - set(found):
        names = ", ".join(sorted(found))[:100] or "nothing"
        raise UserError(f"{path} has no {' and no '.join(sorted(missing))}, but {names}; {EXPECTED}.")
    x, y = found["X"], found["y"]
    count = x.shape[-1] if x.shape else 0
    if (x.shape, y.shape) != ((32, 32, 3, count), (count, 1)):
        raise UserError(f"{path} has X {x.shape} and y {y.shape}; {EXPECTED}.")
    if x.kind != "uint8" or y.kind not in matlab.NUMERIC.values():
        raise UserError(f"{path} has X of type {x.kind} and y of type {y.kind}; {EXPECTED}.")
    if not 0 < count <= MOST or count * PIXELS > INFLATION * path.stat().st_size:
        raise UserError(f"{path} says that it has {count} images, which cannot be; {EXPECTED}.")
    return count


def _fill(path: Path, images: Tensor, labels: Tensor) -> None:
    with reading(path, FORMAT), path.open("rb") as file:
        for array in matlab.variables(file):
            if array.name == "X":
                _, pixels = array.numbers()
                for block in torch.split(images, BLOCK):
                    content = bytearray(pixels.read(len(block) * PIXELS))
                    # The first index is the row, and lies closest together.
                    block.copy_(torch.frombuffer(content, dtype=torch.uint8).reshape(-1, 3, 32, 32).transpose(2, 3))
                array.finish()
            elif array.name == "y":
                labels.copy_(torch.from_numpy(_labels(path, array)))
                array.finish()


def _labels(path: Path, array: matlab.Array) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    dtype, content = array.numbers()
    labels = np.frombuffer(content.whole(content.left), dtype)
    if wrong := set(labels.tolist()) - set(range(1, ZERO + 1)):
        raise UserError(f"{path} has the label {min(wrong)}; {EXPECTED}.")
    return labels.astype("uint8") % ZERO
