"""Figure 6: test error and share of discarded blocks against depth, for three methods."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.figures import drawing, results
from eps_resnet.layout import Layout
from eps_resnet.registry import Registry

TITLE = "error and discarded blocks against depth"


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run: errors and shares as fractions, the published ones beside ours."""
    rows = results.runs_table(registry, layout, name)
    rows = results.with_published(rows, registry, name, "published_error", results.ERROR_FIGURES, "val_error")
    return results.with_published(rows, registry, name, "published_ratio", results.RATIO_FIGURES, "discarded_ratio")


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    return results.readable_errors(rows)


def draw(rows: pd.DataFrame) -> Drawing:
    """Error (left) and share of discarded blocks (right) against depth."""
    canvas, (error, ratio) = drawing.canvas(2)
    depths = sorted(set(rows["depth"]))
    for axes, y, published, shown in (
        (error, "error_pruned", "published_error", rows),
        (ratio, "discarded_ratio", "published_ratio", rows[rows["method"] == "epsilon_side"]),
    ):
        drawing.published_curves(axes, shown, "depth", published, 100)
        drawing.curves(axes, shown, "depth", y, 100, interval=axes is error)
        drawing.ordinal_axis(axes, depths, "depth (layers)")
    error.set_ylabel("test error, pruned network (%)")
    error.set_ylim(bottom=0)
    ratio.set_ylabel("blocks discarded (%)")
    ratio.set_ylim(0, 100)
    error.legend(fontsize=7)
    ratio.legend(fontsize=7)
    return canvas
