"""Images in a folder for each class, such as train/<class>/*.JPEG: what lies there, before it is listed."""

import os
import re
import stat
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from eps_resnet.data.listing import FOLDERS, Member
from eps_resnet.files.errors import UserError, some

SUFFIX = ".JPEG"
LARGEST_IMAGE = 256 << 20  # bytes; the official ones have 16 MB at most
SHOWN = 10  # names in a message
DEPTH, SEARCHED = 4, 2000  # how deep, and in how many folders, the right one is looked for below a wrong one
OFFICIAL = r"(ILSVRC2012_val|{wnid})_\d+\.JPEG"  # names of images
REMEDY = "Expected the file of an image: get it anew, or remove it"
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


@dataclass
class Skipped:
    """What lies among the images and is none: names that begin with a dot, such as macOS leaves, and other files.

    `image` is how those that count are called.
    """

    image: str
    dots: int = 0
    others: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.dots} whose name begins with a dot"] if self.dots else []
        if self.others:
            parts.append(
                f"{len(self.others)} that {'is' if len(self.others) == 1 else 'are'} no {self.image} in a class's "
                f"folder, the first of them {self.others[0]}"
            )
        return " and ".join(parts)


def members_of(folder: Path, split: str, is_image: Callable[[str], bool], skipped: Skipped) -> list[Member]:
    """The images of one split, in folders of classes, sorted by class and name. What is no image is skipped.

    Raises UserError, which names the first file that does not fit, if what is named like an image is no plain file.
    """
    members = []
    for group in visible(folder / split, skipped):
        if not group.is_dir():
            skipped.others.append(f"{split}/{group.name}")
            continue
        require_printable(group)
        for file in visible(Path(group), skipped):
            if is_image(file.name):
                require_printable(file)
                members.append(Member(group.name, file.name, bytes_of(file)))
            else:
                skipped.others.append(f"{split}/{group.name}/{file.name}")
    return members


def visible(folder: Path, skipped: Skipped) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted by name; names that begin with a dot are skipped and counted."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    visible = [entry for entry in found if not entry.name.startswith(".")]
    skipped.dots += len(found) - len(visible)
    return visible


def require_class_folders(folder: Path, split: str) -> None:
    """Raises UserError, which says what is there instead, if a split has no folders of classes."""
    entries = visible(folder / split, Skipped(SUFFIX))
    if any(entry.is_dir() for entry in entries):
        return
    files = [f"{split}/{entry.name}" for entry in entries]
    expected = f"expected one folder for each class, {split}/<class>/*{SUFFIX}"
    if images := [name for name in files if name.endswith(SUFFIX)]:
        raise UserError(
            f"{folder} has {len(images)} images in {split} and no folders of classes, the first image is {images[0]}; "
            f"{expected}. Move each image into the folder of its class; those of Kaggle's val are listed in "
            "LOC_val_solution.csv. Or give the official tars."
        )
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    there = f"{count}, the first of them {files[0]}" if files else "nothing"
    raise UserError(f"{folder} has no folders of classes in {split}, but {there}; {expected}.")


def bytes_of(file: os.DirEntry[str]) -> int:
    """The size of an image's file, in bytes. Raises UserError if it is no plain file of a reasonable size."""
    try:
        found = file.stat()
    except OSError as error:
        if not file.is_symlink():
            raise
        target = Path(file).readlink()
        raise UserError(f"{file.path} is a link to {target}: {error.strerror}. {REMEDY}.") from None
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{file.path} is {KINDS.get(stat.S_IFMT(found.st_mode), 'a device')}. {REMEDY}.")
    if found.st_size > LARGEST_IMAGE:
        raise UserError(f"{file.path} has {found.st_size} bytes, more than {LARGEST_IMAGE}. {REMEDY}.")
    return found.st_size


def require_printable(entry: os.DirEntry[str]) -> None:
    """Raises UserError if a name cannot stand in a line of text."""
    if not entry.name.isprintable():  # no listing could hold it
        raise UserError(f"{entry.path!a} has control characters or broken UTF-8 in its name. {REMEDY}.")


def unusual(members: dict[str, list[Member]]) -> str | None:
    """The first image that is not named like the official ones; None if all are."""
    for split, part in members.items():
        for wnid, name, *_ in part:
            if not re.fullmatch(r"n\d{8}", wnid) or not re.fullmatch(OFFICIAL.format(wnid=wnid), name):
                return f"{FOLDERS[split]}/{wnid}/{name}"
    return None


def is_whole(folder: Path) -> bool:
    """Whether a folder has those of both splits."""
    return all((folder / name).is_dir() for name in FOLDERS.values())


def found_instead(folder: Path) -> str:
    """What is at a place where no images are as expected, in words, and the folder that may be meant."""
    if not folder.exists():
        return f"there is nothing at {folder}"
    if not folder.is_dir():
        return f"{folder} is a file, not a folder"
    near = folder.absolute().parent if is_whole(folder.absolute().parent) else _whole_below(folder)
    if near is not None:
        return f"{folder} is neither, but {near} has train and val: give that folder"
    return f"{folder} has {some(sorted(path.name for path in folder.iterdir()), SHOWN) or 'nothing'}"


def _whole_below(folder: Path) -> Path | None:
    """The nearest folder below that has both splits."""
    waiting = deque([(folder, 0)])
    for _ in range(SEARCHED):
        if not waiting:
            break
        place, depth = waiting.popleft()
        if is_whole(place):
            return place
        if depth < DEPTH:
            with suppress(OSError), os.scandir(place) as entries:
                waiting += [(Path(entry), depth + 1) for entry in entries if entry.is_dir()]
    return None
