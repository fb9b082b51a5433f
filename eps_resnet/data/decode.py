"""JPEG files decoded, in worker processes where there are many."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image

from eps_resnet.data.listing import Split
from eps_resnet.files.errors import UserError

CHECKED = 64  # images that a worker checks at a time


def decoded(split: Split, index: int) -> Tensor:
    """An image as uint8 (3, H, W), grey ones and others turned to RGB. Raises UserError if it cannot be decoded."""
    content = split.read(index)
    try:
        image: Tensor = decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), ImageReadMode.RGB)
    except (RuntimeError, ValueError):  # the latter for an empty file
        raise UserError(f"Image {split.name(index)} in {split.place} is corrupt: it cannot be decoded.") from None
    return image


def undecodable(split: Split) -> list[int]:
    """The indices of images that cannot be decoded. Decodes all of them, on all cores."""
    parts = torch.split(torch.arange(len(split)), CHECKED)
    found = in_workers(lambda step: [i for i in parts[step].tolist() if _is_corrupt(split, i)], range(len(parts)))
    return [index for part in found for index in part]


def _is_corrupt(split: Split, index: int) -> bool:
    try:
        decoded(split, index)
    except UserError:
        return True
    return False


class _Work(Dataset[Any]):
    """A function as a data set: its n-th item is what it returns for n, or the UserError it raises."""

    def __init__(self, function: Callable[[int], Any]) -> None:
        self.function = function

    def __getitem__(self, step: int) -> Any:
        try:
            return self.function(step)
        except UserError as error:
            return error  # torch would bury it in a worker's traceback


def in_workers(
    work: Callable[[int], Any], steps: range, workers: int | None = None, pin: bool = False
) -> Iterator[Any]:
    """work(step) for each step, in order, computed ahead by worker processes. Raises the UserError that `work` raises.

    `pin`: tensors arrive in pinned memory, from which a GPU copies while it computes.
    """
    loader = DataLoader(
        _Work(work),
        batch_size=None,
        sampler=steps,
        num_workers=min(workers or cores(), len(steps)),
        pin_memory=pin,
        worker_init_fn=_leave_signals_to_the_training,
    )
    for result in loader:
        if isinstance(result, UserError):
            raise result
        yield result


def _leave_signals_to_the_training(_worker: int) -> None:
    """A cluster that asks a training to stop asks all of its processes; without workers it could not end the step."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))
