"""The tests behind the verdicts keep their error rates and have the power that docs/verdicts.md states: simulated."""

from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import page_trend_test

from eps_resnet.evidence import inference
from eps_resnet.evidence.inference import (
    LEVEL,
    Arm,
    Spread,
    chance_of_equivalence,
    contrast,
    holm,
    page,
    possible_difference,
    sign_flip,
)
from tests.conftest import PROJECT

TRIES = 2000  # of a simulation: a rate of 5 % is then known to 1 point (95 %)
DEPTHS, ERROR, MARGIN = 3, 0.25, 0.03


def judged(draw: np.random.Generator, seeds: int, spread: float, excess: float) -> tuple[bool, bool]:
    """Whether claim 1 comes out supported or contradicted, for gated networks that truly err so much more."""
    share = 1 / DEPTHS
    weighted = []
    for depth in range(DEPTHS):
        level = ERROR - 0.01 * depth
        ours = draw.normal(level * (1 + excess), spread, seeds)
        others = draw.normal(level, spread, seeds)
        weighted += [(share, Arm("gated", tuple(ours))), (-share * (1 + MARGIN), Arm("baseline", tuple(others)))]
    low, high = contrast(weighted).bounds()
    return high < 0, low > 0


def rates(seeds: int, spread: float, excess: float) -> tuple[float, float]:
    draw = np.random.default_rng(seeds)
    verdicts = [judged(draw, seeds, spread, excess) for _ in range(TRIES)]
    return sum(s for s, _ in verdicts) / TRIES, sum(c for _, c in verdicts) / TRIES


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("spread", [0.002, 0.01])
def test_claim_1_is_wrongly_supported_or_contradicted_in_5_percent_at_its_margin(seeds: int, spread: float) -> None:
    supported, contradicted = rates(seeds, spread, MARGIN)
    assert supported < 0.07
    assert contradicted < 0.07


def test_claim_1_is_found_without_a_loss_and_lost_with_twice_the_margin() -> None:
    assert rates(3, 0.005, 0.0)[0] > 0.8
    assert rates(5, 0.005, 0.0)[0] > 0.95
    assert rates(3, 0.005, 2 * MARGIN)[1] > 0.8


def test_the_power_that_is_printed_is_the_share_of_simulated_experiments() -> None:
    share, spread = 1 / DEPTHS, 0.006
    arm = (0.25 - spread, 0.25, 0.25 + spread)  # of just that standard deviation
    pairs = [((share, Arm("gated", arm)), (-share * (1 + MARGIN), Arm("baseline", arm))) for _ in range(DEPTHS)]
    printed = contrast([one for pair in pairs for one in pair]).power_below(-MARGIN * 0.25)
    assert printed == pytest.approx(rates(3, spread, 0.0)[0], abs=0.06)


def test_arms_of_unlike_spread_do_not_share_it() -> None:
    wild, calm = Arm("gated", (0.1, 0.5, 0.9, 0.3)), Arm("gated", (0.2, 0.2001, 0.1999, 0.2))
    assert contrast([(1.0, calm)]).error < 0.001
    assert contrast([(0.5, wild), (0.5, calm)]).freedom == pytest.approx(3, abs=0.01)
    alike = Arm("gated", (0.2, 0.6, 0.8, 0.3))
    assert contrast([(0.5, wild), (0.5, alike)]).freedom == pytest.approx(6)


def test_arms_without_any_spread_are_judged_by_their_means() -> None:
    same = contrast([(1.0, Arm("gated", (0.2, 0.2, 0.2))), (-1.0, Arm("baseline", (0.3, 0.3, 0.3)))])
    assert same.bounds() == pytest.approx((-0.1, -0.1))
    assert same.p_below() == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_p_values_are_no_smaller_keep_their_order_and_end_at_one(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(p <= a <= 1 for p, a in zip(ps, adjusted, strict=True))
    assert [adjusted[i] for i in sorted(range(len(ps)), key=lambda i: ps[i])] == sorted(adjusted)
    assert min(adjusted) == pytest.approx(min(1.0, len(ps) * min(ps)))


@given(st.lists(st.permutations([1.0, 2.0, 3.0, 4.0]), min_size=2, max_size=6))
@settings(deadline=None)
def test_pages_test_agrees_with_scipys_exact_one_where_no_values_are_equal(rows: list[list[float]]) -> None:
    assert page(rows)[0] == pytest.approx(page_trend_test(rows, method="exact").pvalue)


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=3), min_size=1, max_size=4))
@settings(deadline=None)
def test_pages_test_with_equal_values_counts_all_orders_of_each_row(rows: list[list[float]]) -> None:
    def score(orders: tuple[tuple[float, ...], ...]) -> float:
        return sum(place * value for row in orders for place, value in enumerate(row, start=1))

    ranks = [
        [sum(other < value for other in row) + sum(other == value for other in row) / 2 for value in row]
        for row in rows
    ]
    observed = score(tuple(map(tuple, ranks)))
    scores = [score(orders) for orders in product(*(list(permutations(row)) for row in ranks))]
    rising, falling = page(rows)
    assert rising == pytest.approx(sum(s >= observed - 1e-9 for s in scores) / len(scores))
    assert falling == pytest.approx(sum(s <= observed + 1e-9 for s in scores) / len(scores))


