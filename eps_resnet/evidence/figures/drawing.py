"""How figures look, and how a table and its drawing are written: equal bytes for equal results."""

import re
import textwrap
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence.figures.results import over_seeds
from eps_resnet.experiments.models import Method
from eps_resnet.files.atomic import write_atomically, write_text
from eps_resnet.files.errors import UserError

# Okabe and Ito's colours differ for the colour-blind; markers and dashes differ in grey.
STYLES: dict[str, dict[str, Any]] = {
    "standard": {"color": "#0072B2", "marker": "s", "label": "standard"},
    "standard_side": {"color": "#009E73", "marker": "^", "label": "standard + side head"},
    "epsilon_side": {"color": "#D55E00", "marker": "o", "label": "ε-ResNet + side head"},
}
PAPER: dict[str, Any] = {"linestyle": ":", "linewidth": 1, "markerfacecolor": "white", "markersize": 5}
BLOCK = re.compile(r"^(\d*)([-+#~=_.)]|`(?=``))")  # what would begin a list, a heading or a block of code in Markdown
OTHER_LINES = ("--", "-.", ":")  # of a method's curves after its first
TEXTS = ("run", "method", "variant", "state", "kept_per_stage", "pattern", "published_pattern")  # columns of tables
QUIET = "#595959"  # text beside the data
plt.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e6e6e6",
        "axes.axisbelow": True,
        "legend.frameon": False,
        "legend.fontsize": 7.5,
        "hatch.linewidth": 0.8,
        "svg.hashsalt": "eps-resnet",  # otherwise every drawing has other identifiers
        "svg.fonttype": "none",
    }
)


def canvas(panels: int, width: float = 3.9) -> tuple[Drawing, list[Axes]]:
    """An empty drawing with `panels` panels side by side, each `width` inches wide."""
    drawing, axes = plt.subplots(1, panels, figsize=(width * panels, 3.3), squeeze=False, layout="constrained")
    return drawing, list(axes[0])


def point_axis(axes: Axes, labels: list[str], title: str) -> None:
    """Points at equal distances, as the paper draws its depths."""
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_xlabel(title)
    axes.grid(visible=False, axis="x")


def share_axis(axes: Axes, title: str) -> None:
    """Shares of blocks, from none to all; a little more, so that points at the ends are whole."""
    axes.set_ylim(-2, 102)
    axes.set_ylabel(title)


def say_not_run(axes: Axes) -> None:
    """Says that there is nothing of ours in the panel: above it, or in it where it is empty."""
    if axes.has_data():
        axes.set_title("ours: not run", loc="right", fontsize=8, color=QUIET)
    else:
        say(axes, "not run")


