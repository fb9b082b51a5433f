"""The listing of a data set of JPEG files: which image lies where, the same wherever the files are."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from eps_resnet.data import manifest, store
from eps_resnet.experiments.layout import Layout
from eps_resnet.files import tensors
from eps_resnet.files.errors import UserError

FOLDERS = {"train": "train", "test": "val"}  # splits, and what their folders are called
SAMPLE = 1000  # images whose bytes the sampled checksum covers, evenly spaced over both splits


class Member(NamedTuple):
    """One image: its class, its file's name, its size in bytes and where in a tar it begins (0 in a folder)."""

    group: str
    name: str
    size: int
    offset: int = 0


@dataclass(frozen=True)
class Split:
    """The images of one split, sorted by class and name. Tensors, so that worker processes share them.

    `names` is one text of lines `train/<wnid>/<file>` in UTF-8 bytes, `ends` (N,) where each line ends; `sizes` in
    bytes and `labels` (N,). They lie in the file `place` from `offsets` (N,), or, where that is None, below the folder.
    """

    names: Tensor
    ends: Tensor
    sizes: Tensor
    labels: Tensor
    place: Path
    offsets: Tensor | None

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """An image's name, such as `train/n01440764/n01440764_10026.JPEG`."""
        start = int(self.ends[index - 1]) + 1 if index else 0
        return bytes(self.names[start : int(self.ends[index])].tolist()).decode()

    def read(self, index: int) -> bytes:
        """An image's file. Raises UserError if it is no longer where it was."""
        path = self.place / self.name(index) if self.offsets is None else self.place
        offset = 0 if self.offsets is None else int(self.offsets[index])
        try:
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a named pipe would wait for who writes
            try:
                return os.pread(file, int(self.sizes[index]), offset)
            finally:
                os.close(file)
        except OSError as error:
            raise UserError(f"Image {self.name(index)} cannot be read from {path}: {error.strerror}.") from None

    def without(self, left_out: set[int]) -> "Split":
        """The split without the images of these indices."""
        kept = [i for i in range(len(self)) if i not in left_out]
        names = text_of([self.name(i) for i in kept])
        offsets = None if self.offsets is None else self.offsets[kept]
        return Split(names, ends_of(names), self.sizes[kept], self.labels[kept], self.place, offsets)


Listing = dict[str, Split]  # by split: train, test


def listed(members: dict[str, list[Member]], folders: Mapping[str, str], places: Mapping[str, Path]) -> Listing:
    """The listing of images that lie in `places`, tars or folders. A class's place among all, sorted, is its label.

    `folders`: how each split's folder is called in the names of its images.
    """
    groups = sorted({member.group for part in members.values() for member in part})
    label = {group: number for number, group in enumerate(groups)}
    listing = {}
    for split, part in members.items():
        names = text_of([f"{folders[split]}/{member.group}/{member.name}" for member in part])
        sizes = torch.tensor([member.size for member in part], dtype=torch.int32)
        labels = torch.tensor([label[member.group] for member in part], dtype=torch.int16)
        offsets = torch.tensor([member.offset for member in part]) if places[split].is_file() else None
        listing[split] = Split(names, ends_of(names), sizes, labels, places[split], offsets)
    return listing


def load(layout: Layout, dataset: str) -> Listing:
    """The stored listing. Raises UserError if it is missing or altered, or the sampled checksum is not what it was."""
    fetch_it = store.fetch_command(layout, dataset, " --from PATH")
    stored = store.verified(layout, dataset, fetch_it)
    offsets, places = tensors.read(layout.image_location(dataset), fetch_it)
    listing = {}
    for split in FOLDERS:
        names, sizes, labels = (stored[f"{split}_{part}"] for part in ("names", "sizes", "labels"))
        listing[split] = Split(names, ends_of(names), sizes, labels, Path(places[split]), offsets.get(split))
    expected = manifest.read(layout, dataset)
    if expected is None or sample_sha256(listing) != expected.sample_sha256:
        raise UserError(f"The images in {places['train']} are no longer those that were fetched; {fetch_it}.")
    return listing


def sample_sha256(listing: Listing) -> str:
    """SHA-256 over the names and bytes of up to 1,000 images, evenly spaced over the training, then the test images."""
    train, test = listing["train"], listing["test"]
    total, digest = len(train) + len(test), hashlib.sha256()
    count = min(SAMPLE, total)
    for place in (i * total // count for i in range(count)):
        split, index = (train, place) if place < len(train) else (test, place - len(train))
        digest.update(f"{split.name(index)}\n".encode() + split.read(index))
    return digest.hexdigest()


def text_of(lines: list[str]) -> Tensor:
    """Lines as the bytes of one text (bytes,), uint8."""
    return torch.frombuffer(bytearray("".join(f"{line}\n" for line in lines), "utf-8"), dtype=torch.uint8)


def ends_of(names: Tensor) -> Tensor:
    """Where each line of such a text ends (lines,)."""
    return (names == ord("\n")).nonzero()[:, 0]
