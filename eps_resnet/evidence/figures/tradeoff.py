"""Error against cost, not in the paper: pruned networks among standard ones of all depths that are trained as long."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from eps_resnet.evidence.figures import cells, drawing, results
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry

TITLE = "pruned networks among standard ones of every size"
CAPTION = [
    "A standard network is drawn where it is trained for as many epochs as the gated ones. Numbers are depths: of a "
    "pruned network that before pruning, with its ε where it is not the usual one. A pruned network's cost is the mean "
    "over its seeds.",
    results.BARS,
]
NOTES = ["Errors, parameters and multiply-adds (of one image) are those of the pruned network."]
MEANS = {"error_pruned": "error, pruned", "parameters": "parameters", "multiply_adds": "multiply-adds"}
COSTS = {"parameters": "parameters", "multiply_adds": "multiply-adds of one image"}
# Where a depth stands, in points from its mark: below the falling curve of standard networks, to the left of its
# intervals; else above, to the right and the left in turn, as pruned networks lie close together.
BELOW = ((-4, -10), "right")
ABOVE = (((4, 4), "left"), ((-4, 4), "right"))


def table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run: its error and cost, and for how many epochs it is trained."""
    rows = results.runs_table(registry, layout, name)
    data, runs = registry.datasets[registry.figures[name].dataset], registry.runs_of(name).values()
    epochs = [data.recipe_of(run).epochs_of(run.method) for run in runs]
    return rows.assign(epochs=epochs)


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that table.md shows, as text."""
    view = cells.runs(rows)
    view["epochs"] = rows["epochs"].astype(str)
    view["error, pruned"] = cells.percents(rows, "error_pruned")
    view["95 % interval"] = cells.intervals(rows)
    view["parameters"] = cells.text(rows, "{:,.0f}", "parameters")
    view["multiply-adds"] = cells.text(rows, "{:,.0f}", "multiply_adds")
    view["discarded"] = cells.counts(rows)
    return view


def draw(rows: pd.DataFrame, apart: bool = False) -> Drawing:
    """Error against parameters (left) and against multiply-adds (right)."""
    rows = trained_as_long(rows)
    canvas, panels = drawing.canvas(2, width=3.9)
    for axes, (cost, title) in zip(panels, COSTS.items(), strict=True):
        axes.set_xlabel(title)
        axes.set_ylabel("test error, pruned (%)")
        if (rows["state"] != "done").all():
            drawing.say_not_run(axes)
            continue
        for arm, style in drawing.arm_styles(rows).items():
            _draw_arm(axes, rows, arm, style, cost)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(_in_words))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
        axes.margins(x=0.1, y=0.15)
        axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
    return canvas


def trained_as_long(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the standard networks that are trained for fewer epochs than the gated ones, or for more."""
    gated = rows["method"] == "epsilon_side"
    return rows[gated | rows["epochs"].isin(rows.loc[gated, "epochs"])]


def _draw_arm(axes: Axes, rows: pd.DataFrame, arm: tuple[str, float, str], style: dict[str, object], cost: str) -> None:
    method, decay, variant = arm
    own = rows[
        (rows["method"] == method)
        & (rows["weight_decay"] == decay)
        & (rows["variant"].fillna("") == variant)
        & (rows["state"] == "done")
    ]
    if own.empty:
        return
    own = own.assign(epsilon=own["epsilon"].fillna(0.0))
    points = results.over_seeds(own, ["depth", "epsilon"], "error_pruned", is_error=True)
    places = own.groupby(["depth", "epsilon"])[cost].mean().to_list()
    if method == "epsilon_side":
        style = {**style, "linestyle": "none"}  # one network each: nothing lies between them
    drawing.mean_curve(axes, places, points, style)
    axes.plot(own[cost], 100 * own["error_pruned"], ".", markersize=3, color=style["color"], alpha=0.5)
    usual = rows["epsilon"].mode().iloc[0]  # the others are written beside their depths
    named = sorted(zip(places, points["depth"], points["epsilon"], points["mean"], strict=True))
    for number, (place, depth, epsilon, error) in enumerate(named):
        words = f"{depth}" if epsilon in (0.0, usual) else f"{depth}, ε {epsilon:g}"
        offset, side = BELOW if method == "standard" and len(named) > 1 else ABOVE[number % 2]
        axes.annotate(
            words, (place, 100 * error), xytext=offset, textcoords="offset points", fontsize=6.5, ha=side,
            color=style["color"],
        )  # fmt: skip


def _in_words(value: float, _: object) -> str:
    """A count as people write it: 20 k, 1.5 M."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{np.round(value / factor, 2):g} {unit}"
    return f"{value:g}"
