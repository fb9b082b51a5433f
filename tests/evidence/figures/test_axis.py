"""Depths and epsilons at their true distances."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from eps_resnet.evidence.figures import drawing
from eps_resnet.evidence.figures.axis import Axis


def axis_of(*values: float) -> Axis:
    return Axis(values, tuple(map(str, values)))


def test_an_axis_is_logarithmic_where_its_values_span_more_than_a_factor_of_four() -> None:
    assert axis_of(20, 56, 110).is_log
    assert not axis_of(110, 302).is_log
    assert not axis_of(1.5, 2.5, 3.5).is_log
    assert not axis_of(110).is_log


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=5, unique=True), st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
def test_equal_shares_of_the_axis_are_equal_wherever_they_begin(values: list[float], one: float, two: float) -> None:
    axis = axis_of(*sorted(values))
    twice = axis.moved(axis.moved(axis.values[0], one), two)
    assert twice == pytest.approx(axis.moved(axis.values[0], one + two))
    low, high = axis.limits
    assert low < axis.values[0] <= axis.values[-1] < high


def test_depths_stand_where_their_values_are_with_labels_of_their_own_and_no_other_ticks() -> None:
    canvas, (axes,) = drawing.canvas(1)
    drawing.point_axis(axes, axis_of(8, 20, 110), "depth")
    canvas.draw_without_rendering()
    assert axes.get_xscale() == "log"
    assert list(axes.get_xticks()) == [8, 20, 110]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "20", "110"]
    assert len(axes.get_xticks(minor=True)) == 0
    plt.close(canvas)


@given(st.lists(st.floats(0, 1), max_size=4))
def test_names_of_curves_keep_their_order_and_a_line_between_them(heights: list[float]) -> None:
    placed = drawing.spread(heights)
    order = sorted(range(len(heights)), key=lambda i: (heights[i], i))
    assert all(placed[b] - placed[a] > drawing.LINE - 1e-9 for a, b in itertools.pairwise(order))
    assert all(-0.01 <= place <= 1.01 for place in placed)
