"""Smaller versions of a data set: fewer training images, a split of them for validation, averaged areas of pixels."""

import torch
from torch import Tensor

from eps_resnet.data import cifar
from eps_resnet.data.shrink import squared
from eps_resnet.data.store import Images
from eps_resnet.experiments.models import Archive, DataSet
from eps_resnet.files.errors import UserError

# Files that training images come from, all of one size, where a registry may take fewer images than there are.
FILES = {"cifar10": len(cifar.CIFAR10.train_files), "cifar100": len(cifar.CIFAR100.train_files)}


def taken(name: str, data: DataSet, archive: Archive, images: Images) -> Images:
    """What the registry takes of a copy: its numbers of images, the first of each file, in its size.

    Where `validation` is set, test images are the training images that follow in each file. Raises UserError if the
    copy has fewer images than the registry takes, or another size than can be averaged to the registry's.
    """
    files, wanted = FILES[data.format], archive.train_images
    whole = images.train_images, images.train_labels
    train = _each(name, "training", files, 0, wanted, *whole)
    if data.validation:
        test = _each(name, "training", files, wanted, archive.test_images, *whole)
    else:
        test = _each(name, "test", 1, 0, archive.test_images, images.test_images, images.test_labels)
    return Images(averaged(train[0], data.size), train[1], averaged(test[0], data.size), test[1])


def _each(
    name: str, split: str, files: int, start: int, count: int, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """`count` images and their labels, as many of each file, those after the `start` first ones of all files."""
    if start + count > len(labels):
        raise UserError(f"{name} has {len(labels)} {split} images, the copy should have {start + count} or more.")
    if start % files or count % files:
        raise UserError(
            f"{name}: {count} {split} images after the first {start} cannot be taken evenly from {files} files; change "
            "the numbers of its copies in the registry."
        )
    each, first, last = len(labels) // files, start // files, (start + count) // files
    pick = torch.arange(len(labels)).reshape(files, each)[:, first:last].flatten()
    return images[pick], labels[pick]


def averaged(images: Tensor, size: int) -> Tensor:
    """Images (N, C, H, H) of uint8 as (N, C, size, size): the mean of each square area, rounded half up.

    Raises UserError unless `size` divides H.
    """
    height = images.shape[-1]
    if height % size:
        raise UserError(f"Images of {height} pixels cannot be averaged to {size}; choose a size that divides it.")
    return squared(images, size)
