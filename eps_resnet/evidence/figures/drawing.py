"""How figures look, and how a table and its drawing are written: equal bytes for equal results."""

import re
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D

from eps_resnet.evidence.figures import colours
from eps_resnet.evidence.figures.axis import Axis
from eps_resnet.evidence.figures.results import over_seeds
from eps_resnet.evidence.statistics import LEAST_SEEDS
from eps_resnet.experiments.models import Method
from eps_resnet.files.atomic import write_atomically, write_text
from eps_resnet.files.errors import UserError

STYLES: dict[str, dict[str, Any]] = {
    "standard": {"color": colours.STANDARD, "marker": "s", "label": "standard"},
    "standard_side": {"color": colours.STANDARD_SIDE, "marker": "^", "label": "standard + side head"},
    "epsilon_side": {"color": colours.EPSILON, "marker": "o", "label": "ε-ResNet + side head"},
}
PAPER: dict[str, Any] = {"linestyle": ":", "linewidth": 1, "markersize": 6, "markeredgewidth": 1.2}
PAPER_MARKERS = {"standard": "x", "standard_side": "+", "epsilon_side": (6, 2, 0)}  # hollow ones are of few seeds
BLOCK = re.compile(r"^(\d*)([-+#~=_.)]|`(?=``))")  # what would begin a list, a heading or a block of code in Markdown
# Of a method's curves after its first. A curve of a single point has no line, so markers differ as well.
OTHERS: tuple[tuple[Any, str], ...] = (
    ("--", "D"),
    ("-.", "P"),
    ((0, (5, 1, 1, 1, 1, 1)), "X"),
    ((0, (1, 1)), "p"),
    ((0, (9, 2)), "h"),
    ((0, (3, 4)), "8"),
)
STEP, MOST = 0.012, 0.08  # shares of the axis: from one curve to the next, and from the first to the last
DIRECT = 4  # so many curves at most are named at their ends instead of in a legend
LETTERS = 32  # names of so many letters at most
LETTER = 0.06  # inches: the width of a letter of small text
TITLE_LETTER = 0.078  # and of one of the title
CROWDED = 0.085  # share of an axis: labels of points that are nearer than this would run into each other
HANDLE = 22  # points: the mark before the words of an entry of the legend, and the space between
PAD = 3  # points around a panel or an entry of the legend that is shown alone
LINE = 0.068  # of a panel's height: a line of small text
# Columns of tables that hold text.
TEXTS = ("run", "method", "variant", "state", "kept_per_stage", "pattern", "published_pattern", "gates", "stages")
# How each file is written: without a date, so that equal drawings are equal bytes.
FORMATS: dict[str, dict[str, Any]] = {
    "svg": {"metadata": {"Date": None}},
    "png": {"dpi": 160},
    "pdf": {"metadata": {"CreationDate": None}},
}
plt.rcParams.update(
    {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": colours.GRID,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "legend.fontsize": 7.5,
        "hatch.linewidth": 0.8,
        "text.hinting": "none",  # so that words are as wide in every format
        "svg.hashsalt": "eps-resnet",  # otherwise every drawing has other identifiers
        "svg.fonttype": "none",
        "pdf.fonttype": 42,  # letters, not outlines
    }
)


def canvas(panels: int, width: float = 3.2) -> tuple[Drawing, list[Axes]]:
    """An empty drawing with `panels` panels side by side, each `width` inches wide."""
    drawing, axes = plt.subplots(1, panels, figsize=(width * panels, 2.9), squeeze=False, layout="constrained")
    return drawing, list(axes[0])


def point_axis(axes: Axes, axis: Axis, title: str) -> None:
    """Depths or epsilons at their true distances, each with its label where there is room for it."""
    axes.set_xscale("log" if axis.is_log else "linear")
    axes.set_xticks(axis.values, axis.roomy_labels(CROWDED))
    axes.minorticks_off()
    axes.set_xlim(*axis.limits)
    axes.set_xlabel(title)
    axes.grid(visible=False, axis="x")


def share_axis(axes: Axes, title: str) -> None:
    """Shares of blocks, from none to all; a little more, so that points at the ends are whole."""
    axes.set_ylim(-2, 102)
    axes.set_ylabel(title)


def say_not_run(axes: Axes) -> None:
    """Says that there is nothing of ours in the panel: above it, or in it where it is empty."""
    if axes.has_data():
        _say_above(axes, "ours: not run")
    else:
        say(axes, "not run")


def _say_above(axes: Axes, words: str) -> None:
    said = axes.get_title(loc="right")
    axes.set_title(
        f"{said}; {words}" if said and words not in said else words, loc="right", fontsize=8, color=colours.QUIET
    )


