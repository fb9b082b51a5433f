"""The command line, `eps-resnet`: parses, calls, prints. With --json: one JSON document on standard output, no more."""

import errno
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from eps_resnet import provenance, registry
from eps_resnet.errors import UserError
from eps_resnet.files import read_json
from eps_resnet.layout import Layout

# torch takes seconds to import, so the commands that need it import it themselves.
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
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
WIDE = 160  # columns, where no terminal says how many there are
HERE, EXPERIMENTS = Path(), Path("config/experiments.yaml")


def main() -> None:
    """Runs the command line. A user's mistake ends with one clear message and exit code 1, without a traceback."""
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        _fail(
            f"{error.filename or 'A file'} cannot be {'written' if error.errno in UNWRITABLE else 'read or written'}: "
            f"{error.strerror}. Free some space or choose a folder you may write to with --root; what was finished "
            "before is kept, and an interrupted training resumes."
        )


def _fail(message: str) -> None:
    print(f"eps-resnet: {message}", file=sys.stderr)
    raise SystemExit(1)


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
    from eps_resnet.data.fetch import fetch

    manifest = fetch(registry.load(registry_file), Layout(root), dataset, source)
    differs = f"; it differs from the official release: {manifest.differs}" if manifest.differs else ""
    print(
        f"{dataset}: {manifest.train_images} training and {manifest.test_images} test images, copy "
        f"{manifest.copy!r}{differs}",
        file=sys.stderr,
    )


