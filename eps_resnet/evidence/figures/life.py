"""Gate life, not in the paper: when the gates of a network closed, and how near those of the kept blocks came to it."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from eps_resnet.evidence.figures import cells, colours, drawing, results
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.method.history import read_blocks, read_history
from eps_resnet.provenance.records import Metrics

TITLE = "when each gate closed"
CAPTION = [
    "Left: blocks from input (top) to output (bottom), one cell an epoch; the darker, the larger the share of the "
    "epoch's last batches (the window) in which the gate was closed. Thin lines separate the stages. Triangles: the "
    "rate went up again. Solid line: the epoch whose network is pruned and reported.",
    "Right: of the kept blocks, the smallest response of the window, max |F| over ε. At 1 a gate closes.",
    "Of each depth the first run that is done is drawn, and table.csv has its epochs alone. The report has every run's "
    "gates.",
]
NOTES = [
    "gates in table.csv: one letter a block, from input to output; . open in every batch of the window, # closed in "
    "every one, 1 to 9 tenths of them closed."
]
COLUMNS = ["stages", "reported", "epoch", "rate", "restart", "least_response", "gates"]
MEANS: dict[str, str] = {}


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per epoch of the first finished run of each depth, one row of each other run."""
    drawn: set[int] = set()

    def epochs(experiment: Experiment, metrics: Metrics | None) -> list[dict[Any, Any]]:
        if metrics is None or experiment.run.depth in drawn:
            return []
        drawn.add(experiment.run.depth)
        return _epochs(experiment, metrics)

    return results.details_table(registry, layout, name, COLUMNS, epochs)


def _epochs(experiment: Experiment, metrics: Metrics) -> list[dict[Any, Any]]:
    """Rate and restart of every epoch; gates and responses of those that blocks.parquet records."""
    history = read_history(experiment.files.history)
    life = gates_and_responses(read_blocks(experiment.files.blocks), metrics.discarded_blocks)
    rows = history[["epoch", "rate"]].assign(
        stages=" ".join(map(str, metrics.blocks)),
        reported=metrics.epoch,
        restart=history["rate"].diff() > 0,
    )
    return rows.merge(life, on="epoch", how="left")[COLUMNS].to_dict("records")


def gates_and_responses(blocks: pd.DataFrame, discarded: list[int]) -> pd.DataFrame:
    """Per recorded epoch the letters of all gates (NOTES), and the smallest response of the blocks that are kept.

    `blocks` as history.read_blocks returns it.
    """
    shares = blocks.assign(share=blocks["closed"] / blocks["window"])
    shares = shares.pivot(index="epoch", columns="block", values="share")
    kept = blocks[~blocks["block"].isin(discarded)].astype({"response": float})
    least = kept.groupby("epoch")["response"].min().replace(np.inf, np.nan)
    letters = ["".join(map(letter, row)) for row in shares.to_numpy()]
    return pd.DataFrame(
        {"epoch": shares.index, "gates": letters, "least_response": least.reindex(shares.index).to_numpy()}
    )


def letter(share: float) -> str:
    """How a gate that was closed in this share of the batches is written."""
    if share in (0, 1):
        return ".#"[int(share)]
    return str(min(9, max(1, round(10 * share))))


