"""Images cut to a square and shrunk: every pixel is the mean of the area it covers, exactly."""

from fractions import Fraction
from math import floor

import torch
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.data.shrink import squared


def mean_of_area(image: torch.Tensor, row: int, column: int, size: int) -> int:
    """One pixel in exact fractions, rounded half up."""
    side, total = image.shape[-1], Fraction(0)
    step = Fraction(side, size)
    for y in range(side):
        for x in range(side):
            height = min(Fraction(y + 1), (row + 1) * step) - max(Fraction(y), row * step)
            width = min(Fraction(x + 1), (column + 1) * step) - max(Fraction(x), column * step)
            total += max(height, Fraction(0)) * max(width, Fraction(0)) * int(image[y, x])
    return floor(total / step**2 + Fraction(1, 2))


@given(st.integers(1, 9), st.data())
def test_each_pixel_is_the_mean_of_its_area_rounded_half_up(side: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, side))
    pixels = data.draw(st.lists(st.integers(0, 255), min_size=side**2, max_size=side**2))
    image = torch.tensor(pixels, dtype=torch.uint8).reshape(side, side)
    expected = [[mean_of_area(image, row, column, size) for column in range(size)] for row in range(size)]
    assert squared(image, size).tolist() == expected


@given(st.integers(1, 12), st.integers(1, 12))
def test_of_an_image_that_is_no_square_the_centre_is_taken(height: int, width: int) -> None:
    image = torch.arange(height * width).reshape(1, height, width).to(torch.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    assert torch.equal(squared(image, side), image[:, top : top + side, left : left + side])


def test_a_large_image_of_one_value_keeps_it() -> None:
    assert set(squared(torch.full((3, 4001, 5003), 255, dtype=torch.uint8), 32).flatten().tolist()) == {255}