def test_pages_test_errs_in_at_most_5_percent_and_mostly_sees_a_rise_of_one_spread_a_step() -> None:
    draw = np.random.default_rng(0)
    for seeds, rise, most, least in ((3, 0.0, 0.06, 0.0), (5, 0.0, 0.06, 0.0), (5, 1.0, 1.0, 0.7)):
        found = [page(draw.normal(0, 1, (seeds, 3)) + rise * np.arange(3))[0] < LEVEL for _ in range(500)]
        assert least <= np.mean(found) <= most


@given(st.lists(st.integers(-4, 4), max_size=8))
def test_the_sign_flip_test_counts_all_signs(differences: list[int]) -> None:
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in product((1, -1), repeat=len(differences))
    ]
    assert sign_flip(differences) == pytest.approx(np.mean([total >= sum(differences) for total in sums]))


def test_seeds_of_different_networks_do_not_correlate_in_the_committed_runs() -> None:
    """The mean correlation of errors over seeds, of all pairs of networks of one depth."""
    rows = pd.concat(
        pd.read_csv(PROJECT / f"paper_tables/{name}-digits/table.csv") for name in ("figure6", "figure8")
    ).drop_duplicates("run")
    found: list[float] = []
    for _, group in rows.groupby("depth"):
        errors = group.pivot(index="seed", columns=["method", "epsilon"], values="error_pruned")
        correlations = errors.corr().to_numpy()
        found += list(correlations[np.triu_indices(len(correlations), 1)])
    assert len(found) == 16
    words = f"({np.mean(found):.2f} over the committed runs)"
    assert words in (inference.__doc__ or "")
    assert words in (PROJECT / "docs/verdicts.md").read_text(encoding="utf-8")


def test_a_spread_is_pooled_over_arms_of_two_runs_or_more() -> None:
    spread = Spread.of([(1.0, 3.0), (5.0,), (10.0, 10.0, 13.0)])
    assert spread is not None
    assert spread.freedom == 3
    assert spread.deviation == pytest.approx(np.sqrt((2 + 6) / 3))
    assert Spread.of([(1.0,), (2.0,)]) is None


@pytest.mark.parametrize(("seeds", "freedom"), [(3, 6), (5, 12), (10, 27)])
@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
def test_the_chance_of_equivalence_is_the_share_of_simulated_identical_processes(
    seeds: int, freedom: int, share: float
) -> None:
    draw, bound = np.random.default_rng(1), 1.0
    found = 0
    for _ in range(TRIES):
        deviation = share * np.sqrt(draw.chisquare(freedom) / freedom)
        difference = abs(draw.normal(0, share * np.sqrt(1 + 1 / seeds)))
        found += difference + possible_difference(Spread(float(deviation), freedom), seeds) <= bound
    assert chance_of_equivalence(share, bound, seeds, freedom) == pytest.approx(found / TRIES, abs=0.03)


def test_the_spread_of_three_seeds_alone_shows_equivalence_less_often_as_the_page_says() -> None:
    three, five = (chance_of_equivalence(0.3, 1.0, seeds, seeds - 1) for seeds in (3, 5))
    page = " ".join((PROJECT / "docs/verdicts.md").read_text(encoding="utf-8").split())
    assert f"in {100 * three:.0f} % of cases with three seeds and in {100 * five:.0f} % with five" in page


def test_a_process_at_the_bound_is_called_equivalent_in_at_most_5_percent() -> None:
    draw, seeds, freedom = np.random.default_rng(2), 5, 12
    found = 0
    for _ in range(TRIES):
        deviation = 0.2 * np.sqrt(draw.chisquare(freedom) / freedom)
        difference = abs(draw.normal(1.0, 0.2 * np.sqrt(1 + 1 / seeds)))
        found += difference + possible_difference(Spread(float(deviation), freedom), seeds) <= 1.0
    assert found / TRIES < 0.065
