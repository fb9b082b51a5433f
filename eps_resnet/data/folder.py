"""A user's own data as image files: train/<class>/*.jpg, *.jpeg or *.png, and test/<class>/ likewise."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from eps_resnet.data.class_folders import SHOWN, Skipped, members_of
from eps_resnet.data.listing import Listing, Member, Split, listed
from eps_resnet.data.own import SMALLEST, Look, require_classes, require_pixels
from eps_resnet.data.shrink import squared
from eps_resnet.data.store import Images
from eps_resnet.data.workers import in_workers
from eps_resnet.files.errors import UserError

SPLITS = ("train", "test")
SUFFIXES = (".jpg", ".jpeg", ".png")  # in whatever case
EXPECTED = f"expected train/<class>/ and test/<class>/ with files {', '.join(SUFFIXES)}"
AT_A_TIME = 64  # images that a worker decodes at once


def look(path: Path) -> Look:
    """Decodes every image. Raises UserError, which names what does not fit, if the folder cannot be used."""
    classes, listing, skipped = _listed(path)
    if str(skipped):
        print(f"{path}: skipped {skipped}.", file=sys.stderr)
    sides, has_colour = zip(*(_looked_at(split) for split in listing.values()), strict=True)
    return Look(
        sha256=_digest(listing),
        train_images=len(listing["train"]),
        test_images=len(listing["test"]),
        classes=tuple(classes),
        channels=3,
        short_side=min(sides),
        are_photographs=any(has_colour),
    )


def digest(path: Path) -> str:
    """SHA-256 over the names and bytes of all images: that of `sha256sum`'s lines, sorted by name in bytes."""
    return _digest(_listed(path)[1])


def read(path: Path, size: int) -> Images:
    """The images of a folder whose digest was verified, in RGB, as squares of that size. Raises UserError as `look`."""
    listing = _listed(path)[1]
    images = {
        name: torch.cat(_each(split, lambda image, what: _shrunk(image, what, size))) for name, split in listing.items()
    }
    labels = {name: split.labels.to(torch.uint8) for name, split in listing.items()}
    return Images(images["train"], labels["train"], images["test"], labels["test"])


def _shrunk(image: Tensor, what: str, size: int) -> Tensor:
    require_pixels(what, image.shape[1:], size)
    return squared(image, size)


def _looked_at(split: Split) -> tuple[int, bool]:
    """The short side of the smallest image, and whether any is in colour."""
    found = torch.cat(_each(split, _look_at))
    return int(found[:, 0].min()), bool(found[:, 1].any())


def _look_at(image: Tensor, what: str) -> Tensor:
    require_pixels(what, image.shape[1:], SMALLEST)
    return torch.tensor([min(image.shape[1:]), int((image != image[:1]).any())])


def _each(split: Split, work: Callable[[Tensor, str], Tensor]) -> list[Tensor]:
    """What `work` makes of each image (3, H, W) and the words for it, stacked, in all cores' worker processes."""
    from eps_resnet.data.decode import cores, decoded  # its libraries need a second, which other data sets save

    parts = torch.split(torch.arange(len(split)), AT_A_TIME)

    def made(step: int) -> Tensor:
        return torch.stack(
            [work(decoded(split, i), f"Image {split.place / split.name(i)}") for i in parts[step].tolist()]
        )

    return list(in_workers(made, range(len(parts)), cores()))


def _digest(listing: Listing) -> str:
    named = [(split.name(i).encode(), split, i) for split in listing.values() for i in range(len(split))]
    named.sort(key=lambda image: image[0])
    lines = [f"{hashlib.sha256(split.read(i)).hexdigest()}  {name.decode()}\n" for name, split, i in named]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# What lies in the folder


def _listed(path: Path) -> tuple[list[str], Listing, Skipped]:
    """The classes by label, the images of both splits, and what was skipped."""
    if missing := [name for name in SPLITS if not (path / name).is_dir()]:
        raise UserError(f"{path} has no folder {' and no folder '.join(missing)}; {EXPECTED}.")
    skipped = Skipped("image")
    members = {split: members_of(path, split, _is_image, skipped) for split in SPLITS}
    classes = _classes(path, members)
    return classes, listed(members, {split: split for split in SPLITS}, dict.fromkeys(SPLITS, path)), skipped


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _classes(path: Path, members: dict[str, list[Member]]) -> list[str]:
    """The classes, sorted: their places are their labels. Raises UserError unless both splits have all of them."""
    found = {split: {member.group for member in part} for split, part in members.items()}
    for split in SPLITS:
        if not found[split]:
            raise UserError(f"{path / split} has no images in folders of classes; {EXPECTED}.")
    if differing := sorted(found["train"] ^ found["test"]):
        lacking = [f"{name} has none in {'train' if name in found['test'] else 'test'}" for name in differing]
        raise UserError(
            f"{path}: expected images of each class in train and test; class {'; class '.join(lacking[:SHOWN])}."
        )
    require_classes(path, len(found["train"]))
    return sorted(found["train"])
