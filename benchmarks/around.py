"""What surrounds the training: the demo as a whole, loading, checkpoints."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.measure import Line, in_turns
from benchmarks.trainings import CHANNELS, CPU, REGISTRY, SIZE, step_of, training_of
from eps_resnet.data import store
from eps_resnet.experiments.layout import Layout
from eps_resnet.method import loop
from eps_resnet.method.inputs.batches import TensorBatches
from eps_resnet.runs import memory
from eps_resnet.runs.checkpoint import Keeper
from eps_resnet.runs.train import train

ITEM, STEPS, IMAGES = "8 around", 390, 50_000  # CIFAR's steps in an epoch and training images
PAIRS = 7
SMALL = "digits-56-epsilon_side-2p5-s0"  # the run whose steps are counted apart


def lines(cores: int) -> list[Line]:
    """The demo's time and how much of it steps are; loading CIFAR-10; a checkpoint of ResNet-110."""
    torch.set_num_threads(1)  # as trainings are
    with TemporaryDirectory() as folder:
        return [*_demo(Path(folder), cores), _loading(Path(folder), cores), _checkpoint(Path(folder), cores)]


def _demo(folder: Path, cores: int) -> list[Line]:
    before, started = _processor_seconds(), time.perf_counter()
    command = ["make", "--silent", "demo-runs", f"CORES={cores}", f"DEMO={folder}"]
    subprocess.run(command, check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL)
    minutes, processor = (time.perf_counter() - started) / 60, _processor_seconds() - before
    manifests = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("results/*/manifest.json")]
    trainings = sum(manifest["seconds"]["training"] for manifest in manifests)  # of one thread each, on a core each
    share = trainings * _share_of_steps(folder) / processor
    what = f"the demo ({len(manifests)} trainings, tables, drawings, report)"
    note = f"{trainings:.0f} of {processor:.0f} s in trainings, of which the steps are counted in {SMALL}"
    return [
        Line(ITEM, what, minutes, minutes, minutes, cores, at_most=6, unit="minutes", note="one run"),
        Line(
            ITEM,
            "share of the demo's processor time in training steps",
            share,
            share,
            share,
            cores,
            at_least=0.85,
            note=note,
        ),
    ]


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _share_of_steps(folder: Path) -> float:
    """The part of a training's time in its steps: batches, evaluation, records and checkpoints are the rest."""
    for path in Layout(folder).run(SMALL).folder.iterdir():
        path.unlink()
    command = [sys.executable, "-m", "benchmarks.around", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    return float(done.stdout)


def _train(folder: Path) -> float:
    """Trains the small run and returns the share of its processor time that its steps took."""
    spent, really = [0.0], loop.train_step

    def timed(*arguments: object) -> object:
        started = time.process_time()
        result = really(*arguments)  # type: ignore[arg-type]
        spent[0] += time.process_time() - started
        return result

    loop.train_step = timed  # type: ignore[assignment]
    torch.set_num_threads(1)
    memory.keep_freed()
    started = time.process_time()
    train(REGISTRY.experiment(SMALL, Layout(folder)), CPU, 1)
    return spent[0] / (time.process_time() - started)


def _loading(folder: Path, cores: int) -> Line:
    """From the stored file to the first batch, a file with as many random images as CIFAR-10 has."""
    layout, archive = Layout(folder), REGISTRY.datasets["cifar10"].archives[0]
    draw = torch.Generator().manual_seed(0)
    images = {
        f"{part}_{name}": torch.randint(256 if shape else 10, (count, *shape), dtype=torch.uint8, generator=draw)
        for part, count in (("train", IMAGES), ("test", 10_000))
        for name, shape in (("images", (CHANNELS, SIZE, SIZE)), ("labels", ()))
    }
    layout.store("cifar10").parent.mkdir(parents=True, exist_ok=True)
    store.save(layout, "cifar10", images, archive)
    training = training_of(20)

    def load() -> None:
        next(TensorBatches(store.load(layout, "cifar10"), training.recipe, 0, CPU).training(1))

    return _share("loading CIFAR-10 / its first epoch, ResNet-20", load, step_of(training), 0.02, cores)


def _checkpoint(folder: Path, cores: int) -> Line:
    training = training_of(110)
    step = step_of(training)
    step()
    keeper = Keeper(folder / "work", training, CPU)
    what = "a checkpoint / an epoch, ResNet-110 (one a minute is written)"
    return _share(what, keeper.save, step, 0.01, cores)


def _share(what: str, work: Callable[[], object], step: Callable[[], object], goal: float, cores: int) -> Line:
    ratio = in_turns(work, step, PAIRS)
    figure, low, high = (value / STEPS for value in (ratio.median, ratio.low, ratio.high))
    note = f"{ratio.seconds[0]:.2f} s against {STEPS} steps of {ratio.seconds[1]:.2f} s"
    return Line(ITEM, what, figure, low, high, cores, at_most=goal, note=note)


if __name__ == "__main__":
    print(_train(Path(sys.argv[1])))
