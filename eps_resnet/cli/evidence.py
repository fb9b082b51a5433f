"""Results beside the paper: tables, drawings, the paper against itself, the report, what was made here."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Column
from rich.text import Text

from eps_resnet.cli.compare import METHODS
from eps_resnet.cli.options import CHECK, EXPERIMENTS, HERE, SEE, STEP, All, AsJson, Figures, RegistryFile, Root, load
from eps_resnet.cli.printing import (
    coloured,
    numeric,
    plain_console,
    plain_table,
    print_fitting,
    print_items,
    print_json,
    print_text,
)
from eps_resnet.cli.words import number, percent, plural, sentences
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from eps_resnet.evidence.reproduction import Reproduction

commands = typer.Typer()

# Of a figure's rows of runs: what `print` shows first, and what it leaves to table.md: details, and what the key says.
PRINTED = ("run", "stage", "epoch", "error, pruned", "error", "gated", "best baseline", "discarded", "share kept")
HIDDEN = (
    *("depth", "ε", "decay", "variant", "state", "95 % interval", "final", "best", "latest", "flickered", "±"),
    "pruned = gated",
)
LAST = ("gated", "pruned = gated")  # of the means
INTERVAL = r"(\S+)% \((\S+)% to (\S+)%\)"


@commands.command(rich_help_panel=STEP)
def table(figures: Figures = None, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write the tables of figures from the runs there are; the others show as "not run"."""
    from eps_resnet.evidence.figures import write_table

    experiments, layout = load(registry_file), Layout(root)
    for name in figures or experiments.figures:
        write_table(experiments, layout, name)


