"""Figure 10: the share of blocks that each stage keeps, against depth."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence import published
from eps_resnet.evidence.figures import cells, drawing, results
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.provenance.records import Metrics

TITLE = "blocks kept in each stage"
CAPTION = ["Stage 1 is the one at the input. All other blocks are discarded.", results.BARS]
NOTES: list[str] = []
COLUMNS = ["stage", "blocks", "kept", "kept_fraction", "published_kept_fraction"]
MEANS: dict[str, str] = {"kept_fraction": "share kept", "published_kept_fraction": "published"}


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run and stage, counted from 1: blocks, kept blocks, and the share kept beside the published one."""
    data = registry.datasets[registry.figures[name].dataset]
    paper = {
        (number.depth, number.epsilon, number.group): number.value
        for number in published.of_data(data)
        if number.figure in ("10a", "10b")
    }

    def stages(experiment: Experiment, metrics: Metrics | None) -> list[dict[Any, Any]]:
        run = experiment.run
        counts = _counts(metrics) if metrics else [{}] * len(experiment.blocks)
        return [
            {"stage": stage, **count, "published_kept_fraction": paper.get((run.depth, run.epsilon, stage))}
            for stage, count in enumerate(counts, start=1)
        ]

    return results.details_table(registry, layout, name, COLUMNS, stages)


def _counts(metrics: Metrics) -> list[dict[str, float]]:
    pairs = zip(metrics.blocks, metrics.kept, strict=True)
    return [{"blocks": blocks, "kept": kept, "kept_fraction": kept / blocks} for blocks, kept in pairs]


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    view = cells.runs(rows)
    view["stage"] = rows["stage"].astype(str)
    view["kept"] = cells.text(rows, "{:.0f}/{:.0f}", "kept", "blocks")
    view["share kept"] = cells.percents(rows, "kept_fraction")
    view["published"] = cells.percents(rows, "published_kept_fraction")
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