@app.command()
def train(run: str, threads: Threads = 1, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Train one run; resumes by itself."""
    from eps_resnet import device
    from eps_resnet.train import train

    experiments, layout = registry.load(registry_file), Layout(root)
    experiments.run(run)
    if provenance.is_trained(experiments, layout, run) and layout.model(run).exists():
        print(f"{run} is already trained.", file=sys.stderr)
        return
    device.prepare(threads)
    train(experiments, layout, run, device.choose(experiments, run), threads)


@app.command()
def prune(run: str, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Cut a trained run's discarded blocks out."""
    from eps_resnet.prune import prune_run

    experiments = registry.load(registry_file)
    experiments.run(run)
    prune_run(experiments, Layout(root), run)


@app.command()
def evaluate(run: str, threads: Threads = 1, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Measure a trained and pruned run on its test images."""
    from eps_resnet import device
    from eps_resnet.evaluate import evaluate

    experiments = registry.load(registry_file)
    experiments.run(run)
    device.prepare(threads)
    evaluate(experiments, Layout(root), run)


@app.command()
def table(figure: str, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write a figure's table from the runs there are; the others show as "not run"."""
    from eps_resnet import figures

    figures.write_table(registry.load(registry_file), Layout(root), figure)


@app.command()
def draw(figure: str, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Draw a figure from the runs there are."""
    from eps_resnet import figures

    figures.write_drawing(registry.load(registry_file), Layout(root), figure)


@app.command("print")
def print_table(figures: list[str], root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Print the tables of figures."""
    from eps_resnet.figures import module_of
    from eps_resnet.figures.results import NOTHING

    experiments, layout = registry.load(registry_file), Layout(root)
    for name in figures:
        module = module_of(experiments, name)
        rows = module.readable(module.table(experiments, layout, name))
        # What the run's key says already, what is empty, and details are left to table.md.
        left_out = ("depth", "ε", "decay", "final", "best", "95 % interval")
        columns = [c for c in rows.columns if c not in left_out and not (rows[c] == NOTHING).all()]
        view = Table(Column("run", no_wrap=True), *columns[1:], title=f"{name}: {module.TITLE}")
        for row in rows[columns].itertuples(index=False):
            view.add_row(*row)
        (Console() if sys.stdout.isatty() else Console(width=WIDE)).print(view)


@app.command()
def runs(as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """List every run and its state: done, partial, stale or missing."""
    experiments, layout = registry.load(registry_file), Layout(root)
    rows = [
        {
            "key": key,
            **run.model_dump(include={"dataset", "depth", "method", "epsilon", "seed"}),
            "state": provenance.state(experiments, layout, key),
        }
        for key, run in experiments.runs.items()
    ]
    if as_json:
        _print_json(rows)
        return
    view = Table("run", "state")
    for row in rows:
        view.add_row(str(row["key"]), str(row["state"]))
    Console().print(view)


@app.command()
def describe(run: str, as_json: AsJson = False, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Say what a run's network is before training: parameters, blocks, multiply-adds."""
    from eps_resnet.network import describe

    _print_facts(describe(registry.load(registry_file), run), as_json)


@app.command()
def show(run: str, as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Show a run's result: what was discarded, errors, size."""
    experiments, layout = registry.load(registry_file), Layout(root)
    experiments.run(run)
    metrics = read_json(layout.metrics(run)) or {}
    error, agreement = metrics.get("error", {}), metrics.get("agreement")
    facts = {
        "key": run,
        "state": provenance.state(experiments, layout, run),
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
    Console().print(view)


@app.command()
def compare(as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Set every published number beside ours."""
    from eps_resnet.compare import compare, frame

    comparisons = compare(registry.load(registry_file), Layout(root))
    if as_json:
        _print_json([asdict(comparison) for comparison in comparisons])
        return
    console = Console() if sys.stdout.isatty() else Console(width=WIDE)
    view = Table("figure", "data set", "depth", "ε", "method", "metric", "epoch", "group")
    for heading in ("published", "ours", "difference"):
        view.add_column(heading, justify="right")
    view.add_column("verdict")
    for row in frame(comparisons).astype(object).where(lambda t: t.notna(), None).to_dict("records"):
        texts = [row[name] for name in ("figure", "dataset", "depth", "epsilon", "method", "metric", "epoch", "group")]
        numbers = [_number(row["published"]), _number(row["ours"]), _number(row["difference"], sign=True)]
        view.add_row(*("" if text is None else f"{text}" for text in texts), *numbers, row["verdict"])
    console.print(view)


def _number(value: float | None, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.5g}"


@app.command()
def reproduction(
    dataset: str = "digits",
    root: Root = Path("demo"),
    committed: Annotated[Path, typer.Option(help="Folder of the results to compare with.")] = HERE,
    as_json: AsJson = False,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Compare results made here with the committed ones. A difference is a verdict, not a failure."""
    from eps_resnet import reproduction as module

    experiments = registry.load(registry_file)
    experiments.dataset(dataset)
    keys = [key for key, run in experiments.runs.items() if run.dataset == dataset]
    verdicts = module.reproduce(keys, Layout(root), Layout(committed))
    if as_json:
        _print_json([asdict(verdict) for verdict in verdicts])
        return
    title = f"Made here ({root}) against the committed results"
    view = Table(Column("run", no_wrap=True), "discarded", "of", "error", Column("verdict", no_wrap=True), title=title)
    for v in verdicts:
        discarded = f"{_number(v.discarded_here)}, {_number(v.discarded_committed)}"
        errors = f"{_percent(v.error_here)}, {_percent(v.error_committed)}"
        view.add_row(v.key, discarded, _number(v.blocks), errors, v.verdict)
    Console().print(view)
    Console().print(
        "Discarded blocks and error of the pruned network: here, committed. identical: the same bytes. reproduced: the "
        "error lies within the 95 % binomial interval of the committed one "
        f"and the discarded counts differ by at most {module.BLOCK_SHARE:.0%} of the blocks (at least 2). Equal "
        "bytes are promised on the same machine, versions and number of threads only."
    )
    if remark := experiments.datasets[dataset].remark:
        Console().print(remark)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


@app.command()
def cost(registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Say what the trainings of each data set cost. The GPU's speed is an assumption, the core's was measured once."""
    from eps_resnet import cost as module

    experiments = registry.load(registry_file)
    view = Table("data set", "runs", "multiply-adds", "GPU hours (assumed speed)", "days on one CPU core")
    for name, data in experiments.datasets.items():
        keys = [key for key, run in experiments.runs.items() if run.dataset == name]
        total = sum(module.training_multiply_adds(experiments, key) for key in keys)
        hours, days = module.gpu_hours(total), module.cpu_core_days(total)
        view.add_row(data.title, str(len(keys)), f"{total:.2g}", f"{hours:,.0f}", f"{days:,.2f}")
    Console().print(view)


@app.command()
def generate() -> None:
    """Write what is generated from the registry: dvc.yaml and Snakemake's JSON schema."""
    from eps_resnet.generated import FILES

    experiments = registry.load(EXPERIMENTS)
    for path, content in FILES.items():
        path.write_text(content(experiments))
        print(path, file=sys.stderr)