def share_of(letter: str) -> float:
    """The share that a letter stands for."""
    return float(".#".index(letter)) if letter in ".#" else int(letter) / 10


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text: one row per run."""
    lines = []
    for _, epochs in rows.groupby("run", sort=False):
        line = cells.runs(epochs.head(1)).iloc[0].to_dict()
        recorded = epochs[epochs["gates"].notna()]
        if recorded.empty:
            words = ["not drawn" if epochs["state"].iloc[0] == "done" else cells.NOTHING] * 4
        else:
            last = recorded["gates"].iloc[-1]
            restarts = epochs.loc[epochs["restart"].astype(bool), "epoch"]
            least = recorded["least_response"].dropna()
            words = [
                f"{last.count('#')} of {len(last)}",
                ", ".join(f"{epoch:.0f}" for epoch in restarts) or "none",
                f"{epochs['reported'].iloc[0]:.0f}",
                f"{least.min():.3g}" if len(least) else cells.NOTHING,
            ]
        names = ("closed at the end", "restarts of the rate, epochs", "reported epoch", "least response of kept blocks")
        line |= dict(zip(names, words, strict=True))
        lines.append(line)
    return pd.DataFrame(lines)


def draw(rows: pd.DataFrame, apart: bool = False) -> Drawing:
    """For each depth: its gates over the epochs, and beside them the smallest response of its kept blocks."""
    drawn = [(depth, group[group["epoch"].notna()]) for depth, group in rows.groupby("depth")]
    heights = [1.1 + min(2.4, 0.03 * _blocks(epochs)) for _, epochs in drawn]
    canvas, panels = plt.subplots(
        len(drawn), 2, figsize=(8, sum(heights) + 0.3), squeeze=False, layout="constrained",
        width_ratios=[3, 2], height_ratios=heights,
    )  # fmt: skip
    for (depth, epochs), (gates, response) in zip(drawn, panels, strict=True):
        gates.set_title(f"depth {depth}", loc="left", fontsize=9)
        if epochs.empty:
            drawing.say(gates, "not run")
            drawing.say(response, "not run")
            continue
        row = epochs.iloc[0]
        gates.set_title(f"depth {depth}, ε {row['epsilon']:g}, seed {row['seed']}", loc="left", fontsize=9)
        _draw_gates(gates, epochs)
        _draw_response(response, epochs)
        for axes in (gates, response):
            axes.set_xlim(0.5, epochs["epoch"].max() + 0.5)
            axes.axvline(row["reported"], color=colours.INK, linewidth=1.2, label="reported epoch")
            _mark_restarts(axes, epochs)
            axes.set_xlabel("epoch" if axes in panels[-1] else "")
    return canvas


def _blocks(epochs: pd.DataFrame) -> int:
    return 0 if epochs.empty else sum(map(int, str(epochs["stages"].iloc[0]).split()))


def _mark_restarts(axes: Axes, epochs: pd.DataFrame) -> None:
    restarts = epochs.loc[epochs["restart"].astype(bool), "epoch"].tolist()
    if restarts:  # an empty line above a panel would take all of its room
        axes.plot(
            restarts, [1.0] * len(restarts), "v", transform=axes.get_xaxis_transform(), clip_on=False, markersize=4,
            color=colours.INK, label="restart of the rate",
        )  # fmt: skip


def _draw_gates(axes: Axes, epochs: pd.DataFrame) -> None:
    recorded, last = epochs[epochs["gates"].notna()], int(epochs["epoch"].max())
    shares = np.array([[share_of(letter) for letter in gates] for gates in recorded["gates"]])
    # An epoch that is not recorded looks like the next one that is.
    columns = np.searchsorted(recorded["epoch"].to_numpy(), np.arange(1, last + 1))
    pixels = np.zeros((shares.shape[1], last, 4))  # transparent where open, so that any ground shows
    pixels[..., :3], pixels[..., 3] = to_rgb(colours.EPSILON), shares[columns].T
    blocks = shares.shape[1]
    axes.imshow(pixels, aspect="auto", interpolation="none", extent=(0.5, last + 0.5, blocks + 0.5, 0.5))
    for end in np.cumsum(list(map(int, str(epochs["stages"].iloc[0]).split())))[:-1]:
        axes.axhline(end + 0.5, color=colours.QUIET, linewidth=0.6)
    axes.grid(visible=False)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_ylim(blocks + 0.5, 0.5)
    axes.set_ylabel("block")
    for share, label in ((1.0, "closed in all batches"), (0.5, "in half of them")):
        axes.scatter([], [], marker="s", color=colours.EPSILON, alpha=share, linewidths=0, label=label)


def _draw_response(axes: Axes, epochs: pd.DataFrame) -> None:
    known = epochs[epochs["least_response"].astype(float) > 0]
    axes.plot(known["epoch"], known["least_response"].astype(float), color=colours.EPSILON, linewidth=1.2)
    axes.axhline(1, color=colours.INK, linestyle="--", linewidth=0.8, label="where a gate closes")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("max |F| / ε")
    axes.set_title("smallest of the kept blocks", loc="left", fontsize=9)
    if known.empty:
        drawing.say(axes, "no block is kept")
