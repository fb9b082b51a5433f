"""The rule that judges a published number."""

import math
from statistics import fmean

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eps_resnet.evidence.verdict import LEAST_SEEDS, Scale, error_scale, expected, judge, judge_exact, share_scale

ERRORS = st.floats(0.01, 0.5)
RANK = {"off": 0, "close": 1, "reproduced": 2}
CIFAR = error_scale(0.0524, 10_000)


def verdict(ours: list[float], published: float, scale: Scale = CIFAR, settled: bool = True) -> str:
    return judge(ours, published, 1e-5, scale, settled)[0]


@given(ERRORS, st.integers(100, 50_000), st.floats(-0.1, 0.1))
def test_a_single_seed_is_never_more_than_close(published: float, images: int, difference: float) -> None:
    assert verdict([published + difference], published, error_scale(published, images)) in ("close", "off")


def test_three_seeds_that_hold_the_published_number_reproduce_it_and_two_do_not() -> None:
    assert verdict([0.0520, 0.0531, 0.0525], 0.0524) == "reproduced"
    assert verdict([0.0520, 0.0529], 0.0524) == "close"


def test_a_wide_interval_does_not_earn_reproduced() -> None:
    seeds = [0.045, 0.0524, 0.060]  # their mean is the published number
    assert verdict(seeds, 0.0524) == "close"
    assert "spread too widely" in judge(seeds, 0.0524, 1e-5, CIFAR)[1]


def test_a_difference_beyond_the_seeds_spread_is_close_within_the_margin_and_off_beyond_it() -> None:
    seeds = [0.0550, 0.0551, 0.0552]
    assert verdict(seeds, 0.0524) == "close"
    assert verdict([seed + CIFAR.margin for seed in seeds], 0.0524) == "off"


def test_a_run_that_never_settled_is_at_most_close() -> None:
    seeds = [0.0520, 0.0531, 0.0525]
    assert verdict(seeds, 0.0524, settled=False) == "close"


@given(st.lists(ERRORS, min_size=1, max_size=6), ERRORS, st.floats(0, 0.3))
def test_a_larger_difference_never_gets_a_better_verdict(ours: list[float], published: float, more: float) -> None:
    away = math.copysign(more, fmean(ours) - published)
    near = judge(ours, published, 0.001, CIFAR)[0]
    far = judge([value + away for value in ours], published, 0.001, CIFAR)[0]
    assume(abs(fmean(ours) - published) > 1e-9)
    assert RANK[far] <= RANK[near]


@given(st.lists(ERRORS, min_size=LEAST_SEEDS, max_size=6), ERRORS)
def test_reproduced_means_inside_an_interval_no_wider_than_the_bound(ours: list[float], published: float) -> None:
    spread = expected(ours, 0.001, CIFAR.step)
    assert spread is not None
    is_reproduced = judge(ours, published, 0.001, CIFAR)[0] == "reproduced"
    assert is_reproduced == (abs(fmean(ours) - published) <= spread <= CIFAR.margin + 0.001)


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
