"""Figure 10: the share of blocks that each stage keeps, against depth."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence import published
from eps_resnet.evidence.figures import drawing, results
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json

TITLE = "blocks kept in each stage"
CAPTION = ["Stage 1 is the one at the input. All other blocks are discarded.", results.BARS]
NOTES: list[str] = []
COLUMNS = ["stage", "blocks", "kept", "kept_fraction", "published_kept_fraction"]
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


def draw(rows: pd.DataFrame, apart: bool = False) -> Drawing:
    """One panel per stage: the share of its blocks that is kept against depth."""
    rows, axis = results.along_depth(rows)
    stages = sorted(set(rows["stage"]))
    canvas, panels = drawing.canvas(len(stages), width=2.4)
    for axes, stage in zip(panels, stages, strict=True):
        own = rows[rows["stage"] == stage]
        drawing.published_curves(axes, own, "published_kept_fraction", apart)
        drawing.curves(axes, own, "kept_fraction", axis)
        axes.set_title(f"stage {stage}", loc="left", fontsize=9)
        drawing.point_axis(axes, axis, "depth (layers)")
        drawing.share_axis(axes, "blocks of the stage kept (%)" if stage == stages[0] else "")
    return canvas