def say(axes: Axes, text: str) -> None:
    """A few words in a panel that has nothing to draw."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=QUIET)
    axes.set_xticks([])
    axes.set_yticks([])


def head(drawing: Drawing, title: str) -> None:
    """The title and, below it, one legend for all panels: above them, where no data can lie."""
    handles: dict[str, Any] = {}
    for axes in drawing.axes:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    inches = 0.6 + 0.05 * max(map(len, handles), default=0)  # of an entry: marker, letters at this font size, space
    columns = max(1, int(drawing.get_figwidth() / inches))
    legend = drawing.legend(
        list(handles.values()), list(handles), title=_plain(title), title_fontsize=10, alignment="left",
        loc="outside upper left", ncols=columns,
    )  # fmt: skip
    legend.get_title().set_parse_math(False)  # a title may hold a dollar
    _grow(drawing, 0.2 * -(-len(handles) // columns))


def _grow(drawing: Drawing, inches: float) -> None:
    """Makes a drawing higher, so that what stands around the panels takes nothing from them."""
    drawing.set_figheight(drawing.get_figheight() + inches)


def curves(
    axes: Axes, rows: pd.DataFrame, y: str, is_error: bool = False, joined: bool = True, only: Method | None = None
) -> None:
    """One curve per method, decay and variant: the mean over seeds of `y` (a fraction, drawn in %) at each `position`.

    With bars for the 95 % interval (results.over_seeds) and a dot for each of several seeds. Says so where no run is
    done. Where decays or variants differ, each curve tells its own, and a method's others than its first are dashed.
    `only`: the one method to draw.
    """
    done = rows[(rows["state"] == "done") & (rows["method"].eq(only) if only else True)]
    if done[y].isna().all():
        say_not_run(axes)
        return
    rows = rows.assign(variant=rows["variant"].fillna(""))
    first = {method: (row["weight_decay"], row["variant"]) for method, row in rows.groupby("method").first().iterrows()}
    differ = rows["weight_decay"].nunique() > 1
    methods = [method for method in STYLES if method in set(done["method"])]
    others: dict[str, int] = {}
    groups = done.assign(variant=done["variant"].fillna("")).groupby(["method", "weight_decay", "variant"], sort=False)
    for (method, decay, variant), group in groups:
        points = over_seeds(group, ["position"], y, is_error)
        style = dict(STYLES[str(method)])
        is_other = (decay, variant) != first[method]
        if differ:
            style["label"] = f"{style['label']}, decay {decay:g}"
        if variant:
            style["label"] = f"{style['label']}, {variant}"
        if is_other:
            others[str(method)] = others.get(str(method), -1) + 1
            style |= {"linestyle": OTHER_LINES[others[str(method)] % len(OTHER_LINES)], "alpha": 0.55}
        if not joined:
            style["linestyle"] = "none"
        # Curves are moved apart a little, so that equal values stay visible.
        offset = 0.06 * (methods.index(str(method)) - (len(methods) - 1) / 2) + 0.03 * is_other
        axes.plot(points["position"] + offset, 100 * points["mean"], markersize=5, linewidth=1.5, **style)
        if points["seeds"].max() > 1:
            places = group["position"] + offset
            axes.plot(places, 100 * group[y], ".", markersize=3, color=style["color"], alpha=0.6, zorder=3)
        bars = points[points["low"].notna()]
        axes.vlines(bars["position"] + offset, 100 * bars["low"], 100 * bars["high"], color=style["color"], linewidth=1)


def published_curves(axes: Axes, rows: pd.DataFrame, y: str, joined: bool = True) -> None:
    """The paper's numbers (fractions, drawn in %): dotted, hollow markers."""
    for method, group in rows[rows[y].notna()].groupby("method", sort=False):
        points = group.drop_duplicates("position").sort_values("position")
        style = {**PAPER, **STYLES[str(method)], "label": f"paper: {STYLES[str(method)]['label']}"}
        if not joined:
            style["linestyle"] = "none"
        axes.plot(points["position"], 100 * points[y], **style)


def save(folder: Path, drawing: Drawing, notes: list[str]) -> None:
    """Writes figure.svg and figure.png, with the remarks below, and closes the drawing."""
    characters = int(19 * drawing.get_figwidth())  # at this font size
    text = "\n".join(textwrap.fill(_plain(note), characters) for note in notes)
    _grow(drawing, 0.14 * (text.count("\n") + 1))
    drawing.supxlabel(text, fontsize=7, color=QUIET, x=0.01, ha="left", parse_math=False)
    write_atomically(folder / "figure.svg", lambda path: drawing.savefig(path, format="svg", metadata={"Date": None}))
    write_atomically(folder / "figure.png", lambda path: drawing.savefig(path, format="png", dpi=160))
    plt.close(drawing)


def write_table(folder: Path, title: str, rows: pd.DataFrame, views: list[pd.DataFrame], notes: list[str]) -> None:
    """Writes table.csv (every row and column, fractions) and table.md (`views` for reading), with the remarks below."""
    write_text(folder / "table.csv", rows.to_csv(index=False, float_format="%.9g"))
    lines = [line for view in views for line in [*_markdown_table(view), ""]]
    items = ["- " + BLOCK.sub(r"\1\\\2", _as_markdown(note).strip()) for note in notes]
    write_text(folder / "table.md", "\n".join([f"# {_as_markdown(title)}", "", *lines, *items]) + "\n")


def read_table(folder: Path) -> pd.DataFrame:
    """The rows of table.csv. Raises UserError if there is none."""
    path = folder / "table.csv"
    if not path.exists():
        raise UserError(f"There is no {path} to draw; `eps-resnet table {folder.name}` writes it.")
    rows = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, object))
    return rows.where(rows.notna() | ~rows.columns.isin(TEXTS), None)


def _markdown_table(view: pd.DataFrame) -> list[str]:
    cells = [list(view.columns), ["---"] * view.shape[1], *view.to_numpy().tolist()]
    return ["| " + " | ".join(map(_as_markdown, row)) + " |" for row in cells]


def _plain(text: str) -> str:
    """A text of the registry or of a result as one line: a control character would spoil an SVG or a table."""
    return "".join(c if c.isprintable() else " " for c in text)


def _as_markdown(text: str) -> str:
    """The text with what would be HTML, a link or a cell's end in Markdown escaped; `code` stays."""
    return re.sub(r"[][<>*|&\\]", r"\\\g<0>", _plain(text))