def say(axes: Axes, text: str) -> None:
    """A few words in a panel that has nothing to draw."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=colours.QUIET)
    axes.set_xticks([])
    axes.set_yticks([])


def head(drawing: Drawing, title: str) -> None:
    """The title; and what curves are called: at their ends where they are few, else in one legend below the title."""
    handles: dict[str, Any] = {}
    for axes in drawing.axes:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if _can_be_named_directly(drawing):
        _name_all_curves(drawing)
        # A dollar in it is no formula.
        drawing.suptitle(_wrapped(title, drawing), x=0.01, ha="left", fontsize=10, parse_math=False)
        mark_parts(drawing)
        return
    inches = 0.5 + 0.05 * max(map(len, handles), default=0)  # of an entry: marker, letters at this font size, space
    columns = max(1, int(drawing.get_figwidth() / inches))
    legend = drawing.legend(
        list(handles.values()), list(handles), title=_wrapped(title, drawing), title_fontsize=10, alignment="left",
        loc="outside upper left", ncols=columns,
    )  # fmt: skip
    legend.get_title().set_parse_math(False)
    drawing.set_figheight(drawing.get_figheight() + 0.2 * -(-len(handles) // columns))
    mark_parts(drawing)


def _wrapped(title: str, drawing: Drawing) -> str:
    """The title in as many lines as it takes; the drawing grows by those after the first."""
    lines = textwrap.wrap(_plain(title), int(drawing.get_figwidth() / TITLE_LETTER)) or [""]
    drawing.set_figheight(drawing.get_figheight() + 0.17 * (len(lines) - 1))
    return "\n".join(lines)


def _can_be_named_directly(drawing: Drawing) -> bool:
    named = [axes.get_legend_handles_labels()[0] for axes in drawing.axes]
    are_lines = all(isinstance(handle, Line2D) for handles in named for handle in handles)
    are_short = all(len(str(handle.get_label())) <= LETTERS for handles in named for handle in handles)
    return len(named) <= 2 and max(map(len, named)) <= DIRECT and are_lines and are_short


def _name_all_curves(drawing: Drawing) -> None:
    """Each curve is named where it is first drawn, and looks the same in the other panels."""
    named: set[str] = set()
    for axes in drawing.axes:
        own = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
        new = [line for line in own if str(line.get_label()) not in named]
        _name_curves(axes, new)
        letters = max((len(str(line.get_label())) for line in new), default=0)
        drawing.set_figwidth(drawing.get_figwidth() + LETTER * letters)
        named |= {str(line.get_label()) for line in new}


def _name_curves(axes: Axes, lines: list[Line2D]) -> None:
    axes.get_ylim()  # now that all is drawn, so that heights are what they will be
    to_share = axes.transData + axes.transAxes.inverted()
    ends = [float(to_share.transform(np.asarray(line.get_xydata())[-1])[1]) for line in lines]
    for line, height in zip(lines, spread(ends), strict=True):
        axes.text(
            1.01, height, str(line.get_label()), transform=axes.transAxes, va="center", fontsize=8,
            color=line.get_color(),
        )  # fmt: skip


def spread(heights: list[float]) -> list[float]:
    """Shares of a panel's height near these, in their order and a line of text or more apart."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed = dict.fromkeys(order, 0.0)
    below = -LINE
    for i in order:
        below = placed[i] = max(heights[i], below + LINE)
    above = 1 + LINE
    for i in reversed(order):
        above = placed[i] = min(placed[i], above - LINE)
    return [placed[i] for i in range(len(heights))]


def curves(
    axes: Axes,
    rows: pd.DataFrame,
    y: str,
    axis: Axis,
    is_error: bool = False,
    joined: bool = True,
    only: Method | None = None,
) -> None:
    """One curve per method, decay and variant: the mean over seeds of `y` (a fraction, drawn in %) at each `position`.

    Says so where no run is done. `only`: the one method to draw.
    """
    done = rows[(rows["state"] == "done") & (rows["method"].eq(only) if only else True)]
    if done[y].isna().all():
        say_not_run(axes)
        return
    styles = arm_styles(rows)
    groups = list(done.assign(variant=done["variant"].fillna("")).groupby(["method", "weight_decay", "variant"]))
    step = min(STEP, MOST / len(groups))
    for number, (arm, group) in enumerate(groups):
        # Curves are moved apart a little, so that equal values stay visible.
        offset = step * (number - (len(groups) - 1) / 2)
        points = over_seeds(group, ["position"], y, is_error)
        style = styles[arm] if joined else styles[arm] | {"linestyle": "none"}
        mean_curve(axes, [axis.moved(at, offset) for at in points["position"]], points, style)
        if points["seeds"].max() > 1:
            places = [axis.moved(at, offset) for at in group["position"]]
            axes.plot(places, 100 * group[y], ".", markersize=3, color=style["color"], alpha=0.6, zorder=3)


