"""Images cut to a square and shrunk: each pixel becomes the exact mean of the area that it covers."""

import torch
from torch import Tensor

AT_A_TIME = 3000  # channels of images that are shrunk at once: sums take eight times their memory


def squared(images: Tensor, size: int) -> Tensor:
    """The centre square of images (..., H, W) of uint8, shrunk to (..., size, size): means of areas, rounded half up.

    H and W must be `size` or more.
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[..., top : top + side, left : left + side]
    if side == size:
        return square.contiguous()
    parts = torch.split(square.reshape(-1, side, side), AT_A_TIME)
    return torch.cat([_shrunk(part, size) for part in parts]).reshape(*images.shape[:-2], size, size)


def _shrunk(square: Tensor, size: int) -> Tensor:
    side = square.shape[-1]
    overlaps = _overlaps(side, size)
    sums = overlaps @ square.double() @ overlaps.T  # whole numbers below 2**53: exact, in whatever order they are added
    return ((2 * sums.long() + side**2) // (2 * side**2)).to(torch.uint8)


def _overlaps(side: int, size: int) -> Tensor:
    """How much each of `size` pixels covers of each of `side` (size, side); a row sums up to `side`."""
    old, new = torch.arange(side + 1) * size, torch.arange(size + 1) * side  # edges, in a unit that divides both
    ends = torch.minimum(new[1:, None], old[None, 1:])
    starts = torch.maximum(new[:-1, None], old[None, :-1])
    return (ends - starts).clamp(min=0).double()
