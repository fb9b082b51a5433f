"""Figure 9: share of discarded blocks against epoch."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence import published
from eps_resnet.evidence.figures import drawing, results
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.method.history import read_history

TITLE = "discarded blocks against epoch"
CAPTION = [
    "A curve of ours is a mean over seeds, the band Student's 95 % interval (from three seeds on). The thin one is the "
    "mean number of closed gates in an epoch, flicker included, as the reference code's running average is, which the "
    "paper's curve shows."
]
NOTES = ["Without published epochs the table shows every tenth; table.csv has all."]
COLUMNS = [
    "epoch",
    "discarded",
    "blocks",
    "discarded_ratio",
    "closed_ratio",
    "published_ratio",
    "published_uncertainty",
]
EVERY = 10
MEANS: dict[str, str] = {}


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run and epoch, ours and the published ones; `discarded_ratio` is a fraction of all blocks."""
    data = registry.datasets[registry.figures[name].dataset]
    numbers = published.of_data(published.read(published.published_csv(), registry), data)
    numbers = numbers[numbers["figure"] == "9"]

    def curve(key: str, is_done: bool) -> list[dict[Any, Any]]:
        run = registry.runs[key]
        paper = numbers[(numbers["depth"] == run.depth) & (numbers["epsilon"] == run.epsilon)]
        paper = paper[["epoch", "value", "uncertainty"]].set_axis(
            ["epoch", "published_ratio", "published_uncertainty"], axis="columns"
        )
        rows = _measured(layout, key) if is_done else pd.DataFrame({"epoch": []})
        return rows.merge(paper, on="epoch", how="outer").sort_values("epoch").to_dict("records")

    return results.details_table(registry, layout, name, COLUMNS, curve)


def _measured(layout: Layout, key: str) -> pd.DataFrame:
    blocks = sum(read_json(layout.run(key).metrics)["blocks"])
    history = read_history(layout.run(key).history)[["epoch", "discarded", "closed_mean"]]
    shares = {"discarded_ratio": history["discarded"] / blocks, "closed_ratio": history["closed_mean"] / blocks}
    return history.assign(blocks=blocks, **shares)


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text: the published epochs, or every tenth."""
    shown = rows[rows["published_ratio"].notna()]
    if shown.empty:
        shown = rows[rows["epoch"].isna() | (rows["epoch"] % EVERY == 0)]
    view = results.readable_runs(shown)
    view["epoch"] = shown["epoch"].map(lambda epoch: results.NOTHING if pd.isna(epoch) else f"{epoch:.0f}")
    view["discarded"] = results.counts(shown)
    view["closed, mean"] = results.percents(shown, "closed_ratio")
    view["published share"] = results.percents(shown, "published_ratio")
    view["±"] = results.percents(shown, "published_uncertainty")
    return view


def draw(rows: pd.DataFrame, apart: bool = False) -> Drawing:
    """The share against the epoch, for each depth and epsilon its mean over seeds."""
    canvas, (axes,) = drawing.canvas(1, width=3.8)
    style = drawing.STYLES["epsilon_side"]
    paper = rows[rows["published_ratio"].notna()].drop_duplicates(["depth", "epsilon", "epoch"])
    if len(paper):
        share, doubt = 100 * paper["published_ratio"], 100 * paper["published_uncertainty"]
        look = {**drawing.PAPER, "markersize": 3, "color": drawing.APART if apart else "black", "marker": "o"}
        axes.plot(paper["epoch"], share, **look, label="paper (another recipe)" if apart else "paper")
        axes.vlines(paper["epoch"], share - doubt, share + doubt, color=look["color"], linewidth=0.8)
    curves = results.over_seeds(rows, ["depth", "epsilon", "epoch"], "discarded_ratio")
    several = len(rows[["depth", "epsilon"]].drop_duplicates()) > 1
    for (depth, epsilon), points in curves.groupby(["depth", "epsilon"]):
        label = f"discarded{f', depth {depth}, ε {epsilon:g}' if several else ''}"
        axes.fill_between(
            points["epoch"], 100 * points["low"], 100 * points["high"], color=style["color"], alpha=0.25, linewidth=0
        )
        axes.plot(points["epoch"], 100 * points["mean"], color=style["color"], linewidth=1.5, label=label)
    closed = results.over_seeds(rows, ["depth", "epsilon", "epoch"], "closed_ratio")
    for (depth, epsilon), points in closed.groupby(["depth", "epsilon"]):
        label = f"closed gates{f', depth {depth}, ε {epsilon:g}' if several else ''}"
        axes.plot(points["epoch"], 100 * points["mean"], color=style["color"], linewidth=0.6, alpha=0.7, label=label)
    if curves.empty:
        drawing.say_not_run(axes)
    axes.set_xlabel("epoch")
    axes.set_xlim(0, rows["epoch"].max() if rows["epoch"].notna().any() else 1)
    drawing.share_axis(axes, "blocks discarded (%)")
    return canvas
