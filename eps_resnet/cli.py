"""The command line, `eps-resnet`: parses, calls, prints. With --json: one JSON document on standard output, no more."""

import errno
import gc
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Column, Table

from eps_resnet.experiments.layout import Layout
from eps_resnet.files.errors import UserError
from eps_resnet.files.interruption import Interrupted

if TYPE_CHECKING:
    from eps_resnet.evidence.compare import Comparison
    from eps_resnet.experiments.registry import Registry
    from eps_resnet.operations.plan import Item, Total

# torch takes seconds to import and pydantic, for the registry, as long as all the rest: who asks for help waits for
# neither, since each command imports itself what it needs.
app = typer.Typer(
    help="Reproduces epsilon-ResNet (CVPR 2018): fetch, train, prune, evaluate, draw, compare. "
    "Snakemake runs the same steps for all experiments.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Root = Annotated[Path, typer.Option("--root", help="Folder of the results: the project itself, or demo.")]
RegistryFile = Annotated[Path, typer.Option("--registry", help="Lists data sets, runs and figures.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads; results are only equal at equal numbers.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes that decode images (ImageNet); else all cores.")]
Sharing = Annotated[int, typer.Option(min=1, help="Trainings and evaluations that may use one GPU at a time.")]
Figures = Annotated[list[str] | None, typer.Argument(help="All of them if none is named.")]
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
# Columns of a figure's table that `print` shows.
PRINTED = (
    *("run", "stage", "epoch", "error, pruned", "gated", "best baseline", "discarded", "kept", "kept per stage"),
    *("MiB, all blocks", "MiB, by share of blocks", "MiB, true", "pattern", "published"),
)
WIDE = 160  # columns, where no terminal says how many there are
HERE, EXPERIMENTS = Path(), Path("config/experiments.yaml")


def main() -> None:
    """Runs the command line. A user's mistake ends with one clear message and exit code 1, without a traceback.

    A training that a signal stopped ends with 128 + its number, as a shell says of a process that a signal ended.
    """
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except Interrupted as stop:
        _fail(str(stop) + ".", 128 + stop.signal)
    except RuntimeError as error:
        _fail_of_card(error)
    except OSError as error:
        _fail(
            f"{error.filename or 'A file'} cannot be {'written' if error.errno in UNWRITABLE else 'read or written'}: "
            f"{error.strerror}. Free some space or choose a folder you may write to with --root; what was finished "
            "before is kept, and an interrupted training resumes."
        )


def _fail_of_card(error: RuntimeError) -> None:
    """Says that a card failed or has no memory left; raises any other error."""
    import torch

    if not isinstance(error, torch.OutOfMemoryError | torch.AcceleratorError):
        raise error
    _fail(
        f"{str(error).splitlines()[0]:.300} The same command resumes from the last checkpoint. Where memory ran out: "
        "let fewer trainings share a card (--config sharing), or give one more cards (--config gpus)."
    )


def _fail(message: str, code: int = 1) -> None:
    process = f", process {os.environ['RANK']}" if "RANK" in os.environ else ""  # of those that torchrun started
    print(f"eps-resnet{process}: {message}", file=sys.stderr)
    raise SystemExit(code)


def _load(path: Path) -> "Registry":
    """The registry; what comes with it lasts as long as the process, so that no search for garbage need look at it."""
    gc.disable()
    try:
        from eps_resnet.experiments import registry

        experiments = registry.load(path)
    finally:
        gc.freeze()
        gc.enable()
    if experiments.simulated:
        print(f"eps-resnet: {path} is a simulation; every number of ours in it is invented.", file=sys.stderr)
    return experiments


def _load_results(path: Path, root: Path) -> "tuple[Registry, Layout]":
    """The registry and the layout of results that are looked at, none of which is invented unless the registry is."""
    from eps_resnet.operations import simulation

    experiments, layout = _load(path), Layout(root)
    if experiments.simulated:
        simulation.require_own_folder(path, layout)
    else:
        simulation.require_none(layout)
    return experiments, layout


def _rehearsal(experiments: "Registry", path: Path, root: Path) -> "ModuleType | None":
    """What stands in for a step of a simulated run; None where steps are real."""
    if not experiments.simulated:
        return None
    from eps_resnet.operations import invented, simulation

    simulation.require_own_folder(path, Layout(root))
    return invented


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, allow_nan=False))


