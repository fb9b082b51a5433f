"""Figure 8: sensitivity of error and discarded blocks to epsilon, at one depth."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence.figures import cells, drawing, results
from eps_resnet.evidence.figures.axis import Axis
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry

TITLE = "sensitivity to epsilon"

CAPTION = [results.BARS]
NOTES = [results.COLUMNS]
MEANS = cells.ERROR_MEANS


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run: errors and shares as fractions, the published ones beside ours."""
    rows = results.runs_table(registry, layout, name)
    published = {"published_error": "val_error", "published_ratio": "discarded_ratio"}
    return results.with_published(rows, registry, name, **published)


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    return cells.errors(rows)


def draw(rows: pd.DataFrame, apart: bool = False) -> Drawing:
    """Error (left) and share of discarded blocks (right) against epsilon."""
    epsilons = sorted(set(rows["epsilon"]))
    axis = Axis(tuple(epsilons), tuple(f"{epsilon:g}" for epsilon in epsilons))
    rows = rows.assign(position=rows["epsilon"])
    canvas, (error, ratio) = drawing.canvas(2)
    drawing.published_curves(error, rows, "published_error", apart)
    drawing.curves(error, rows, "error_pruned", axis, is_error=True)
    error.set_ylabel("test error, pruned (%)")
    drawing.published_curves(ratio, rows, "published_ratio", apart)
    drawing.curves(ratio, rows, "discarded_ratio", axis)
    drawing.share_axis(ratio, "blocks discarded (%)")
    for axes in (error, ratio):
        drawing.point_axis(axes, axis, f"ε (depth {rows['depth'].iloc[0]})")
    return canvas
