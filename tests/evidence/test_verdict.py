"""The rule that judges a published number."""

import math
from statistics import fmean

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eps_resnet.evidence.inference import Spread, possible_difference
from eps_resnet.evidence.verdict import ENOUGH_SEEDS, Scale, error_scale, judge, judge_exact, share_scale

ERRORS = st.floats(0.01, 0.5)
RANK = {"off": 0, "close": 1, "reproduced": 2}
CIFAR = error_scale(0.0524, 10_000)


def verdict(ours: list[float], published: float, scale: Scale = CIFAR, settled: bool = True) -> str:
    return judge(ours, published, 1e-5, scale, settled)[0]


@given(ERRORS, st.integers(100, 50_000), st.floats(-0.1, 0.1))
def test_a_single_seed_is_never_more_than_close(published: float, images: int, difference: float) -> None:
    assert verdict([published + difference], published, error_scale(published, images)) in ("close", "off")


SEEDS = [0.0520, 0.0531, 0.0525, 0.0523, 0.0528]


def test_five_seeds_that_cannot_be_far_from_the_published_number_reproduce_it_and_four_do_not() -> None:
    assert verdict(SEEDS, 0.0524) == "reproduced"
    assert verdict(SEEDS[:4], 0.0524) == "close"


def test_seeds_that_spread_widely_reproduce_nothing() -> None:
    seeds = [0.045, 0.0524, 0.060, 0.05, 0.0546]  # their mean is the published number
    assert verdict(seeds, 0.0524) == "close"
    assert "chance may hide" in judge(seeds, 0.0524, 1e-5, CIFAR)[1]


def test_a_spread_that_is_pooled_over_other_networks_stands_for_that_of_the_seeds() -> None:
    lucky = [0.0524, 0.0524, 0.0524, 0.0524, 0.0524]  # that they agree so well is chance
    assert judge(lucky, 0.0524, 1e-5, CIFAR, spread=Spread(0.001, 12))[0] == "reproduced"
    assert judge(lucky, 0.0524, 1e-5, CIFAR, spread=Spread(0.005, 12))[0] == "close"


def test_a_difference_beyond_the_bound_is_off() -> None:
    assert verdict([seed + 1.2 * CIFAR.margin for seed in SEEDS], 0.0524) == "off"


def test_a_run_that_never_settled_is_at_most_close() -> None:
    assert verdict(SEEDS, 0.0524, settled=False) == "close"


def test_the_reason_says_how_likely_an_identical_process_is_reproduced() -> None:
    words = judge(SEEDS, 0.0524, 1e-5, CIFAR, spread=Spread(0.001, 12))[1]
    assert "3 seeds 0%, 100%, 0%" in words  # with three, nothing is
    assert "5 seeds 100%, 0%, 0%" in words


@given(st.lists(ERRORS, min_size=1, max_size=6), ERRORS, st.floats(0, 0.3))
def test_a_larger_difference_never_gets_a_better_verdict(ours: list[float], published: float, more: float) -> None:
    away = math.copysign(more, fmean(ours) - published)
    near = judge(ours, published, 0.001, CIFAR)[0]
    far = judge([value + away for value in ours], published, 0.001, CIFAR)[0]
    assume(abs(fmean(ours) - published) > 1e-9)
    assert RANK[far] <= RANK[near]


@given(st.lists(ERRORS, min_size=ENOUGH_SEEDS, max_size=8), ERRORS)
def test_reproduced_means_that_difference_and_chance_together_stay_within_the_bound(
    ours: list[float], published: float
) -> None:
    spread = Spread.of([ours])
    assert spread is not None
    reach = abs(fmean(ours) - published) + possible_difference(spread, len(ours)) + CIFAR.step / 2
    assert (judge(ours, published, 0.001, CIFAR)[0] == "reproduced") == (reach <= CIFAR.margin + 0.001)


@given(st.floats(0.001, 0.5), st.integers(100, 50_000))
def test_more_test_images_narrow_the_margin_of_an_error(error: float, images: int) -> None:
    assert error_scale(error, 4 * images).margin == pytest.approx(error_scale(error, images).margin / 2)


def test_the_margin_is_wider_than_the_papers_gap_between_methods_at_752_layers() -> None:
    assert error_scale(0.0522, 10_000).margin == pytest.approx(0.0062, abs=0.00005)
    assert 0.0547 - 0.0522 < 0.0062  # Fig. 6a, standard and gated: what docs/verdicts.md says


def test_the_margin_of_an_error_is_that_of_two_independent_test_sets() -> None:
    assert CIFAR.margin == pytest.approx(1.96 * math.sqrt(2 * 0.0524 * 0.9476 / 10_000), rel=1e-4)


@pytest.mark.parametrize(("blocks", "margin"), [(375, 0.05), (54, 0.05), (20, 0.05), (9, 1 / 9)])
def test_the_margin_of_a_share_is_at_least_one_block(blocks: int, margin: float) -> None:
    assert share_scale(blocks).margin == pytest.approx(margin)
    assert share_scale(blocks, 46.3).margin == pytest.approx(46.3 * margin)


@pytest.mark.parametrize(("ours", "expected"), [(6.6, "reproduced"), (6.8, "close"), (6.9, "off")])
def test_an_exact_count_is_judged_by_how_well_the_bar_was_read(ours: float, expected: str) -> None:
    assert judge_exact(ours, 6.63, 0.11)[0] == expected
