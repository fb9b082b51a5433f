"""Figure 6: test error and share of discarded blocks against depth, for three methods."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence.figures import cells, drawing, results
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry

TITLE = "error and discarded blocks against depth"

CAPTION = [results.BARS]
NOTES = [
    results.COLUMNS,
    "Best baseline: the lower of the mean errors of the baselines of that depth that were trained alike.",
]
MEANS = cells.ERROR_MEANS


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run: errors and shares as fractions, the published ones beside ours; on ImageNet top-5 as well."""
    rows = results.runs_table(registry, layout, name)
    for way in _ways(rows):
        rows[_column(way)] = _best_baseline_error(rows, way)
    errors = {"published_error": "val_error"}
    if registry.datasets[registry.figures[name].dataset].recipe.network == "imagenet":
        errors = {"published_error": "top1_error", "published_error_top5": "top5_error"}
    return results.with_published(rows, registry, name, **errors, published_ratio="discarded_ratio")


def _ways(rows: pd.DataFrame) -> list[str | None]:
    """The ways in which baselines are trained, the recipe's own (None) first."""
    found = rows.loc[rows["method"] != "epsilon_side", "variant"].dropna()
    return [None, *sorted(set(found))]


def _column(way: str | None) -> str:
    return "best_baseline_error" if way is None else f"best_baseline_error_{way.replace(' ', '_')}"


def _best_baseline_error(rows: pd.DataFrame, way: str | None) -> pd.Series[float]:
    """For gated runs: the lower of their depth's baselines' mean errors over seeds, of any decay, trained in one way.

    The lower by test error, which favours the baselines: the gated network is compared with the better one.
    """
    is_gated = rows["method"] == "epsilon_side"
    is_trained_so = rows["variant"].isna() if way is None else rows["variant"] == way
    means = rows[~is_gated & is_trained_so].groupby(results.ARM, dropna=False)["error_pruned"].mean()
    best = means.groupby("depth").min()
    return rows["depth"].map(best).where(is_gated).astype(float)


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    view = cells.errors(rows)
    for way in _ways(rows):
        title = "best baseline" if way is None else f"best baseline, {way}"
        view.insert(list(view.columns).index("discarded"), title, cells.percents(rows, _column(way)))
    if "published_error_top5" in rows:
        view["top-5 error, pruned"] = cells.percents(rows, "error_pruned_top5")
        view["published top-5"] = cells.percents(rows, "published_error_top5")
    return view


def draw(rows: pd.DataFrame, apart: bool = False) -> Drawing:
    """Error (on ImageNet: top-1 and top-5) and share of discarded blocks against depth."""
    rows, axis = results.along_depth(rows)
    joined = rows.loc[rows["method"] == "epsilon_side", "epsilon"].nunique() == 1
    errors = [("error_pruned", "published_error", "test error, pruned (%)")]
    if "published_error_top5" in rows:
        errors = [
            ("error_pruned", "published_error", "top-1 error, pruned (%)"),
            ("error_pruned_top5", "published_error_top5", "top-5 error, pruned (%)"),
        ]
    canvas, panels = drawing.canvas(len(errors) + 1, width=2.6 if len(errors) > 1 else 3.2)
    for axes, (y, published, title) in zip(panels, errors, strict=False):
        drawing.published_curves(axes, rows, published, apart, joined)
        drawing.curves(axes, rows, y, axis, is_error=True, joined=joined)
        axes.set_ylabel(title)
    gated = rows[rows["method"] == "epsilon_side"]
    drawing.published_curves(panels[-1], gated, "published_ratio", apart, joined)
    drawing.curves(panels[-1], rows, "discarded_ratio", axis, joined=joined, only="epsilon_side")
    drawing.share_axis(panels[-1], "blocks discarded (%)")
    for axes in panels:
        drawing.point_axis(axes, axis, "depth (layers)")
    return canvas
