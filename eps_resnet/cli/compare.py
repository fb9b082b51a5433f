"""`eps-resnet compare`: the published numbers beside ours, a summary first."""

import sys
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer
from rich.table import Column
from rich.text import Text

from eps_resnet.cli.options import EXPERIMENTS, HERE, SEE, All, AsJson, RegistryFile, Root, Target, keys_of, load
from eps_resnet.cli.printing import coloured, numeric, plain_console, plain_table, print_json, print_text
from eps_resnet.cli.words import percent, plural
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.errors import UserError

if TYPE_CHECKING:
    from eps_resnet.evidence.compare import Comparison
    from eps_resnet.experiments.registry import Registry

commands = typer.Typer()

Verdicts = Literal["reproduced", "close", "off", "not comparable", "not run"]
# What published.csv calls them, as short as 80 columns need it.
METRICS = {
    "val_error": "error",
    "top1_error": "top-1 error",
    "top5_error": "top-5 error",
    "discarded_ratio": "discarded",
    "kept_fraction": "kept, stage",
    "param_size_mb": "MiB",
    "training_hours": "hours",
}
IN_PERCENT = ("val_error", "top1_error", "top5_error", "discarded_ratio", "kept_fraction")
METHODS = {"standard": "standard", "standard_side": "standard+side", "epsilon_side": "ε"}
SOURCES = {"run_imagenet.sh": "script"}  # which are no figures
# Of a number's line: heading, width and side.
COLUMNS: tuple[tuple[str, int, Literal["left", "right"]], ...] = (
    *(("figure", 6, "left"), ("depth", 5, "right"), ("method", 13, "left"), ("what", 15, "left")),
    *(("paper", 7, "right"), ("ours", 7, "right"), ("verdict", 14, "left"), ("n", 2, "right")),
)
REASONS = 100  # columns from which on there is room for a reason


@commands.command(rich_help_panel=SEE)
def compare(
    target: Target = None,
    verdict: Annotated[Verdicts | None, typer.Option("--verdict", help="Only numbers with this verdict.")] = None,
    every: All = False,
    as_json: AsJson = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a number of the record is lost.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Add what is reproduced now to the record.")] = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Set every published number beside ours, with a verdict (docs/verdicts.md)."""
    from eps_resnet.evidence import compare as module
    from eps_resnet.evidence import record as once

    experiments, layout = load(registry_file), Layout(root)
    keys_of(experiments, target)  # or it names nothing
    comparisons = module.compare(experiments, layout)
    own, reduced = (
        [c for c in some if _is_about(experiments, target, c) and verdict in (None, c.verdict)]
        for some in (comparisons, module.beside(experiments, layout))
    )
    if as_json:
        print_json([*own, *reduced])
    elif own or reduced:
        _print(experiments, own, reduced, every=every or verdict is not None)
    else:
        _say_that_there_is_none(target, verdict)
    if record:
        print(f"{once.record_path()}: {once.record(comparisons)} numbers added.", file=sys.stderr)
    if strict and (lost := once.lost(comparisons)):
        raise UserError("numbers recorded as reproduced no longer are:\n  " + "\n  ".join(lost))


def _say_that_there_is_none(target: str | None, verdict: str | None) -> None:
    where = f" of {target}" if target else ""
    if verdict:
        print_text(f"No published number{where} has the verdict {verdict!r}.")
    else:
        print_text(f"The paper has no number{where}. Our own: eps-resnet print FIGURE, eps-resnet claims DATASET")


def _is_about(experiments: "Registry", target: str | None, comparison: "Comparison") -> bool:
    """Whether a number belongs to a data set or a figure, or is compared with a run."""
    if target in (None, "all"):
        return True
    if figure := experiments.figures.get(str(target)):
        return (comparison.dataset, comparison.figure.rstrip("abcdefgh")) == (figure.dataset, figure.figure)
    return target == comparison.dataset or target in comparison.runs


def _print(experiments: "Registry", own: "Sequence[Comparison]", reduced: "Sequence[Comparison]", every: bool) -> None:
    titles = {name: data.title for name, data in experiments.datasets.items()}
    if own:
        _print_summary(own, titles)
    shown = [c for c in own if every or c.verdict != "not run"]
    for name, group in groupby(sorted(shown, key=lambda c: list(titles).index(c.dataset)), attrgetter("dataset")):
        _print_rows(titles[name], list(group))
    beside = [c for c in reduced if every or c.ours is not None]
    for name, group in groupby(beside, attrgetter("dataset")):
        _print_rows(f"{titles[name]}, a smaller version of the paper's experiment, which counts nowhere", list(group))
    print_text("")
    if hidden := len(own) + len(reduced) - len(shown) - len(beside):
        print_text(f"{plural(hidden, 'number')} without anything of ours: --all")
    if (shown or beside) and plain_console().width < REASONS:
        print_text("Reasons: a wider terminal, or --json")
    print_text("A verdict is about a number's level; trends and the order of methods: eps-resnet claims")


def _print_summary(own: "Sequence[Comparison]", titles: dict[str, str]) -> None:
    """Counts by verdict, and by data set."""
    exact = sum(c.verdict == "reproduced" and c.n_seeds == 0 for c in own)
    counts = {verdict: sum(c.verdict == verdict for c in own) for verdict in get_args(Verdicts)}
    others = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if verdict != "reproduced")
    print_text(
        f"{plural(len(own), 'number')}: {exact} exact sizes agree, {counts['reproduced'] - exact} trained numbers "
        f"reproduced; {others}"
    )
    names = [name for name in titles if any(c.dataset == name for c in own)]
    if len(names) < 2:
        return
    view = plain_table("data set", *numeric(*counts))
    for name in names:
        view.add_row(titles[name], *(str(sum((c.dataset, c.verdict) == (name, v) for c in own)) for v in counts))
    plain_console().print("", view)


def _print_rows(heading: str, comparisons: "Sequence[Comparison]") -> None:
    """One line per number: up to the verdict in 80 columns; in more with the reason, cut off where they end."""
    console = plain_console()
    room = console.width - sum(width + 1 for _, width, _ in COLUMNS)
    has_room = console.width >= REASONS
    columns = [Column(name, width=width, justify=side, no_wrap=True) for name, width, side in COLUMNS]
    reason = [Column("reason", width=room, no_wrap=True, overflow="ellipsis")] if has_room else []
    view = plain_table(*columns, *reason, gap=1)
    for c in comparisons:
        view.add_row(*_cells(c), *([c.reason] if has_room else []))
    console.print("", Text(heading, style="bold"), view, sep="\n")


def _cells(c: "Comparison") -> tuple[str | Text, ...]:
    figure = c.figure.split()[0]
    method = METHODS[c.method] + ("" if c.epsilon is None else f" {c.epsilon:g}")
    what = METRICS[c.metric] + (f" {c.group}" if c.group else "" if c.epoch is None else f" @{c.epoch}")
    depth = "" if c.depth is None else str(c.depth)
    values = (_value(c.metric, value) for value in (c.published, c.ours))
    return SOURCES.get(figure, figure), depth, method, what, *values, coloured(c.verdict), str(c.n_seeds)


def _value(metric: str, value: float | None) -> str:
    return percent(value) if metric in IN_PERCENT or value is None else f"{value:.4g}"