def arm_styles(rows: pd.DataFrame) -> dict[Any, dict[str, Any]]:
    """How each method, decay and variant is drawn, and what it is called where there are others.

    A method's others than its first have dashed lines and other markers.
    """
    styles: dict[Any, dict[str, Any]] = {}
    several = rows["weight_decay"].nunique() > 1
    arms = rows.assign(variant=rows["variant"].fillna("")).drop_duplicates(["method", "weight_decay", "variant"])
    for method, decay, variant in arms[["method", "weight_decay", "variant"]].itertuples(index=False):
        style = dict(STYLES[method])
        style["label"] += f", decay {decay:g}" if several else ""
        style["label"] += f", {variant}" if variant else ""
        if others := sum(arm[0] == method for arm in styles):
            line, marker = OTHERS[(others - 1) % len(OTHERS)]
            style |= {"linestyle": line, "marker": marker, "alpha": 0.6}
        styles[method, decay, variant] = style
    return styles


def mean_curve(
    axes: Axes, places: list[float], points: pd.DataFrame, style: dict[str, Any], factor: float = 100
) -> None:
    """Means over seeds as `results.over_seeds` returns them: hollow where there are few, with their intervals.

    A mean's interval is solid and has caps; the binomial one of a single seed is thin and grey.
    """
    colour, at = style["color"], pd.Series(places, index=points.index, dtype=float)
    axes.plot(at, factor * points["mean"], markersize=5, linewidth=1.5, **style)
    few = points["seeds"] < LEAST_SEEDS
    hollow = {"linestyle": "none", "color": colour, "marker": style["marker"], "markerfacecolor": colours.GROUND}
    axes.plot(at[few], factor * points.loc[few, "mean"], markersize=5, zorder=2.6, **hollow)
    for shown, looks in (
        (few, {"color": colours.APART, "linewidth": 0.7}),
        (~few, {"color": colour, "linewidth": 1.3}),
    ):
        shown = shown & points["low"].notna()
        axes.vlines(
            at[shown], factor * points.loc[shown, "low"], factor * points.loc[shown, "high"], zorder=1.9, **looks
        )
    caps = ~few & points["low"].notna()
    for end in ("low", "high"):
        axes.plot(at[caps], factor * points.loc[caps, end], "_", color=colour, markersize=6, markeredgewidth=1.3)


def published_curves(
    axes: Axes,
    rows: pd.DataFrame,
    y: str,
    apart: bool,
    joined: bool = True,
    factor: float = 100,
    labels: dict[str, str] | None = None,
) -> None:
    """The paper's numbers: dotted. `apart`: of another recipe than ours, so that they are no target: grey.

    `labels`: what is drawn of which methods, where it is not the methods' own value.
    """
    names = labels or {method: style["label"] for method, style in STYLES.items()}
    for method, group in rows[rows[y].notna() & rows["method"].isin(names)].groupby("method", sort=False):
        points = group.drop_duplicates("position").sort_values("position")
        style = {**PAPER, **STYLES[str(method)], "marker": PAPER_MARKERS[str(method)]}
        style["label"] = f"paper{' (another recipe)' if apart else ''}: {names[str(method)]}"
        if apart:
            style |= {"color": colours.APART, "zorder": 1.8}
        if not joined:
            style["linestyle"] = "none"
        axes.plot(points["position"], factor * points[y], **style)


def mark_parts(drawing: Drawing) -> None:
    """Gives each panel, and each entry of the legend, a name in the SVG that says where it lies, in points.

    So the report can show them apart, one below the other on a narrow screen.
    """
    drawing.draw_without_rendering()
    for number, axes in enumerate(drawing.axes):
        axes.set_gid(f"panel{number}_{_place(drawing, axes)}")
    for legend in drawing.legends:
        for number, (handle, text) in enumerate(zip(legend.legend_handles, legend.get_texts(), strict=True)):
            assert handle is not None
            place = _place(drawing, text, before=HANDLE)
            handle.set_gid(f"entry{number}_{place}_mark")
            text.set_gid(f"entry{number}_{place}_words")


def _place(drawing: Drawing, artist: Artist, before: float = 0) -> str:
    """Left, top, width and height in points. `before`: so much to its left belongs to it."""
    box = artist.get_tightbbox()
    assert box is not None
    left, low, right, high = (72 / drawing.dpi * edge for edge in box.extents)
    left, top = left - before - PAD, 72 * drawing.get_figheight() - high - PAD
    return f"{left:.0f}_{top:.0f}_{right + PAD - left:.0f}_{high - low + 2 * PAD:.0f}"


def save(folder: Path, drawing: Drawing) -> None:
    """Writes figure.svg, figure.png and figure.pdf, and closes the drawing."""
    for name, options in FORMATS.items():
        write_atomically(folder / f"figure.{name}", partial(drawing.savefig, format=name, **options))
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