@commands.command(rich_help_panel=STEP)
def draw(figures: Figures = None, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write the tables of figures from the runs there are, and draw them."""
    from eps_resnet.evidence.figures import write_figure

    experiments, layout = load(registry_file), Layout(root)
    for name in figures or experiments.figures:
        write_figure(experiments, layout, name)


@commands.command("print", rich_help_panel=SEE)
def print_table(
    figures: Figures = None, every: All = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS
) -> None:
    """Print the tables of figures: the means over seeds; with --all, or of single seeds, each run."""
    from eps_resnet.evidence.figures import cells, module_of

    experiments, layout = load(registry_file), Layout(root)
    for name in figures or experiments.figures:
        module = module_of(experiments, name)
        rows = module.table(experiments, layout, name)
        data = experiments.datasets[experiments.figures[name].dataset].title
        print_text(Text(f"{name} ({data}): {module.TITLE}", style="bold"))
        done = rows if every else rows[rows["state"] == "done"]
        means = cells.means(rows, module.MEANS) if module.MEANS else rows[:0]
        if len(means):
            _print_rows(_leading(means), "Means over seeds, with their 95 % interval")
        if every or (len(done) and not len(means)):
            _print_rows(_single(module.readable(done)), "Runs")
        _print_what_is_left(rows, is_all=every or not len(means))


def _leading(means: "pd.DataFrame") -> "pd.DataFrame":
    """What tells configurations apart first, then the numbers, without columns that are empty; as short as they can be.

    The gated network's error comes last: of gates that close on test images its mean says least.
    """
    last = [name for name in LAST if name in means]
    names = ["method", *(name for name in means.columns if name not in ("method", "ε", *last)), *last]
    named = means.assign(method=[_method(row["method"], row["ε"]) for row in means.to_dict("records")])
    short = named[[name for name in names if not _is_empty(named, name)]].astype(str)
    return short.replace(INTERVAL, r"\1% (\2 to \3)", regex=True)


def _method(method: str, epsilon: str) -> str:
    return METHODS[method] if epsilon == "–" else f"{METHODS[method]} {epsilon}"


def _single(rows: "pd.DataFrame") -> "pd.DataFrame":
    others = [name for name in map(str, rows) if name not in (*PRINTED, *HIDDEN)]
    names = [*(name for name in PRINTED if name in rows), *others]
    shown = rows[[name for name in names if not _is_empty(rows, name)]].astype(str)
    return shown.replace({r"^`|`$": ""}, regex=True)


def _is_empty(rows: "pd.DataFrame", name: str) -> bool:
    from eps_resnet.evidence.figures.cells import NOTHING

    is_told_by_the_heading = name in ("decay", "variant") and rows[name].nunique() == 1
    return is_told_by_the_heading or bool((rows[name] == NOTHING).all())


def _print_rows(rows: "pd.DataFrame", heading: str) -> None:
    print_text(heading)
    left_out = print_fitting(list(rows.columns), rows.to_numpy().tolist())
    if left_out:
        print_text(f"Not shown, as the terminal is too narrow: {', '.join(left_out)}")


def _print_what_is_left(rows: "pd.DataFrame", is_all: bool) -> None:
    missing = rows[rows["state"] != "done"]["run"].nunique()
    words = [f"{plural(missing, 'run')} of {rows['run'].nunique()} not done"] if missing else []
    if words or not is_all:
        print_text("; ".join([*words, *([] if is_all else ["single runs: --all"])]))
    print_text("")


@commands.command(rich_help_panel=CHECK)
def consistency(
    verdict: Annotated[Literal["consistent", "inconsistent"] | None, typer.Option("--verdict")] = None,
    as_json: AsJson = False,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Check the paper against itself: its figures, its text and exact sizes of its networks (docs/verdicts.md)."""
    from eps_resnet.evidence import consistency as module
    from eps_resnet.evidence import published

    load(registry_file)  # or it is damaged, which every command says
    every = module.checks(published.numbers())
    found = [check for check in every if verdict in (None, check.verdict)]
    if as_json:
        print_json(found)
        return
    wrong = sum(check.verdict == "inconsistent" for check in every)
    print_text(f"{len(every)} checks: {wrong} inconsistent, {len(every) - wrong} consistent")
    for check in sorted(found, key=lambda check: check.verdict == "consistent"):  # contradictions first
        print_text(Text.assemble("\n", f"{check.number}. {check.title}: ", coloured(check.verdict)))
        print_items(sentences(check.computed), indent=3)


@commands.command(rich_help_panel=SEE)
def report(root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write paper_tables/index.html: one page with every verdict, figure, claim and run, readable offline."""
    from eps_resnet.evidence.report import write_report

    print(write_report(load(registry_file), Layout(root)), file=sys.stderr)


@commands.command(rich_help_panel=CHECK)
def reproduction(
    dataset: str = "digits",
    root: Root = Path("demo"),
    committed: Annotated[Path, typer.Option(help="Folder of the results to compare with.")] = HERE,
    as_json: AsJson = False,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Compare results made here with the committed ones. A difference is a verdict, not a failure."""
    from eps_resnet.evidence import margins
    from eps_resnet.evidence import reproduction as module

    experiments, layout = load(registry_file), Layout(root)
    experiments.dataset(dataset)
    keys = [key for key, run in experiments.runs.items() if run.dataset == dataset]
    made = [key for key in keys if layout.run(key).metrics.exists()]
    if not made:
        raise UserError(
            f"No run of {dataset} is finished below {root}, so nothing can be compared. Run `make demo` first "
            "(minutes), or name a folder with results: --root FOLDER."
        )
    verdicts = module.reproduce(keys, layout, Layout(committed))
    if as_json:
        print_json(verdicts)
        return
    _print_reproduced([v for v in verdicts if v.key in made], root)
    if others := len(keys) - len(made):
        print_text(f"{plural(others, 'run')} of the registry not made here.")
    print_text(
        "Discarded blocks and error of the pruned network: here, committed. identical: all that was measured is equal. "
        "reproduced: the error lies within the 95 % binomial interval of the committed one "
        f"and the discarded counts differ by at most {margins.OTHER_MACHINE:.0%} of the blocks (at least 2). Equal "
        "bytes are promised on the same machine, versions and number of threads only."
    )
    if remark := experiments.datasets[dataset].remark:
        print_text(remark)


def _print_reproduced(shown: "Sequence[Reproduction]", root: Path) -> None:
    """Each run made here beside the committed one, below a count of their verdicts."""
    counts = {verdict: sum(v.verdict == verdict for v in shown) for verdict in dict.fromkeys(v.verdict for v in shown)}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    print_text(f"{plural(len(shown), 'run')} made here ({root}) against the committed results: {summary}")
    numbers = numeric("discarded", "of", "error")
    view = plain_table(Column("run", no_wrap=True), *numbers, Column("verdict", no_wrap=True))
    for v in shown:
        discarded = f"{number(v.discarded_here)}, {number(v.discarded_committed)}"
        errors = f"{percent(v.error_here)}, {percent(v.error_committed)}"
        view.add_row(v.key, discarded, number(v.blocks), errors, coloured(v.verdict))
    plain_console().print("", view, "")
