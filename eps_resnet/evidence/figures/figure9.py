"""Figure 9: share of discarded blocks against epoch."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence import published
from eps_resnet.evidence.figures import cells, colours, drawing, results
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.method.history import read_history
from eps_resnet.provenance.records import Metrics

TITLE = "discarded blocks against epoch"
CAPTION = [
    "A curve of ours is a mean over seeds, the band Student's 95 % interval (from three seeds on). The thin one is the "
    "mean number of closed gates in an epoch, flicker included, as the reference code's running average is, which the "
    "paper's curve shows."
]
NOTES = ["Without published epochs the table shows every tenth; table.csv has all."]
COLUMNS = ["epoch", "discarded", "blocks", "discarded_ratio", "closed_ratio"]
COLUMNS += ["published_ratio", "published_uncertainty"]
EVERY = 10
MEANS: dict[str, str] = {}


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run and epoch, ours and the published ones; `discarded_ratio` is a fraction of all blocks."""
    data = registry.datasets[registry.figures[name].dataset]
    numbers = published.matching(published.of_data(data), figure="9")

    def curve(experiment: Experiment, metrics: Metrics | None) -> list[dict[Any, Any]]:
        run = experiment.run
        points = published.matching(numbers, depth=run.depth, epsilon=run.epsilon)
        paper = pd.DataFrame(
            [(number.epoch, number.value, number.uncertainty) for number in points],
            columns=["epoch", "published_ratio", "published_uncertainty"],
            dtype=float,
        )
        rows = _measured(experiment, metrics) if metrics else pd.DataFrame({"epoch": []})
        return rows.merge(paper, on="epoch", how="outer").sort_values("epoch").to_dict("records")

    return results.details_table(registry, layout, name, COLUMNS, curve)


def _measured(experiment: Experiment, metrics: Metrics) -> pd.DataFrame:
    blocks = sum(metrics.blocks)
    history = read_history(experiment.files.history)[["epoch", "discarded", "closed_mean"]]
    shares = {"discarded_ratio": history["discarded"] / blocks, "closed_ratio": history["closed_mean"] / blocks}
    return history.assign(blocks=blocks, **shares)


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text: the published epochs, or every tenth."""
    shown = rows[rows["published_ratio"].notna()]
    if shown.empty:
        shown = rows[rows["epoch"].isna() | (rows["epoch"] % EVERY == 0)]
    view = cells.runs(shown)
    view["epoch"] = cells.text(shown, "{:.0f}", "epoch")
    view["discarded"] = cells.counts(shown)
    view["closed, mean"] = cells.percents(shown, "closed_ratio")
    view["published share"] = cells.percents(shown, "published_ratio")
    view["±"] = cells.percents(shown, "published_uncertainty")
    return view


def draw(rows: pd.DataFrame, apart: bool = False) -> Drawing:
    """The share against the epoch, for each depth and epsilon its mean over seeds."""
    canvas, (axes,) = drawing.canvas(1, width=3.8)
    ours: dict[str, Any] = {"color": colours.EPSILON}
    paper = rows[rows["published_ratio"].notna()].drop_duplicates(["depth", "epsilon", "epoch"])
    if len(paper):
        share, doubt = 100 * paper["published_ratio"], 100 * paper["published_uncertainty"]
        look = {**drawing.PAPER, "markersize": 3, "color": colours.APART if apart else colours.INK, "marker": "o"}
        axes.plot(paper["epoch"], share, **look, label="paper (another recipe)" if apart else "paper")
        axes.vlines(paper["epoch"], share - doubt, share + doubt, color=look["color"], linewidth=0.8)
    for name, points in _means(rows, "discarded_ratio", "discarded"):
        axes.fill_between(points["epoch"], 100 * points["low"], 100 * points["high"], alpha=0.25, linewidth=0, **ours)
        axes.plot(points["epoch"], 100 * points["mean"], linewidth=1.5, label=name, **ours)
    for name, points in _means(rows, "closed_ratio", "closed gates"):
        axes.plot(points["epoch"], 100 * points["mean"], linewidth=0.6, alpha=0.7, label=name, **ours)
    if rows["discarded_ratio"].isna().all():
        drawing.say_not_run(axes)
    axes.set_xlabel("epoch")
    axes.set_xlim(0, rows["epoch"].max() if rows["epoch"].notna().any() else 1)
    drawing.share_axis(axes, "blocks discarded (%)")
    return canvas


def _means(rows: pd.DataFrame, column: str, what: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The means over seeds for each depth and epsilon, and what is drawn there."""
    means = results.over_seeds(rows, ["depth", "epsilon", "epoch"], column)
    several = len(rows[["depth", "epsilon"]].drop_duplicates()) > 1
    for (depth, epsilon), points in means.groupby(["depth", "epsilon"]):
        yield f"{what}, depth {depth}, ε {epsilon:g}" if several else what, points
