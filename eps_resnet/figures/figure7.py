"""Figure 7: size of the network before and after pruning, in both readings, against depth."""

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.figures import drawing, results
from eps_resnet.layout import Layout
from eps_resnet.registry import Registry

TITLE = "size before and after pruning"
BARS = {  # column: label, colour, hatch; grey levels differ too
    "size_mib_before": ("all blocks", "#BBBBBB", ""),
    "size_mib_by_block_ratio": ("kept, by share of blocks (the paper's reading)", "#E69F00", "//"),
    "size_mib": ("kept, by true parameter count", "#D55E00", ""),
}

NOTES: list[str] = []


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
    """Three bars per depth for the gated runs, and the paper's bar as a line across them."""
    canvas, (axes,) = drawing.canvas(1)
    gated = rows[rows["method"] == "epsilon_side"]
    labels = [f"{row.depth}\nε {row.epsilon:g}" for row in gated.drop_duplicates(["depth", "epsilon"]).itertuples()]
    points = gated.groupby(["depth", "epsilon"], sort=False)
    for offset, (column, (label, colour, hatch)) in enumerate(BARS.items()):
        if column in gated and gated[column].notna().any():
            positions = [index + 0.26 * (offset - 1) for index in range(len(labels))]
            axes.bar(positions, points[column].mean(), 0.24, label=label, color=colour, hatch=hatch, edgecolor="white")
    published = points["published_mib"].first()
    if published.notna().any():
        axes.hlines(
            published,
            [i - 0.4 for i in range(len(labels))],
            [i + 0.4 for i in range(len(labels))],
            color="black",
            linestyle=":",
            label="paper, pruned",
        )
    if (gated["state"] != "done").all():
        drawing.say_not_run(axes)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlabel("depth (layers)")
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    axes.set_ylabel("trainable parameters (MiB)")
    drawing.legend(axes)
    return canvas
