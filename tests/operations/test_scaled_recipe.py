"""The recipe for a user's own data: what the rule promises for any number of images."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eps_resnet.files.errors import UserError
from eps_resnet.operations.scaled_recipe import LEAST_IMAGES, scaled_recipe


@given(st.integers(LEAST_IMAGES, 5_000_000))
@example(LEAST_IMAGES)
@example(10_000)
def test_for_any_number_of_images_the_rule_keeps_its_limits(images: int) -> None:
    recipe = scaled_recipe(images)
    assert 8 <= recipe.batch <= 128
    assert recipe.epoch_steps == images // recipe.batch >= 8
    assert 0.0002 <= recipe.weight_decay <= 0.012
    assert recipe.steps >= 3000
    assert recipe.steps <= 12_000 or recipe.epochs == 10
    first, second = recipe.adaptive_steps
    assert recipe.rate_steps == (2 * first, 2 * second)
    if recipe.steps <= 12_000:
        assert recipe.weight_decay * recipe.steps == pytest.approx(28, rel=0.05)
    unit = 1 / (recipe.weight_decay * recipe.epoch_steps)
    assert first == max(1, round(2.8 * unit))
    assert second == max(first + 1, round(4.2 * unit))


def test_ten_thousand_images_get_the_steps_of_the_recipe_that_the_rule_was_taken_from() -> None:
    recipe = scaled_recipe(10_000)
    assert (recipe.batch, recipe.epochs, recipe.steps) == (128, 150, 11_700)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(UserError, match="There are 63 training images; expected at least 64"):
        scaled_recipe(63)
