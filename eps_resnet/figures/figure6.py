"""Figure 6: test error and share of discarded blocks against depth, for three methods."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.figures import drawing, results
from eps_resnet.layout import Layout
from eps_resnet.registry import Registry

TITLE = "error and discarded blocks against depth"

NOTES = [results.COLUMNS]


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run: errors and shares as fractions, the published ones beside ours."""
    rows = results.runs_table(registry, layout, name)
    rows = rows.assign(best_baseline_error=_best_baseline_error(rows))
    rows = results.with_published(
        rows, registry, name, "published_error", results.ERROR_FIGURES, results.error_metric(registry, name)
    )
    return results.with_published(rows, registry, name, "published_ratio", results.RATIO_FIGURES, "discarded_ratio")


def _best_baseline_error(rows: pd.DataFrame) -> pd.Series[float]:
    """For gated runs: the lowest error of any baseline of their depth, whatever its weight decay.

    The lowest by test error, which favours the baselines: the gated network is compared with the better one.
    """
    is_gated = rows["method"] == "epsilon_side"
    best = rows[~is_gated].groupby("depth")["error_pruned"].min()
    return rows["depth"].map(best).where(is_gated).astype(float)


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    view = results.readable_errors(rows)
    view.insert(list(view.columns).index("discarded"), "best baseline", results.percents(rows, "best_baseline_error"))
    return view


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
    error.set_ylabel("test error, pruned network (%)\nbars: 95 % interval, or range of seeds")
    drawing.error_axis(error)
    ratio.set_ylabel("blocks discarded (%)")
    ratio.set_ylim(0, 100)
    drawing.legend(error)
    drawing.legend(ratio)
    return canvas
