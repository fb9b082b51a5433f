"""The steps of one run: fetch, train, prune, evaluate, export; and the check of what they recorded."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Column, Table

from eps_resnet.cli.options import (
    CHECK,
    EXPERIMENTS,
    HERE,
    STEP,
    AsJson,
    RegistryFile,
    Root,
    RunKey,
    Sharing,
    Threads,
    Workers,
    chosen,
    load,
    targets_beginning,
)
from eps_resnet.cli.printing import coloured, plain_console, print_json
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.errors import UserError

if TYPE_CHECKING:
    from eps_resnet.experiments.registry import Registry
    from eps_resnet.runs.check import Check

commands = typer.Typer()


@commands.command(rich_help_panel=STEP)
def fetch(
    dataset: Annotated[str, typer.Argument(help="A data set's name.", autocompletion=targets_beginning)],
    source: Annotated[str | None, typer.Option("--from", help="URL, archive or unpacked folder to read.")] = None,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Get a data set, check its SHA-256, store it in a form that loads at once."""
    experiments = load(registry_file)
    from eps_resnet.data.fetch import fetch

    manifest = fetch(experiments, Layout(root), dataset, source)
    differs = f"; it differs from the official release: {manifest.differs}" if manifest.differs else ""
    print(
        f"{dataset}: {manifest.train_images} training and {manifest.test_images} test images, copy "
        f"{manifest.copy!r}{differs}",
        file=sys.stderr,
    )


@commands.command(rich_help_panel=STEP)
def train(
    run: RunKey,
    threads: Threads = 1,
    workers: Workers = None,
    sharing: Sharing = 1,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Train one run; resumes by itself."""
    from eps_resnet.runs.processes import require_consistent_environment

    require_consistent_environment()
    experiment = chosen(registry_file, run, root)
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
            checkpoint.remove(experiment.layout.work(fingerprint))  # left behind by a kill of the finished training
            print(f"{run} is already trained.", file=sys.stderr)
            return
        memory.keep_freed()
        prepare(threads, experiment.recipe.precision)
        train(experiment, device.choose(experiment, sharing), threads, workers)


@commands.command(rich_help_panel=STEP)
def prune(run: RunKey, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Cut a trained run's discarded blocks out."""
    experiment = chosen(registry_file, run, root)
    from eps_resnet.runs.networks import prune_run

    prune_run(experiment)


@commands.command(rich_help_panel=STEP)
def evaluate(
    run: RunKey,
    threads: Threads = 1,
    workers: Workers = None,
    sharing: Sharing = 1,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Prune a trained run, and measure it on its test images before and after that."""
    experiment = chosen(registry_file, run, root)
    import torch

    from eps_resnet.method.arithmetic import prepare
    from eps_resnet.runs import device, memory
    from eps_resnet.runs.evaluate import evaluate
    from eps_resnet.runs.networks import prune_run

    memory.keep_freed()
    prepare(threads)
    prune_run(experiment)
    where = device.choose(experiment, sharing) if device.has_gpu() else torch.device("cpu")
    evaluate(experiment, where, workers)


@commands.command(rich_help_panel=STEP)
def export(run: RunKey, file: Path, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write a run's pruned network as ONNX (FILE.onnx) or for torch.export (FILE.pt2), checked on its test images.

    The program takes raw images, uint8 (N, C, H, W), any number of them, and returns logits.
    """
    from eps_resnet.runs.export import export

    print(f"{file}: {export(chosen(registry_file, run, root), file)}.", file=sys.stderr)


@commands.command(rich_help_panel=CHECK)
def check(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Runs whose pruned network is here.", autocompletion=targets_beginning)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All runs whose pruned network git has.")] = False,
    source: Annotated[str | None, typer.Option("--from", help="URL, archive or folder to read images from.")] = None,
    as_json: AsJson = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Measure pruned networks anew and compare errors, sizes and digests with the record; fail if one differs.

    Needs no training; test images that are not here are fetched first.
    """
    registry, layout = load(registry_file), Layout(root)
    keys = _to_check(registry, layout, runs or [], every, source)
    from eps_resnet.method.arithmetic import prepare
    from eps_resnet.runs.check import check

    prepare(1)
    found, failures = [], list[str]()
    for key in keys:
        try:
            found.append(check(registry, layout, key, source))
        except UserError as error:
            failures.append(str(error))
    if as_json:
        print_json(found)
    elif found:
        _print_checks(found)
    if failures:
        raise UserError("\n".join(failures))
    if not all(one.agrees for one in found):
        raise SystemExit(1)


def _to_check(registry: "Registry", layout: Layout, runs: list[str], every: bool, source: str | None) -> list[str]:
    """The runs that are meant. Raises UserError if that is none, or if one source cannot be of all of them."""
    from eps_resnet.experiments.targets import kept_in_git

    if every == bool(runs):
        raise UserError("Name the runs to check, or give --all for those whose pruned network git has.")
    keys = [key for key in kept_in_git(registry) if layout.run(key).metrics.exists()] if every else runs
    datasets = sorted({registry.run(key).dataset for key in keys})
    if source is not None and len(datasets) > 1:
        raise UserError(f"--from is where one data set lies, and these runs are on {', '.join(datasets)}: name runs.")
    if not keys:
        raise UserError(f"None of the runs whose pruned networks git has is below {layout.results}.")
    return keys


def _print_checks(checks: "list[Check]") -> None:
    """What was compared of one run, or of several that differ; then what came out, of all of them."""
    console, is_one = plain_console(), len(checks) == 1
    for one in checks:
        if is_one or not one.agrees:
            view = Table("", "recorded", "measured here", "verdict", box=box.SIMPLE_HEAD, show_edge=False)
            for finding in one.findings:
                view.add_row(finding.what, finding.recorded, finding.measured, coloured(finding.verdict))
            console.print(one.key, view, "", sep="\n")
    if not is_one:
        view = Table(Column("run", no_wrap=True), "wrong", "", box=box.SIMPLE_HEAD, show_edge=False)
        for one in checks:
            wrong = {finding.what: finding.measured for finding in one.findings}.get("wrong", "–")
            view.add_row(
                one.key, wrong, coloured("agrees") if one.agrees else f"not as recorded: {', '.join(one.differing)}"
            )
        console.print(view, "", sep="\n")
    for line in _conclusions(checks):
        console.print(line)


def _conclusions(checks: "list[Check]") -> list[str]:
    from eps_resnet.runs.check import ROUNDING

    agreeing, differing = sum(one.agrees for one in checks), {what for one in checks for what in one.differing}
    lines = [f"{agreeing} of {len(checks)} agree with their records."]
    if len(checks) == 1:
        lines = ["It agrees with its record." if agreeing else f"Not as recorded: {', '.join(checks[0].differing)}."]
    if "network" in differing:
        lines.append(
            "Of another network than the recorded one nothing else is compared; `git checkout` brings that back."
        )
    if "images" in differing:
        lines.append(
            "The images here are of another copy than those that the record is about, so errors need not agree: --from "
            "reads another copy (docs/data.md)."
        )
    return [
        *lines,
        f"Sizes, digests and images agree exactly or not at all; errors, if at most {ROUNDING} images differ, as the "
        "rounding of another processor can do. Errors with the gates on need the network before pruning: they are not "
        "checked.",
    ]
