"""Figure 1: which blocks of the deepest network are kept, stage by stage from input to output."""

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

from eps_resnet.evidence import published
from eps_resnet.evidence.figures import cells, colours, results
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.provenance.records import Metrics

TITLE = "which blocks are kept"
CAPTION = ["Each cell is a residual block: filled, kept; empty, discarded."]
NOTES = [
    "Patterns run from input to output: K kept, . discarded, ? hidden under the frame of the paper's figure. Hidden "
    "blocks whose place is unknown are not in the pattern."
]
COLUMNS = ["stage", "blocks", "kept", "pattern", "published_pattern", "published_unplaced"]
LETTERS = {"kept": "K", "discarded": ".", "hidden": "?"}
COLOURS = {"ours": colours.EPSILON, "paper": colours.PAPERS_BLOCKS}
MEANS: dict[str, str] = {}


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run and stage, counted from 1: its blocks as a pattern of letters (NOTES), the published one beside.

    `published_unplaced`: how many hidden blocks of the paper lie at either end, unknown at which.
    """
    data, paper = registry.datasets[registry.figures[name].dataset], published.pattern()
    paper = paper[(paper["dataset"] == data.published_name) & data.is_papers]

    def stages(experiment: Experiment, metrics: Metrics | None) -> list[dict[Any, Any]]:
        lines = paper[paper["depth"] == experiment.run.depth]
        ours = patterns(metrics.blocks, metrics.discarded_blocks) if metrics else [None] * len(experiment.blocks)
        return [
            {"stage": stage, **_counts(pattern), **_published(lines[lines["stage"] == stage])}
            for stage, pattern in enumerate(ours, start=1)
        ]

    return results.details_table(registry, layout, name, COLUMNS, stages)


def patterns(stages: Sequence[int], discarded: Collection[int]) -> list[str]:
    """Per stage of so many blocks, a letter for each of them: K if it is kept, a dot if pruning removed it."""
    letters = iter("".join("." if block in discarded else "K" for block in range(sum(stages))))
    return ["".join(islice(letters, blocks)) for blocks in stages]


def _counts(pattern: str | None) -> dict[str, Any]:
    return {} if pattern is None else {"blocks": len(pattern), "kept": pattern.count("K"), "pattern": pattern}


def _published(lines: pd.DataFrame) -> dict[str, Any]:
    if lines.empty:
        return {}
    placed = lines[lines["block"].notna()].sort_values("block")
    return {
        "published_pattern": "".join(placed["kept"].map(LETTERS)),
        "published_unplaced": len(lines) - len(placed),
    }


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    view = cells.runs(rows)
    view["stage"] = rows["stage"].astype(str)
    view["kept"] = rows["pattern"].map(_kept_of_the_visible)
    view["pattern"] = cells.text(rows, "`{}`", "pattern")
    view["published, of the visible"] = rows["published_pattern"].map(_kept_of_the_visible)
    view["published pattern"] = cells.text(rows, "`{}`", "published_pattern")
    return view


def _kept_of_the_visible(pattern: str | None) -> str:
    if pattern is None or pd.isna(pattern):
        return cells.NOTHING
    return f"{pattern.count('K')}/{pattern.count('K') + pattern.count('.')}"


def draw(rows: pd.DataFrame, apart: bool = False) -> Drawing:
    """A panel for each stage: a line of cells for each run, from input to output, the paper's line below ours."""
    depths = rows["depth"].unique()
    stages = [_lines(group, with_depth=len(depths) > 1) for _, group in rows.groupby("stage")]
    depth = f", depth {depths[0]}" if len(depths) == 1 else ""
    inches = [0.45 + 0.2 * len(lines) for lines in stages]
    canvas, panels = plt.subplots(
        len(stages), 1, figsize=(5.6, sum(inches) + 0.5), squeeze=False, layout="constrained", height_ratios=inches
    )
    for stage, (lines, axes) in enumerate(zip(stages, panels[:, 0], strict=True), start=1):
        _draw_stage(axes, lines)
        axes.set_title(f"stage {stage}{depth}", loc="left", fontsize=9)
    panels[-1, 0].set_xlabel("residual block of the stage, from input to output")
    return canvas


def _draw_stage(axes: Axes, lines: list[tuple[str, str, str]]) -> None:
    for height, (_, pattern, colour) in enumerate(lines):
        _cells(axes, height, pattern, colour)
        seen = f"{len(pattern) - pattern.count('?')}{' visible' if '?' in pattern else ''}"
        text = f"kept: {pattern.count('K')} of {seen}" if pattern else "not run"
        axes.text(1.01, height, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    axes.set_yticks(range(len(lines)), [label for label, _, _ in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(0.4, max(1, *(len(pattern) for _, pattern, _ in lines)) + 0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params("y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=False)


def _lines(stage: pd.DataFrame, with_depth: bool) -> list[tuple[str, str, str]]:
    """Label, pattern and colour of a stage's lines; blocks of unknown place are hidden ones at both ends."""
    first = stage.iloc[0]
    lines = [
        (
            f"depth {row['depth']}, seed {row['seed']}" if with_depth else f"seed {row['seed']}",
            row["pattern"] or "",
            COLOURS["ours"],
        )
        for row in stage.astype({"pattern": object}).where(stage.notna(), None).to_dict("records")
    ]
    if pd.notna(first["published_pattern"]):
        unplaced = int(first["published_unplaced"])
        pattern = "?" * (unplaced // 2) + first["published_pattern"] + "?" * (unplaced - unplaced // 2)
        lines.append(("paper", pattern, COLOURS["paper"]))
    return lines


def _cells(axes: Axes, height: int, pattern: str, colour: str) -> None:
    looks: dict[str, dict[str, Any]] = {
        "K": {"facecolor": colour},
        ".": {"facecolor": colours.DISCARDED},
        "?": {"facecolor": colours.GROUND, "hatch": "xxxxx"},
    }
    for letter, look in looks.items():
        cells = [(place + 0.5, 1) for place, found in enumerate(pattern) if found == letter]
        if cells:
            axes.broken_barh(cells, (height - 0.35, 0.7), edgecolor=colours.EDGE, linewidth=0.4, **look)
