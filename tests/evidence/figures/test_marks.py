"""What marks say: how many seeds a point has, which interval its bar is, and whose recipe a number is of."""

import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from eps_resnet.evidence.figures import colours, drawing, figure6, figure7
from eps_resnet.evidence.figures.axis import Axis
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry

AXIS = Axis((20, 56), ("20", "56"))


def rows(**changes: object) -> pd.DataFrame:
    """Three seeds of a standard network of 20 layers, one of 56."""
    table = pd.DataFrame(
        {
            "depth": [20, 20, 20, 56],
            "position": [20.0, 20.0, 20.0, 56.0],
            "method": "standard",
            "weight_decay": 0.001,
            "variant": None,
            "seed": [0, 1, 2, 0],
            "state": "done",
            "test_images": 1000,
            "error": [0.10, 0.11, 0.12, 0.09],
        }
    )
    return table.assign(**changes)


def drawn(table: pd.DataFrame) -> Axes:
    _, (axes,) = drawing.canvas(1)
    drawing.curves(axes, table, "error", AXIS, is_error=True)
    return axes


def test_points_of_fewer_than_three_seeds_are_hollow() -> None:
    hollow = [line for line in drawn(rows()).lines if line.get_markerfacecolor() == colours.GROUND]
    assert [list(line.get_xdata()) for line in hollow] == [[56]]


def test_a_means_interval_has_caps_and_one_seeds_binomial_one_is_thin_and_grey() -> None:
    axes = drawn(rows())
    thin, solid = axes.collections
    assert to_hex(thin.get_color()[0]) == colours.APART
    assert to_hex(solid.get_color()[0]).upper() == colours.STANDARD
    assert [path.vertices[0, 0] for path in thin.get_paths()] == [56]
    assert [path.vertices[0, 0] for path in solid.get_paths()] == [20]
    assert thin.get_linewidth()[0] < solid.get_linewidth()[0]
    caps = [line for line in axes.lines if line.get_marker() == "_"]
    assert [list(line.get_xdata()) for line in caps] == [[20], [20]]


def test_variants_and_decays_are_told_apart_by_name_line_and_marker() -> None:
    table = pd.concat([rows(), rows(variant="as many steps"), rows(variant="as many steps", weight_decay=0.003)])
    lines = [line for line in drawn(table).lines if not str(line.get_label()).startswith("_")]
    names = {str(line.get_label()) for line in lines}
    assert names == {
        "standard, decay 0.001",
        "standard, decay 0.001, as many steps",
        "standard, decay 0.003, as many steps",
    }
    dashes = {str(vars(line)["_dash_pattern"]) for line in lines}
    assert len(dashes) == 3
    assert len({line.get_marker() for line in lines}) == 3


def test_few_curves_are_named_at_their_ends_and_many_in_a_legend() -> None:
    for variants, is_direct in ((2, True), (5, False)):
        canvas, (axes,) = drawing.canvas(1)
        table = pd.concat([rows(variant=f"variant {number}") for number in range(variants)])
        drawing.curves(axes, table, "error", AXIS)
        drawing.head(canvas, "title")
        assert len(axes.texts) == (variants if is_direct else 0)
        assert len(canvas.legends) == (0 if is_direct else 1)


@pytest.mark.parametrize(("module", "name"), [(figure6, "figure6-cifar10-cpu"), (figure7, "figure7-cifar10-cpu")])
def test_numbers_of_the_papers_recipe_are_grey_beside_those_of_another(
    experiments: Registry, tmp_path: object, module: object, name: str
) -> None:
    table = module.table(experiments, Layout(tmp_path), name)  # type: ignore[attr-defined, arg-type]
    canvas = module.draw(table, apart=True)  # type: ignore[attr-defined]
    papers = [line for axes in canvas.axes for line in axes.lines if str(line.get_label()).startswith("paper")]
    assert papers
    assert {line.get_color() for line in papers} == {colours.APART}
    assert all("another recipe" in str(line.get_label()) for line in papers)
