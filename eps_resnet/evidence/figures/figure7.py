"""Figure 7: size of the network before and after pruning, in both readings, against depth."""

import math
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence.figures import cells, colours, drawing, results
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry

TITLE = "size before and after pruning"
PAPERS_READING = "by share of blocks"
SIZES: dict[str, dict[str, Any]] = {
    "size_mib_before": {"label": "all blocks", "color": colours.WHOLE, "marker": "s"},
    "size_mib_by_block_ratio": {"label": PAPERS_READING, "color": colours.BY_BLOCKS, "marker": "^", "linestyle": "--"},
    "size_mib": {"label": "true count", "color": colours.EPSILON, "marker": "o"},
}
PUBLISHED = {"standard": "all blocks", "epsilon_side": PAPERS_READING}  # what the paper's bars are

CAPTION = [
    "By share of blocks is the paper's reading of a pruned network's size: that of all blocks less the share "
    "discarded.",
    results.BARS,
]
NOTES: list[str] = []
MEANS: dict[str, str] = {
    "size_mib_before": "MiB, all blocks",
    "size_mib_by_block_ratio": "MiB, by share of blocks",
    "size_mib": "MiB, true",
    "published_mib": "MiB, published",
}


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run: sizes in MiB of the trainable parameters, the published one beside ours."""
    rows = results.runs_table(registry, layout, name)
    return results.with_published(rows, registry, name, published_mib="param_size_mb")


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    view = cells.runs(rows)
    view["discarded"] = cells.counts(rows)
    for column, title in MEANS.items():
        view[title] = cells.text(rows, "{:.2f}", column)
    return view


def draw(rows: pd.DataFrame, apart: bool = False) -> Drawing:
    """The gated runs' sizes against depth, whole and pruned in both readings; the paper's beside those they match."""
    canvas, (axes,) = drawing.canvas(1, width=3.8)
    depths = rows.loc[rows["method"] == "epsilon_side", "depth"]
    placed, axis = results.along_depth(rows[rows["depth"].isin(depths)])
    drawing.published_curves(axes, placed, "published_mib", apart, joined=False, factor=1, labels=PUBLISHED)
    gated = placed[placed["method"] == "epsilon_side"]
    # Of several decays or variants the first: sizes of another cannot be told from it by their marks.
    first = gated[(gated["weight_decay"] == gated["weight_decay"].iloc[0]) & gated["variant"].isna()]
    for column, style in SIZES.items():
        points = results.over_seeds(first, ["position"], column, most=math.inf)
        if len(points):
            drawing.mean_curve(axes, points["position"].tolist(), points, style, factor=1)
    if (first["state"] != "done").all():
        drawing.say_not_run(axes)
    drawing.point_axis(axes, axis, "depth (layers)")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("trainable parameters (MiB)")
    return canvas
