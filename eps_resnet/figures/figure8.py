"""Figure 8: sensitivity of error and discarded blocks to epsilon, at one depth."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.figures import drawing, results
from eps_resnet.layout import Layout
from eps_resnet.registry import Registry

TITLE = "sensitivity to epsilon"

NOTES = [results.COLUMNS]


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run: errors and shares as fractions, the published ones beside ours."""
    rows = results.runs_table(registry, layout, name)
    rows = results.with_published(rows, registry, name, "published_error", results.SENSITIVITY_ERROR, "val_error")
    return results.with_published(rows, registry, name, "published_ratio", results.SENSITIVITY_RATIO, "discarded_ratio")


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    return results.readable_errors(rows)


def draw(rows: pd.DataFrame) -> Drawing:
    """Error (left) and share of discarded blocks (right) against epsilon."""
    canvas, (error, ratio) = drawing.canvas(2)
    for axes, y, published in (
        (error, "error_pruned", "published_error"),
        (ratio, "discarded_ratio", "published_ratio"),
    ):
        drawing.published_curves(axes, rows, "epsilon", published, 100)
        drawing.curves(axes, rows, "epsilon", y, 100, interval=axes is error)
        drawing.ordinal_axis(axes, sorted(set(rows["epsilon"])), f"ε (depth {rows['depth'].iloc[0]})")
    error.set_ylabel("test error, pruned network (%)\nbars: 95 % interval, or range of seeds")
    drawing.error_axis(error)
    ratio.set_ylabel("blocks discarded (%)")
    ratio.set_ylim(0, 100)
    return canvas
