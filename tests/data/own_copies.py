"""Small data sets of a user's own for the tests: digits in an .npz and as a folder of PNG files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torchvision.io import write_png

Arrays = dict[str, NDArray[Any]]


def arrays(train: int = 80, test: int = 40) -> Arrays:
    """The first digits, 8x8 pixels from 0 to 240."""
    bundle = load_digits()
    images, labels, end = (bundle.images * 15).astype(np.uint8), bundle.target, train + test
    return {
        "train_images": images[:train],
        "train_labels": labels[:train],
        "test_images": images[train:end],
        "test_labels": labels[train:end],
    }


def make_npz(path: Path, train: int = 80, test: int = 40) -> Path:
    """Those digits in one file."""
    np.savez(path, **arrays(train, test))
    return path


def make_folder(path: Path, train: int = 80, test: int = 40) -> Path:
    """The same digits as train/<class>/*.png and test/<class>/*.png, grey."""
    drawn = arrays(train, test)
    for split in ("train", "test"):
        for i, (image, label) in enumerate(zip(drawn[f"{split}_images"], drawn[f"{split}_labels"], strict=True)):
            save(path / split / f"digit{label}" / f"{i:04}.png", torch.from_numpy(image)[None])
    return path


def save(path: Path, image: torch.Tensor) -> None:
    """An image (C, H, W) of uint8 as a PNG file, in a folder that need not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(image, str(path))
