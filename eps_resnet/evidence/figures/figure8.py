"""Figure 8: sensitivity of error and discarded blocks to epsilon, at one depth."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence.figures import drawing, results
from eps_resnet.evidence.figures.axis import Axis
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry

TITLE = "sensitivity to epsilon"

CAPTION = [results.BARS]
NOTES = [results.COLUMNS]
MEANS: dict[str, str] = {
    "error_pruned": "error, pruned",
    "published_error": "published",
    "error_gated": "gated",
    "discarded_ratio": "discarded",
    "published_ratio": "published share",
    "agreement": "pruned = gated",
}


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run: errors and shares as fractions, the published ones beside ours."""
    rows = results.runs_table(registry, layout, name)
    rows = results.with_published(rows, registry, name, "published_error", results.SENSITIVITY_ERROR, "val_error")
    return results.with_published(rows, registry, name, "published_ratio", results.SENSITIVITY_RATIO, "discarded_ratio")


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    return results.readable_errors(rows)


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
