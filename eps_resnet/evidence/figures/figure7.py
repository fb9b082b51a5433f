"""Figure 7: size of the network before and after pruning, in both readings, against depth."""

import math

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence.figures import drawing, results
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry

TITLE = "size before and after pruning"
BARS = {  # column: label, colour, hatch; grey levels differ too
    "size_mib_before": ("all blocks", "#BBBBBB", ""),
    "size_mib_by_block_ratio": ("kept, by share of blocks (the paper's reading)", "#E69F00", "//"),
    "size_mib": ("kept, by true parameter count", "#D55E00", ""),
}
OFFSETS = (-0.26, 0, 0.26)  # of the bars from their depth

CAPTION = ["Bars of ours are means over seeds, their error bars Student's 95 % interval (from three seeds on)."]
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
    return results.with_published(rows, registry, name, "published_mib", results.SIZE_FIGURES, "param_size_mb")


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    view = results.readable_runs(rows)
    view["discarded"] = results.counts(rows)
    view["MiB, all blocks"] = results.decimals(rows, "size_mib_before")
    view["MiB, by share of blocks"] = results.decimals(rows, "size_mib_by_block_ratio")
    view["MiB, true"] = results.decimals(rows, "size_mib")
    view["MiB, published"] = results.decimals(rows, "published_mib")
    return view


def draw(rows: pd.DataFrame) -> Drawing:
    """Three bars per depth and epsilon of the gated runs; the paper's two numbers as markers on the bars they match."""
    canvas, (axes,) = drawing.canvas(1, width=5.6)
    placed, labels = results.along_depth(rows)
    gated = placed[placed["method"] == "epsilon_side"]
    for offset, (column, (label, colour, hatch)) in zip(OFFSETS, BARS.items(), strict=True):
        points = results.over_seeds(gated, ["position"], column, most=math.inf)
        at = points["position"] + offset
        if len(points):
            axes.bar(at, points["mean"], 0.24, label=label, color=colour, hatch=hatch, edgecolor="white")
            axes.vlines(at, points["low"], points["high"], color="black", linewidth=1)
    for offset, method, marker, label in (
        (OFFSETS[0], "standard", "s", "paper, all blocks"),
        (OFFSETS[1], "epsilon_side", "o", "paper, pruned"),
    ):
        points = placed[(placed["method"] == method) & placed["published_mib"].notna()].drop_duplicates("position")
        if len(points):
            style = {**drawing.PAPER, "linestyle": "none", "color": "black", "marker": marker}
            axes.plot(points["position"] + offset, points["published_mib"], label=label, **style)
    if (gated["state"] != "done").all():
        drawing.say_not_run(axes)
    drawing.point_axis(axes, labels, "depth (layers)")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("trainable parameters (MiB)")
    return canvas
