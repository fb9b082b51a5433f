"""A user's own data, in either of its formats: what is found out before it is read, and what both must satisfy."""

from collections.abc import Sequence
from dataclasses import dataclass

from eps_resnet.files.errors import UserError

FORMATS = ("npz", "folder")
SMALLEST, LARGEST = 8, 64  # pixels of an image's side: the networks halve it twice, and larger ones need days
MOST_CLASSES = 256  # labels are stored as one byte


@dataclass(frozen=True)
class Look:
    """What a look at the images says. `short_side`: of the smallest one, in pixels, `channels` as they are stored.

    `are_photographs`: they are in colour and may be mirrored, as far as the files tell.
    """

    sha256: str
    train_images: int
    test_images: int
    classes: tuple[str, ...]
    channels: int
    short_side: int
    are_photographs: bool


def require_classes(place: object, count: int) -> None:
    """Raises UserError unless there are as many classes as can be told apart and stored."""
    if count < 2:
        raise UserError(f"{place} has one class; expected two or more, as there is nothing to tell apart.")
    if count > MOST_CLASSES:
        raise UserError(f"{place} has {count} classes; expected at most {MOST_CLASSES}.")


def require_pixels(what: str, shape: Sequence[int], size: int) -> None:
    """Raises UserError if an image (H, W) is too small for the networks, or for the size it is to be shrunk to."""
    height, width = shape
    side = min(shape)
    if side < SMALLEST:
        raise UserError(f"{what} has {height}x{width} pixels; the networks need {SMALLEST} in height and width.")
    if side < size:
        raise UserError(
            f"{what} has {height}x{width} pixels and is not enlarged to {size}x{size}; choose a size of {side} or less."
        )
