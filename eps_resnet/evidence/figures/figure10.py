"""Figure 10: blocks kept and discarded in each stage, against depth."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence import published
from eps_resnet.evidence.figures import drawing, results
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json

TITLE = "blocks kept and discarded in each stage"
CAPTION = [
    "Stage 1 is the one at the input. Bars are means over seeds, error bars Student's 95 % interval (from three "
    "seeds on)."
]
NOTES: list[str] = []
COLUMNS = ["stage", "blocks", "kept", "kept_fraction", "published_kept_fraction"]
BARS = {"kept_fraction": ("ours", "#D55E00"), "published_kept_fraction": ("paper", "#bdbdbd")}  # label, colour
MEANS: dict[str, str] = {"kept_fraction": "share kept", "published_kept_fraction": "published"}


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run and stage, counted from 1: blocks, kept blocks, and the share kept beside the published one."""
    data = registry.datasets[registry.figures[name].dataset]
    numbers = published.of_data(published.read(published.published_csv(), registry), data)

    def stages(key: str, is_done: bool) -> list[dict[Any, Any]]:
        run = registry.runs[key]
        counts = _counts(layout, key) if is_done else [{}] * results.stages(registry, name)
        where = {"depth": run.depth, "epsilon": run.epsilon}
        return [
            {
                "stage": stage,
                **count,
                "published_kept_fraction": published.value(numbers, ("10a", "10b"), group=stage, **where),
            }
            for stage, count in enumerate(counts, start=1)
        ]

    return results.details_table(registry, layout, name, COLUMNS, stages)


def _counts(layout: Layout, key: str) -> list[dict[Any, Any]]:
    metrics = read_json(layout.run(key).metrics)
    pairs = zip(metrics["blocks"], metrics["kept"], strict=True)
    return [{"blocks": blocks, "kept": kept, "kept_fraction": kept / blocks} for blocks, kept in pairs]


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    view = results.readable_runs(rows)
    view["stage"] = rows["stage"].astype(str)
    view["kept"] = [
        results.NOTHING if pd.isna(kept) else f"{kept:.0f}/{blocks:.0f}"
        for kept, blocks in zip(rows["kept"], rows["blocks"], strict=True)
    ]
    view["share kept"] = results.percents(rows, "kept_fraction")
    view["published"] = results.percents(rows, "published_kept_fraction")
    return view


def draw(rows: pd.DataFrame) -> Drawing:
    """One panel per stage: stacked bars of kept and discarded blocks against depth, the paper's beside ours."""
    rows, labels = results.along_depth(rows)
    stages = sorted(set(rows["stage"]))
    shown = [column for column in BARS if rows[column].notna().any()]
    canvas, panels = drawing.canvas(len(stages), width=2.6)
    for axes, stage in zip(panels, stages, strict=True):
        for number, column in enumerate(shown):
            points = results.over_seeds(rows[rows["stage"] == stage], ["position"], column)
            _bars(axes, points, 0.4 * number - 0.2 * (len(shown) - 1), *BARS[column])
        axes.set_title(f"stage {stage}", loc="left", fontsize=9)
        if (rows["state"] != "done").all():
            drawing.say_not_run(axes)
        drawing.point_axis(axes, labels, "depth (layers)")
        drawing.share_axis(axes, "share of the stage's blocks (%)" if stage == stages[0] else "")
    return canvas


def _bars(axes: Axes, points: pd.DataFrame, offset: float, label: str, colour: str) -> None:
    at, kept = points["position"] + offset, 100 * points["mean"]
    axes.bar(at, kept, 0.36, color=colour, edgecolor="black", linewidth=0.5, label=f"{label}: kept")
    axes.bar(
        at, 100 - kept, 0.36, bottom=kept, color="white", edgecolor=colour, hatch="////", linewidth=0.5,
        label=f"{label}: discarded",
    )  # fmt: skip
    axes.vlines(at, 100 * points["low"], 100 * points["high"], color="black", linewidth=1.2)
