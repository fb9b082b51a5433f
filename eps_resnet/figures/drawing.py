"""How figures look, and how a table and its drawing are written: equal bytes for equal results."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from eps_resnet.files import write_atomically, write_text

# Okabe and Ito's colours differ for the colour-blind; markers and dashes differ in grey.
STYLES: dict[str, dict[str, Any]] = {
    "standard": {"color": "#0072B2", "marker": "s", "label": "standard"},
    "standard_side": {"color": "#009E73", "marker": "^", "label": "standard + side head"},
    "epsilon_side": {"color": "#D55E00", "marker": "o", "label": "ε-ResNet + side head"},
}
PUBLISHED: dict[str, Any] = {"linestyle": ":", "linewidth": 1, "markerfacecolor": "white", "markersize": 5}
plt.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e6e6e6",
        "axes.axisbelow": True,
        "legend.frameon": False,
        "svg.hashsalt": "eps-resnet",  # otherwise every drawing has other identifiers
        "svg.fonttype": "none",
    }
)


def canvas(panels: int) -> tuple[Drawing, list[Axes]]:
    """An empty drawing with so many panels side by side."""
    drawing, axes = plt.subplots(1, panels, figsize=(3.9 * panels, 3.5), squeeze=False, layout="constrained")
    return drawing, list(axes[0])


def ordinal_axis(axes: Axes, values: list[float], label: str) -> None:
    """Values at equal distances, as the paper draws its depths."""
    axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axes.set_xlim(-0.4, len(values) - 0.6)
    axes.set_xlabel(label)


def say_not_run(axes: Axes) -> None:
    """Says in the panel that there is nothing of ours to draw."""
    axes.text(0.98, 0.03, "ours: not run", transform=axes.transAxes, ha="right", va="bottom", color="#777777")


def error_axis(axes: Axes) -> None:
    """Room above the curves for the legend; errors are never below 0."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(0, bottom), top + 0.3 * (top - bottom))


def legend(axes: Axes) -> None:
    """A legend, where there is something to explain."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, loc="upper left")


def curves(axes: Axes, rows: pd.DataFrame, x: str, y: str, scale: float, interval: bool = False) -> None:
    """One curve per method and weight decay through the means over seeds of `y`, against the values of `x`.

    The interval is the 95 % binomial one where a point has one seed, the seeds' range where it has several. Says
    so where no run is done.
    """
    values = sorted(set(rows[x]))
    done = rows[rows["state"] == "done"]
    if done.empty:
        say_not_run(axes)
        return
    usual = rows["weight_decay"].iloc[0]
    for (method, decay), group in done.groupby(["method", "weight_decay"], sort=False):
        points = group.groupby(x)
        means = points[y].mean()
        style = dict(STYLES[str(method)])
        if decay != usual:
            style |= {"label": f"{style['label']}, decay {decay:g}", "linestyle": "--", "alpha": 0.55}
        # Curves are moved apart a little, so that equal values stay visible.
        offset = 0.05 * (list(STYLES).index(str(method)) - 1) + (0.025 if decay != usual else 0)
        positions = [values.index(value) + offset for value in means.index]
        axes.plot(positions, means * scale, markersize=5, linewidth=1.5, **style)
        if interval:
            one = points["seed"].nunique() == 1
            low = points["error_low"].first().where(one, points[y].min())
            high = points["error_high"].first().where(one, points[y].max())
            axes.vlines(positions, low * scale, high * scale, color=style["color"], linewidth=1, alpha=0.4)


def published_curves(axes: Axes, rows: pd.DataFrame, x: str, y: str, scale: float) -> None:
    """The paper's numbers: dotted, hollow markers."""
    values = sorted(set(rows[x]))
    for method, group in rows[rows[y].notna()].groupby("method", sort=False):
        points = group.drop_duplicates(x).sort_values(x)
        style = STYLES[str(method)]
        axes.plot(
            [values.index(value) for value in points[x]],
            points[y] * scale,
            color=style["color"],
            marker=style["marker"],
            label=f"paper: {style['label']}",
            **PUBLISHED,
        )


def save(folder: Path, drawing: Drawing, notes: list[str]) -> None:
    """Writes figure.svg and figure.png, with the remarks below, and closes the drawing."""
    characters = int(18.5 * drawing.get_figwidth())  # at this font size
    text = "\n".join(textwrap.fill(note, characters) for note in notes)
    drawing.supxlabel(text, fontsize=6.5, color="#555555", x=0.01, ha="left")
    write_atomically(folder / "figure.svg", lambda path: drawing.savefig(path, format="svg", metadata={"Date": None}))
    write_atomically(folder / "figure.png", lambda path: drawing.savefig(path, format="png", dpi=160))
    plt.close(drawing)


def write_table(folder: Path, title: str, rows: pd.DataFrame, readable: pd.DataFrame, notes: list[str]) -> None:
    """Writes table.csv (every column, fractions) and table.md (for reading), with the remarks below."""
    write_text(folder / "table.csv", rows.to_csv(index=False, float_format="%.9g"))
    cells = [list(readable.columns), ["---"] * readable.shape[1], *readable.to_numpy().tolist()]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    write_text(folder / "table.md", "\n".join([f"# {title}", "", *lines, "", *(f"- {note}" for note in notes)]) + "\n")
