"""SVHN's cropped digits, format 2: train_32x32.mat and extra_32x32.mat to train on, test_32x32.mat to test on.

Which copies are accepted, by their SHA-256, the registry says: config/experiments.yaml, `archives`.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eps_resnet.data.store import Images
from eps_resnet.files.errors import UserError

TRAIN_FILES = ("train_32x32.mat", "extra_32x32.mat")  # Sec. 4, "SVHN": both are trained on
TEST_FILES = ("test_32x32.mat",)
ZERO = 10  # the label of the digit 0
EXPECTED = "expected SVHN's format 2: X, 32x32x3xN of uint8, and y, Nx1 of labels 1 to 10"


def read(path: Path) -> Images:
    """Reads the folder of the three files, which `data/accepted_digests.py` has verified: scipy trusts what it reads.

    Raises UserError if one is not of format 2.
    """
    train, test = parse([path / name for name in TRAIN_FILES]), parse([path / name for name in TEST_FILES])
    return Images(*train, *test)


def parse(files: list[Path]) -> tuple[Tensor, Tensor]:
    """The images (N, 3, 32, 32) and labels (N,), both uint8, of files one after another. The digit 0 has the label 0.

    Raises UserError if a file is not of format 2.
    """
    images, labels = zip(*map(_parse, files), strict=True)
    return torch.cat(images).contiguous(), torch.cat(labels)


def _parse(path: Path) -> tuple[Tensor, Tensor]:
    from scipy.io import loadmat  # takes a quarter of a second to import, which other data sets save

    arrays = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    if missing := {"X", "y"} - set(arrays):
        raise UserError(f"{path} has no {' and no '.join(sorted(missing))}, but {', '.join(arrays)}; {EXPECTED}.")
    x, y = arrays["X"], arrays["y"]
    if x.shape != (32, 32, 3, len(y)) or y.shape != (len(y), 1) or x.dtype != np.uint8:
        raise UserError(f"{path} has X {x.shape} of type {x.dtype} and y {y.shape}; {EXPECTED}.")
    if wrong := set(y.ravel().tolist()) - set(range(1, ZERO + 1)):
        raise UserError(f"{path} has the label {min(wrong)}; {EXPECTED}.")
    return torch.from_numpy(x).permute(3, 2, 0, 1), torch.from_numpy(y.ravel().astype("uint8") % ZERO)
