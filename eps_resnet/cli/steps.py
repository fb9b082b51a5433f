"""The steps of one run: fetch, train, prune, evaluate, export."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from eps_resnet.cli.options import EXPERIMENTS, HERE, RegistryFile, Root, Sharing, Threads, Workers, chosen, load
from eps_resnet.experiments.layout import Layout

commands = typer.Typer()


@commands.command()
def fetch(
    dataset: str,
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


@commands.command()
def train(
    run: str,
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


@commands.command()
def prune(run: str, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Cut a trained run's discarded blocks out."""
    experiment = chosen(registry_file, run, root)
    from eps_resnet.runs.networks import prune_run

    prune_run(experiment)


@commands.command()
def evaluate(
    run: str,
    threads: Threads = 1,
    workers: Workers = None,
    sharing: Sharing = 1,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Measure a trained and pruned run on its test images."""
    experiment = chosen(registry_file, run, root)
    import torch

    from eps_resnet.method.arithmetic import prepare
    from eps_resnet.runs import device, memory
    from eps_resnet.runs.evaluate import evaluate

    memory.keep_freed()
    prepare(threads)
    where = device.choose(experiment, sharing) if device.has_gpu() else torch.device("cpu")
    evaluate(experiment, where, workers)


@commands.command()
def export(run: str, file: Path, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Write a run's pruned network as ONNX (FILE.onnx) or for torch.export (FILE.pt2), checked on its test images.

    The program takes raw images, uint8 (N, C, H, W), any number of them, and returns logits.
    """
    from eps_resnet.runs.export import export

    print(f"{file}: {export(chosen(registry_file, run, root), file)}.", file=sys.stderr)
