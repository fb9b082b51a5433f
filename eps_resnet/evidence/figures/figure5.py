"""Figure 5: the weights of one block that collapses, epoch by epoch."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence.figures import cells, colours, drawing, results
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.method.history import MOST_ROWS, PERCENTILES, read_blocks
from eps_resnet.provenance.records import Metrics

TITLE = "weights of a block that collapses"
CAPTION = [
    "Percentiles of all convolution weights of one block. The block is, of those that pruning removes, the one "
    "discarded for good (never open again in a recorded epoch) nearest to the middle of the training, so that both its "
    "life and its decay are seen; of several the one nearest to the output. The first run that is done is drawn. Of "
    f"trainings of more than {MOST_ROWS:,} blocks times epochs only every n-th epoch is recorded.",
    "The paper's Figure 5 prints no numbers for its block, so there is nothing of it to compare.",
]
NOTES = ["Blocks are counted from the input, from 1. Ranges: lowest to highest weight of the block after that epoch."]
WEIGHTS = [f"p{percentile}" for percentile in PERCENTILES]
COLUMNS = ["block", "stage", "discarded_from", "epoch", "closed", "window", *WEIGHTS]
MEANS: dict[str, str] = {}


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run and epoch of the run's chosen block, counted from 0; no epoch where no block was discarded."""

    return results.details_table(registry, layout, name, COLUMNS, _weights)


def _weights(experiment: Experiment, metrics: Metrics | None) -> list[dict[Any, Any]]:
    if metrics is None:
        return []
    blocks = read_blocks(experiment.files.blocks)
    chosen = chosen_block(blocks, metrics.discarded_blocks)
    if chosen is None:
        return []
    block, epoch = chosen
    stage = int(np.searchsorted(np.cumsum(metrics.blocks), block, side="right")) + 1
    rows = blocks[blocks["block"] == block].sort_values("epoch")
    return rows.assign(stage=stage, discarded_from=epoch)[COLUMNS].to_dict("records")


def chosen_block(blocks: pd.DataFrame, discarded: list[int]) -> tuple[int, int] | None:
    """The block that shows the collapse (CAPTION says which) and the first recorded epoch from which it stayed so.

    `blocks` as history.read_blocks returns it; `discarded`: the blocks that pruning removes. None if none stayed so.
    """
    epochs = np.sort(blocks["epoch"].unique()).astype(int)
    last = int(epochs[-1])
    opened = blocks[blocks["closed"] < blocks["window"]].groupby("block")["epoch"].max().astype(int)
    opened = opened.reindex(discarded, fill_value=0)
    opened = opened[opened < last]
    since = opened.map(lambda epoch: int(epochs[epochs > epoch][0]))
    if since.empty:
        return None
    distance = (since - last / 2).abs()
    block = int(distance.index[distance == distance.min()].max())
    return block, int(since[block])


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text: one row per run."""
    lines = []
    for _, epochs in rows.groupby("run", sort=False):
        first, last = epochs.iloc[0], epochs.iloc[-1]
        before = epochs[epochs["epoch"] < first["discarded_from"]].tail(1)
        none = pd.isna(first["block"])
        line = cells.runs(epochs.head(1)).iloc[0].to_dict()
        line["block"] = cells.NOTHING if none else f"{first['block'] + 1:.0f} (stage {first['stage']:.0f})"
        line["discarded from epoch"] = cells.NOTHING if none else f"{first['discarded_from']:.0f}"
        line["weights, epoch 1"] = _range(first)
        line["just before"] = cells.NOTHING if before.empty else _range(before.iloc[0])
        line["last epoch"] = _range(last)
        lines.append(line)
    return pd.DataFrame(lines)


def _range(row: "pd.Series[float]") -> str:
    return cells.NOTHING if pd.isna(row["p0"]) else f"{row['p0']:.3g} to {row['p100']:.3g}"


def draw(rows: pd.DataFrame, apart: bool = False) -> Drawing:
    """Percentiles of the block's weights against the epoch, for the first run that is done."""
    canvas, (axes,) = drawing.canvas(1, width=4.2)
    axes.set_xlabel("epoch")
    axes.set_ylabel("weights of the block")
    done = rows[rows["state"] == "done"]
    if done.empty:
        drawing.say_not_run(axes)
        return canvas
    epochs = done[done["run"] == done["run"].iloc[0]]
    if epochs["block"].isna().all():
        drawing.say(axes, "no block was discarded for good")
        return canvas
    since = epochs["discarded_from"].iloc[0]
    for low, high, label, strength in (("p0", "p100", "lowest to highest", 0.2), ("p25", "p75", "25 % to 75 %", 0.5)):
        axes.fill_between(
            epochs["epoch"], epochs[low].astype(float), epochs[high].astype(float),
            color=colours.EPSILON, alpha=strength, linewidth=0, label=label,
        )  # fmt: skip
    axes.plot(epochs["epoch"], epochs["p50"].astype(float), color=colours.INK, linewidth=1, label="median")
    axes.axvline(since, color=colours.INK, linestyle="--", linewidth=1, label=f"discarded for good (epoch {since:.0f})")
    row = epochs.iloc[0]
    axes.set_title(
        f"block {row['block'] + 1:.0f}, stage {row['stage']:.0f}; depth {row['depth']}, ε {row['epsilon']:g}, "
        f"seed {row['seed']}",
        loc="left", fontsize=8,
    )  # fmt: skip
    axes.set_xlim(1, epochs["epoch"].max())
    return canvas
