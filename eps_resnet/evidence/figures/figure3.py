"""Figure 3: test error of the standard network against depth."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence.figures import cells, drawing, results
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry

TITLE = "error of the standard network against depth"
CAPTION = [results.BARS]
NOTES: list[str] = []
MEANS: dict[str, str] = {"error_pruned": "error", "published_error": "published"}


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run: errors as fractions, the published one beside ours."""
    rows = results.runs_table(registry, layout, name)
    return results.with_published(rows, registry, name, published_error="val_error")


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    view = cells.runs(rows)
    view["error"] = cells.percents(rows, "error_pruned")
    view["95 % interval"] = cells.intervals(rows)
    view["final"] = cells.percents(rows, "error_final")
    view["best"] = cells.percents(rows, "error_best")
    view["published"] = cells.percents(rows, "published_error")
    return view


def draw(rows: pd.DataFrame, apart: bool = False) -> Drawing:
    """Error against depth."""
    rows, axis = results.along_depth(rows)
    canvas, (axes,) = drawing.canvas(1, width=3.8)
    drawing.published_curves(axes, rows, "published_error", apart)
    drawing.curves(axes, rows, "error_pruned", axis, is_error=True)
    drawing.point_axis(axes, axis, "depth (layers)")
    axes.set_ylabel("test error (%)")
    return canvas
