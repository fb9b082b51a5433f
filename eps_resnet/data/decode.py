"""JPEG files decoded: what comes out is 8-bit RGB in one frame, or the image is refused by its name."""

import os

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from eps_resnet.data.listing import Split
from eps_resnet.data.workers import in_workers
from eps_resnet.files.errors import UserError

CHECKED = 64  # images that a worker checks at a time


class UndecodableError(UserError):
    """An image whose content is none that a training can use."""


def decoded(split: Split, index: int) -> Tensor:
    """An image as uint8 (3, H, W), grey ones and others turned to RGB.

    Raises UndecodableError if its content is no such image, UserError if it cannot be read.
    """
    content = split.read(index)
    try:
        image: Tensor = decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
    except (RuntimeError, ValueError):  # the latter for an empty file
        raise UndecodableError(
            f"Image {split.name(index)} in {split.place} is corrupt: it cannot be decoded."
        ) from None
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:  # 16 bits a colour; an animation
        raise UndecodableError(
            f"Image {split.name(index)} in {split.place} has shape {tuple(image.shape)} and type {image.dtype}; "
            "expected 8-bit RGB in one frame, (3, height, width) and torch.uint8. Get this file anew."
        )
    return image


def undecodable(split: Split) -> list[int]:
    """The indices of images that cannot be decoded. Decodes all of them, on all cores."""
    parts = torch.split(torch.arange(len(split)), CHECKED)
    found = in_workers(lambda step: _corrupt(split, parts[step]), range(len(parts)), cores())
    return [index for part in found for index in part.tolist()]


def _corrupt(split: Split, indices: Tensor) -> Tensor:
    return torch.tensor([index for index in indices.tolist() if _is_corrupt(split, index)], dtype=torch.int64)


def _is_corrupt(split: Split, index: int) -> bool:
    try:
        decoded(split, index)
    except UndecodableError:
        return True
    return False


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))