@app.command()
def fetch(
    dataset: str,
    source: Annotated[str | None, typer.Option("--from", help="URL, archive or unpacked folder to read.")] = None,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Get a data set, check its SHA-256, store it in a form that loads at once."""
    experiments = _load(registry_file)
    if rehearsal := _rehearsal(experiments, registry_file, root):
        rehearsal.fetch(experiments, Layout(root), dataset)
        return
    from eps_resnet.data.fetch import fetch

    manifest = fetch(experiments, Layout(root), dataset, source)
    differs = f"; it differs from the official release: {manifest.differs}" if manifest.differs else ""
    print(
        f"{dataset}: {manifest.train_images} training and {manifest.test_images} test images, copy "
        f"{manifest.copy!r}{differs}",
        file=sys.stderr,
    )


@app.command()
def train(
    run: str,
    threads: Threads = 1,
    workers: Workers = None,
    sharing: Sharing = 1,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Train one run; resumes by itself."""
    experiment = _load(registry_file).experiment(run, Layout(root))
    from eps_resnet.files import lock
    from eps_resnet.method.arithmetic import prepare
    from eps_resnet.provenance.fingerprints import training_fingerprint
    from eps_resnet.provenance.state import is_trained
    from eps_resnet.runs import checkpoint, device, memory
    from eps_resnet.runs.networks import require_unaltered
    from eps_resnet.runs.train import train

    fingerprint = training_fingerprint(experiment)
    with lock.held_by_first(experiment.layout.training_lock(fingerprint), f"{run} is being trained already"):
        if is_trained(experiment) and experiment.files.model.exists():
            require_unaltered(experiment)
            checkpoint.remove(
                experiment.layout.work(fingerprint)
            )  # where a kill left them behind the finished training
            print(f"{run} is already trained.", file=sys.stderr)
            return
        memory.keep_freed()
        prepare(threads, experiment.recipe.precision)
        train(experiment, device.choose(experiment, sharing), threads, workers)


@app.command()
def prune(run: str, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Cut a trained run's discarded blocks out."""
    experiment = _load(registry_file).experiment(run, Layout(root))
    from eps_resnet.runs.networks import prune_run

    prune_run(experiment)


@app.command()
def evaluate(
    run: str,
    threads: Threads = 1,
    workers: Workers = None,
    sharing: Sharing = 1,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Measure a trained and pruned run on its test images."""
    experiment = _load(registry_file).experiment(run, Layout(root))
    import torch

    from eps_resnet.method.arithmetic import prepare
    from eps_resnet.runs import device, memory
    from eps_resnet.runs.evaluate import evaluate

    memory.keep_freed()
    prepare(threads)
    where = device.choose(experiment, sharing) if device.has_gpu() else torch.device("cpu")
    evaluate(experiment, where, workers)


@app.command()
def export(run: str, file: Path, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write a run's pruned network as ONNX (FILE.onnx) or for torch.export (FILE.pt2), checked on its test images.

    The program takes raw images, uint8 (N, C, H, W), any number of them, and returns logits.
    """
    from eps_resnet.runs.export import export

    experiments, layout = _load_results(registry_file, root)
    experiments.run(run)
    if experiments.simulated:
        raise UserError("A simulation trains no network, so there is none to export.")
    print(f"{file}: {export(experiments, layout, run, file)}.", file=sys.stderr)


@app.command()
def table(figures: Figures = None, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write the tables of figures from the runs there are; the others show as "not run"."""
    from eps_resnet.evidence.figures import write_table

    experiments, layout = _load_results(registry_file, root)
    for name in figures or experiments.figures:
        write_table(experiments, layout, name)


@app.command()
def draw(figures: Figures = None, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Draw figures from the runs there are."""
    from eps_resnet.evidence.figures import write_drawing

    experiments, layout = _load_results(registry_file, root)
    for name in figures or experiments.figures:
        write_drawing(experiments, layout, name)


@app.command("print")
def print_table(figures: list[str], root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Print the tables of figures."""
    from eps_resnet.evidence.figures import module_of
    from eps_resnet.evidence.figures.results import NOTHING

    experiments, layout = _load_results(registry_file, root)
    for name in figures:
        module = module_of(experiments, name)
        rows = module.readable(module.table(experiments, layout, name))
        # What the run's key says already, what is empty, and details are left to table.md: 80 columns are few.
        shown = [c for c in rows.columns if c in PRINTED and not (rows[c] == NOTHING).all()]
        columns = [Column(c, no_wrap=c == "run", overflow="fold") for c in shown]
        view = Table(*columns, title=f"{name}: {module.TITLE}", title_justify="left", box=None, pad_edge=False)
        for row in rows[shown].itertuples(index=False):
            view.add_row(*row)
        _plain_console().print(view, "")


@app.command()
def runs(as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """List every run and its state: done, partial, stale or missing."""
    from eps_resnet.provenance import state

    experiments, layout = _load(registry_file), Layout(root)
    rows = [
        {
            "key": key,
            **run.model_dump(include={"dataset", "depth", "method", "epsilon", "seed"}),
            "state": state.state(experiments, layout, key),
        }
        for key, run in experiments.runs.items()
    ]
    if as_json:
        _print_json(rows)
        return
    view = Table("run", "state")
    for row in rows:
        view.add_row(str(row["key"]), str(row["state"]))
    _plain_console().print(view)


@app.command()
def why(run: str, as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Say what would be redone for a run, and because of what."""
    from eps_resnet.operations import why as module

    steps = module.why(_load(registry_file), Layout(root), run)
    if as_json:
        _print_json([asdict(step) for step in steps])
        return
    width = max(len(step.name) for step in steps)
    for step in steps:
        for line, reason in enumerate(step.reasons or ("current",)):
            print(f"{'' if line else step.name:{width}}  {reason}")


@app.command()
def verify(as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Compare all data, results and tables with their records; fail if one is stale, altered or lost."""
    from eps_resnet.operations.verify import verify

    found = verify(_load(registry_file), Layout(root))
    if as_json:
        _print_json(asdict(found))
    else:
        for problem in found.problems:
            print(f"{problem.path} {problem.problem}.\n  {problem.remedy}")
        print(
            f"{len(found.verified)} files are what their records say, {len(found.problems)} are not; "
            f"{len(found.absent)} are not here (networks and images: `dvc pull`, or made where needed)."
        )
    if found.problems:
        raise SystemExit(1)


@app.command("import")
def import_results(
    folder: Annotated[Path, typer.Argument(help="Another project: a clone, or a copy of a cluster's folder.")],
    as_json: AsJson = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Take over finished runs made from the same recipe, code and images; fail if one is refused."""
    from eps_resnet.exchange.import_results import import_results
    from eps_resnet.experiments.yaml_file import shown

    outcomes = import_results(registry_file, Layout(root), folder)
    if as_json:
        _print_json([asdict(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            reasons = f": {'; '.join(outcome.reasons)}" if outcome.reasons else ""
            print(f"{shown(outcome.key)}  {outcome.outcome}{reasons}")
    counts = {name: sum(o.outcome == name for o in outcomes) for name in ("imported", "already here", "refused")}
    print(", ".join(f"{count} {name}" for name, count in counts.items()) + ".", file=sys.stderr)
    if counts["imported"]:
        _generate_if_ours(registry_file)
        print("`make tables` writes tables, drawings and the report with them.", file=sys.stderr)
    if counts["refused"]:
        raise SystemExit(1)


@app.command()
def seeds(
    count: Annotated[int, typer.Argument(min=1, max=100, help="How many seeds each configuration shall have, from 0.")],
    targets: Annotated[list[str] | None, typer.Argument(help="all, demo, figures or runs; by default all.")] = None,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Add further seeds to the registry."""
    from eps_resnet.exchange.further_runs import add_runs, further_seeds
    from eps_resnet.operations import plan

    experiments = _load(registry_file)
    added = further_seeds(experiments, plan.runs_of(experiments, targets or [plan.ALL]), count)
    if added:
        add_runs(registry_file, added)
        _generate_if_ours(registry_file)
    print(f"{registry_file}: {len(added)} runs added.", file=sys.stderr)


def _generate_if_ours(registry_file: Path) -> None:
    """Keeps the generated files in step with the project's own registry."""
    if registry_file.resolve() == EXPERIMENTS.resolve():
        generate()


@app.command()
def attest() -> None:
    """Compare the present code with the former one by short trainings; if they agree, former results stay current."""
    from eps_resnet.operations.attest import attest

    for entry in attest() or [None]:
        if entry is None:
            print("The code that makes results is the attested one.", file=sys.stderr)
        else:
            print(
                f"{entry.layer}: {len(entry.probes or {})} probes are the same; added to the lineage.", file=sys.stderr
            )


@app.command()
def unlock() -> None:
    """Release the lock that a killed Snakemake left in this folder; refused while its process lives."""
    from eps_resnet.operations import working_folder

    print(working_folder.unlock(), file=sys.stderr)


@app.command()
def describe(run: str, as_json: AsJson = False, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Say what a run's network is before training: parameters, blocks, multiply-adds."""
    from eps_resnet.runs.cost import describe

    _print_facts(describe(_load(registry_file).experiment(run, Layout())), as_json)


@app.command()
def show(run: str, as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Show a run's result: what was discarded, errors, size."""
    from eps_resnet.files.atomic import read_json
    from eps_resnet.provenance import state

    experiments, layout = _load_results(registry_file, root)
    experiments.run(run)
    metrics = read_json(layout.metrics(run)) or {}
    error, agreement = metrics.get("error", {}), metrics.get("agreement")
    facts = {
        "key": run,
        "state": state.state(experiments, layout, run),
        "discarded": metrics.get("discarded"),
        "blocks": metrics.get("blocks"),
        "kept": metrics.get("kept"),
        "error_gated": error.get("gated"),
        "error_pruned": error.get("pruned"),
        "agreement": agreement["equal"] / agreement["images"] if agreement else None,
        "parameters": metrics["after"]["parameters"] if metrics else None,
        "size_mib": metrics["after"]["size_mib"] if metrics else None,
        "epoch": metrics.get("epoch"),
        "settled": metrics.get("settled"),
    }
    _print_facts(facts, as_json)


def _print_facts(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(facts)
        return
    view = Table(show_header=False)
    for name, value in facts.items():
        view.add_row(name, "–" if value is None else str(value))
    _plain_console().print(view)


@app.command()
def compare(
    as_json: AsJson = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if a number of the record is lost.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Add what is reproduced now to the record.")] = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Set every published number beside ours, with a verdict (docs/verdicts.md)."""
    from eps_resnet.evidence import compare as module

    experiments, layout = _load_results(registry_file, root)
    comparisons = module.compare(experiments, layout)
    reduced = module.beside(experiments, layout)
    if as_json:
        _print_json([asdict(comparison) for comparison in [*comparisons, *reduced]])
    else:
        _print_comparisons(comparisons, reduced)
    if record and experiments.simulated:
        raise UserError("Nothing of a simulation is recorded as reproduced.")
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

    console = _plain_console()
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


@app.command()
def claims(as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Check the paper's claims in words on every data set (docs/verdicts.md)."""
    from eps_resnet.evidence import claims as module

    found = module.claims(*_load_results(registry_file, root))
    if as_json:
        _print_json([asdict(claim) for claim in found])
        return
    _print_findings((c.verdict, f"{c.dataset}, claim {c.number}: {c.statement}", c.evidence) for c in found)
    for remark in dict.fromkeys(f"{claim.dataset}: {claim.remark}" for claim in found if claim.remark):
        _plain_console().print(remark)


@app.command()
def consistency(as_json: AsJson = False, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Check the paper against itself: its figures, its text and exact sizes of its networks (docs/verdicts.md)."""
    from eps_resnet.evidence import consistency as module
    from eps_resnet.evidence import published

    found = module.checks(published.read(published.published_csv(), _load(registry_file)))
    if as_json:
        _print_json([asdict(check) for check in found])
        return
    _print_findings((check.verdict, f"{check.number}. {check.title}", check.computed) for check in found)


def _print_findings(findings: Iterable[tuple[str, str, str]]) -> None:
    """Verdicts with what they are about and why."""
    view = Table(box=None, pad_edge=False, show_header=False)
    view.add_column(no_wrap=True)
    for verdict, statement, why in findings:
        view.add_row(verdict, Group(statement, Padding(why, (0, 0, 0, 2))))
    _plain_console().print(view)


def _plain_console() -> Console:
    """A console that takes text as it is, wide where no terminal says how wide it is."""
    return Console(width=None if sys.stdout.isatty() else WIDE, markup=False, emoji=False, highlight=False)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"


@app.command()
def report(root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write paper_tables/index.html: one page with every verdict, figure, claim and run, readable offline."""
    from eps_resnet.evidence.report import write_report

    print(write_report(*_load_results(registry_file, root)), file=sys.stderr)


@app.command()
def reproduction(
    dataset: str = "digits",
    root: Root = Path("demo"),
    committed: Annotated[Path, typer.Option(help="Folder of the results to compare with.")] = HERE,
    as_json: AsJson = False,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Compare results made here with the committed ones. A difference is a verdict, not a failure."""
    from eps_resnet.evidence import reproduction as module
    from eps_resnet.operations import simulation

    experiments, layout = _load_results(registry_file, root)
    experiments.dataset(dataset)
    keys = [key for key, run in experiments.runs.items() if run.dataset == dataset]
    simulation.require_none(Layout(committed))
    verdicts = module.reproduce(keys, layout, Layout(committed))
    if as_json:
        _print_json([asdict(verdict) for verdict in verdicts])
        return
    title = f"Made here ({root}) against the committed results"
    view = Table(Column("run", no_wrap=True), "discarded", "of", "error", Column("verdict", no_wrap=True), title=title)
    for v in verdicts:
        discarded = f"{_number(v.discarded_here)}, {_number(v.discarded_committed)}"
        errors = f"{_percent(v.error_here)}, {_percent(v.error_committed)}"
        view.add_row(v.key, discarded, _number(v.blocks), errors, v.verdict)
    _plain_console().print(view)
    _plain_console().print(
        "Discarded blocks and error of the pruned network: here, committed. identical: the same bytes. reproduced: the "
        "error lies within the 95 % binomial interval of the committed one "
        f"and the discarded counts differ by at most {module.BLOCK_SHARE:.0%} of the blocks (at least 2). Equal "
        "bytes are promised on the same machine, versions and number of threads only."
    )
    if remark := experiments.datasets[dataset].remark:
        _plain_console().print(remark)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


@app.command()
def plan(
    targets: Annotated[list[str] | None, typer.Argument(help="all, demo, figures or runs; by default all.")] = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Time the networks on this machine first.")] = False,
    as_json: AsJson = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Say what targets still need: runs and their states, hours, disk and memory, and how the speed is known."""
    from eps_resnet.operations import plan as module
    from eps_resnet.operations import speed

    experiments, layout = _load(registry_file), Layout(root)
    keys = module.runs_of(experiments, targets or [module.ALL])
    if calibrate:
        unfinished = [item.key for item in module.plan(experiments, layout, keys, {}) if item.epochs_left]
        from eps_resnet.operations.calibration import calibrate as time_networks

        time_networks(experiments, layout, [experiments.run(key) for key in unfinished])
    timings, ignored = speed.read_timings(layout)
    items = module.plan(experiments, layout, keys, timings)
    totals = module.totals(experiments, layout, items)
    if as_json:
        rows = {"runs": [asdict(item) for item in items], "totals": {n: asdict(part) for n, part in totals.items()}}
        _print_json({**rows, "machine": speed.machine(), "ignored": ignored})
        return
    titles = {name: data.title for name, data in experiments.datasets.items()}
    _print_plan(items, titles, totals, speed.EXPLANATION)
    if ignored:
        _plain_console().print(ignored)


def _print_plan(items: "list[Item]", titles: dict[str, str], totals: "dict[str, Total]", explanation: str) -> None:
    console = _plain_console()
    view = Table(Column("run", no_wrap=True), "state", box=box.SIMPLE_HEAD, show_edge=False)  # 80 columns
    for heading in ("epochs", "hours"):
        view.add_column(heading, justify="right")
    view.add_column("speed")
    for item in items:
        needs = (str(item.epochs_left), _hours(item.hours, item.device), item.speed) if item.epochs_left else ()
        view.add_row(item.key, item.state, *(needs or ("–" if item.state == "done" else "evaluate", "–", "")))
    console.print(view)
    console.print()
    view = Table("data set", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("runs", "done", "multiply-adds", "hours", "disk", "memory"):
        view.add_column(heading, justify="right")
    for name, part in totals.items() if len(totals) > 2 else list(totals.items())[:1]:
        hours = [_hours(h, kind) for h, kind in ((part.gpu_hours, "gpu"), (part.core_hours, "cpu")) if h]
        counts = (str(part.runs), str(part.done), f"{part.multiply_adds:.2g}", " + ".join(hours) or "–")
        sizes = (_bytes(part.results_bytes + part.data_bytes), _bytes(part.memory_bytes))
        view.add_row(titles.get(name, name), *counts, *sizes)
    console.print(view)
    whole = totals["total"]
    console.print(
        "\nEpochs, hours and disk are those still to spend; hours with all gates open. Disk: "
        f"{_bytes(whole.results_bytes)} of networks, {_bytes(whole.data_bytes)} of data sets to fetch (ImageNet's own "
        f"files not counted); beside that, up to {_bytes(whole.checkpoint_bytes)} of checkpoints for each training "
        f"under way. Memory: the most that one training takes on its device. {explanation} How all this is reckoned: "
        "docs/cost.md."
    )


def _hours(hours: float, device: str) -> str:
    digits = 0 if hours >= 100 else 1 if hours >= 1 else 3
    return f"{hours:,.{digits}f} {'GPU' if device == 'gpu' else 'core'}"


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


@app.command()
def simulate(
    folder: Path,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each configuration.")] = 5,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Write the registry of a rehearsal of the paper's runs with invented results (docs/simulation.md)."""
    from eps_resnet.operations.simulation import write_registry

    path = write_registry(_load(registry_file), folder, seeds)
    print(f"Rehearse: snakemake --cores all --config root={folder} registry={path} -- all", file=sys.stderr)


@app.command()
def generate() -> None:
    """Write what is generated from the registry: dvc.yaml and Snakemake's JSON schema."""
    from eps_resnet.operations.generated import FILES

    experiments = _load(EXPERIMENTS)
    for path, content in FILES.items():
        path.write_text(content(experiments))
        print(path, file=sys.stderr)
