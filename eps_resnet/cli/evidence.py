"""Results beside the paper: tables, drawings, comparisons, claims, the report."""

import sys
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.table import Column, Table

from eps_resnet.cli.options import EXPERIMENTS, HERE, AsJson, Figures, RegistryFile, Root, load
from eps_resnet.cli.printing import number, percent, plain_console, print_findings, print_json
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.errors import UserError

if TYPE_CHECKING:
    from eps_resnet.evidence.compare import Comparison

commands = typer.Typer()


# Columns of a figure's table that `print` shows.
PRINTED = (
    *("run", "stage", "epoch", "error, pruned", "gated", "best baseline", "discarded", "kept", "kept per stage"),
    *("MiB, all blocks", "MiB, by share of blocks", "MiB, true", "pattern", "published"),
)


@commands.command()
def table(figures: Figures = None, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write the tables of figures from the runs there are; the others show as "not run"."""
    from eps_resnet.evidence.figures import write_table

    experiments, layout = load(registry_file), Layout(root)
    for name in figures or experiments.figures:
        write_table(experiments, layout, name)


@commands.command()
def draw(figures: Figures = None, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write the tables of figures from the runs there are, and draw them."""
    from eps_resnet.evidence.figures import write_figure

    experiments, layout = load(registry_file), Layout(root)
    for name in figures or experiments.figures:
        write_figure(experiments, layout, name)


@commands.command("print")
def print_table(figures: list[str], root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Print the tables of figures."""
    from eps_resnet.evidence.figures import module_of
    from eps_resnet.evidence.figures.results import NOTHING

    experiments, layout = load(registry_file), Layout(root)
    for name in figures:
        module = module_of(experiments, name)
        rows = module.readable(module.table(experiments, layout, name))
        # What the run's key says already, what is empty, and details are left to table.md: 80 columns are few.
        shown = [c for c in rows.columns if c in PRINTED and not (rows[c] == NOTHING).all()]
        columns = [Column(c, no_wrap=c == "run", overflow="fold") for c in shown]
        view = Table(*columns, title=f"{name}: {module.TITLE}", title_justify="left", box=None, pad_edge=False)
        for row in rows[shown].itertuples(index=False):
            view.add_row(*row)
        plain_console().print(view, "")


@commands.command()
def compare(
    as_json: AsJson = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a number of the record is lost.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Add what is reproduced now to the record.")] = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Set every published number beside ours, with a verdict (docs/verdicts.md)."""
    from eps_resnet.evidence import compare as module

    experiments, layout = load(registry_file), Layout(root)
    comparisons = module.compare(experiments, layout)
    reduced = module.beside(experiments, layout)
    if as_json:
        print_json([*comparisons, *reduced])
    else:
        _print_comparisons(comparisons, reduced)
    if record:
        print(f"{module.record_path()}: {module.record(comparisons)} numbers added.", file=sys.stderr)
    if strict and (lost := module.lost(comparisons)):
        raise UserError("numbers recorded as reproduced no longer are:\n  " + "\n  ".join(lost))


# What published.csv calls them, as short as 80 columns need it.
METRICS = {
    "val_error": "error",
    "top1_error": "top-1 error",
    "top5_error": "top-5 error",
    "discarded_ratio": "discarded",
    "kept_fraction": "kept, stage",
    "param_size_mb": "MiB",
}
METHODS = {"standard": "standard", "standard_side": "standard+side", "epsilon_side": "ε"}


def _print_comparisons(comparisons: "list[Comparison]", reduced: "list[Comparison]") -> None:
    """One line per number, cut off where the terminal ends: up to the verdict in 80 columns, with the reason in 160."""
    from eps_resnet.evidence.verdict import Verdict

    console = plain_console()
    layout = "{:6} {:8} {:>3} {:13} {:16} {:>6} {:>6} {:14} {:>2} {}"
    lines = [layout.format("figure", "data set", "", "method", "what", "paper", "ours", "verdict", "n", "reason")]
    lines += [layout.format(*_comparison_cells(comparison)) for comparison in comparisons]
    for name, group in groupby(reduced, attrgetter("dataset")):
        lines += ["", f"{name}, a smaller version of the paper's experiment, which counts nowhere:"]
        lines += [layout.format(*_comparison_cells(replace(comparison, dataset=""))) for comparison in group]
    for line in lines:
        console.print(line, no_wrap=True, overflow="ellipsis")
    counts = {verdict: sum(c.verdict == verdict for c in comparisons) for verdict in get_args(Verdict)}
    reproduced = counts.pop("reproduced")
    exact = sum(c.verdict == "reproduced" and c.n_seeds == 0 for c in comparisons)
    console.print(
        f"{len(comparisons)} numbers: {exact} exact sizes agree, {reproduced - exact} trained numbers reproduced; "
        f"{', '.join(f'{n} {verdict}' for verdict, n in counts.items())}"
    )
    console.print("A verdict is about a number's level; trends and the order of methods: eps-resnet claims.")


def _comparison_cells(c: "Comparison") -> tuple[str | int | None, ...]:
    method = METHODS[c.method] + ("" if c.epsilon is None else f" {c.epsilon:g}")
    what = METRICS[c.metric] + (f" {c.group}" if c.group else "" if c.epoch is None else f" @{c.epoch}")
    paper, ours = ("–" if x is None else f"{x:.4f}" if x < 1 else f"{x:.4g}" for x in (c.published, c.ours))
    return c.figure.split()[0], c.dataset, c.depth, method, what, paper, ours, c.verdict, c.n_seeds, c.reason


@commands.command()
def claims(as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Check the paper's claims in words on every data set (docs/verdicts.md)."""
    from eps_resnet.evidence import claims as module

    found = module.claims(load(registry_file), Layout(root))
    if as_json:
        print_json(found)
        return
    print_findings((c.verdict, f"{c.dataset}, claim {c.number}: {c.statement}", c.evidence) for c in found)
    for remark in dict.fromkeys(f"{claim.dataset}: {claim.remark}" for claim in found if claim.remark):
        plain_console().print(remark)


@commands.command()
def consistency(as_json: AsJson = False, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Check the paper against itself: its figures, its text and exact sizes of its networks (docs/verdicts.md)."""
    from eps_resnet.evidence import consistency as module
    from eps_resnet.evidence import published

    found = module.checks(published.read(published.published_csv(), load(registry_file)))
    if as_json:
        print_json(found)
        return
    print_findings((check.verdict, f"{check.number}. {check.title}", check.computed) for check in found)


@commands.command()
def report(root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write paper_tables/index.html: one page with every verdict, figure, claim and run, readable offline."""
    from eps_resnet.evidence.report import write_report

    print(write_report(load(registry_file), Layout(root)), file=sys.stderr)


@commands.command()
def reproduction(
    dataset: str = "digits",
    root: Root = Path("demo"),
    committed: Annotated[Path, typer.Option(help="Folder of the results to compare with.")] = HERE,
    as_json: AsJson = False,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Compare results made here with the committed ones. A difference is a verdict, not a failure."""
    from eps_resnet.evidence import reproduction as module

    experiments, layout = load(registry_file), Layout(root)
    experiments.dataset(dataset)
    keys = [key for key, run in experiments.runs.items() if run.dataset == dataset]
    verdicts = module.reproduce(keys, layout, Layout(committed))
    if as_json:
        print_json(verdicts)
        return
    title = f"Made here ({root}) against the committed results"
    view = Table(Column("run", no_wrap=True), "discarded", "of", "error", Column("verdict", no_wrap=True), title=title)
    for v in verdicts:
        discarded = f"{number(v.discarded_here)}, {number(v.discarded_committed)}"
        errors = f"{percent(v.error_here)}, {percent(v.error_committed)}"
        view.add_row(v.key, discarded, number(v.blocks), errors, v.verdict)
    plain_console().print(view)
    plain_console().print(
        "Discarded blocks and error of the pruned network: here, committed. identical: the same bytes. reproduced: the "
        "error lies within the 95 % binomial interval of the committed one "
        f"and the discarded counts differ by at most {module.BLOCK_SHARE:.0%} of the blocks (at least 2). Equal "
        "bytes are promised on the same machine, versions and number of threads only."
    )
    if remark := experiments.datasets[dataset].remark:
        plain_console().print(remark)
