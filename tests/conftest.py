"""Shared by the tests: one thread, a small registry on digits, and the real samples where they are present."""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import settings

from eps_resnet.data.fetch import fetch
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files import lock
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import SEAL, write_sealed
from eps_resnet.runs.evaluate import evaluate
from eps_resnet.runs.networks import prune_run
from eps_resnet.runs.train import train

PROJECT = Path(__file__).resolve().parent.parent
torch.set_num_threads(1)
settings.register_profile("project", deadline=None, max_examples=40)
settings.load_profile("project")


Fault = Callable[[str], AbstractContextManager[None]]
FAULTS = "faults"  # under which tests report what they injected


def pytest_configure() -> None:
    """Ctrl-C reaches what tests start, also where they run in the background of a shell, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def fault(record_property: Callable[[str, object], None]) -> Iterator[Fault]:
    """`with fault("what is done"):` counts one injected fault: survived, or lost where the block raises."""
    survived, lost = Counter[str](), Counter[str]()

    @contextmanager
    def injected(kind: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            lost[kind] += 1
            raise
        survived[kind] += 1

    yield injected
    for kind in survived | lost:
        record_property(FAULTS, [kind, survived[kind], lost[kind]])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of faults that `make test-faults` prints."""
    counts: dict[str, Counter[str]] = {}
    # The properties of a fixture's teardown are in the report of the teardown, that of the last phase of a test.
    for report in [report for reports in terminalreporter.stats.values() for report in reports]:
        if isinstance(report, pytest.TestReport) and report.when == "teardown":
            for _, (kind, survived, lost) in [item for item in report.user_properties if item[0] == FAULTS]:
                counts.setdefault(kind, Counter()).update(survived=survived, lost=lost)
    if counts:
        terminalreporter.section("faults")
        terminalreporter.write_line("| fault | injected | survived | lost |\n|---|---|---|---|")
        for kind, count in sorted(counts.items()):
            cells = (kind, count["survived"] + count["lost"], count["survived"], count["lost"])
            terminalreporter.write_line(f"| {' | '.join(map(str, cells))} |")


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)


@pytest.fixture(scope="session")
def experiments() -> Registry:
    """The project's own registry."""
    return registry.load(PROJECT / "config/experiments.yaml")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real samples; tests that need it are skipped where EPS_REAL_DATA is not set."""
    folder = os.environ.get("EPS_REAL_DATA")
    if not folder:
        pytest.skip("EPS_REAL_DATA is not set: it should name a folder with samples of the real data sets")
    return Path(folder)


@cache
def _digits() -> dict[str, Any]:
    """The data set in the project's registry."""
    document = yaml.load((PROJECT / "config/experiments.yaml").read_text(), yaml.CSafeLoader)
    digits: dict[str, Any] = document["datasets"]["digits"]
    return digits


def small_registry(path: Path, recipe: dict[str, object] | None = None) -> Path:
    """Writes a registry of depth-8 digits runs, two epochs each (or as `recipe` says), and returns its path."""
    digits = deepcopy(_digits())
    digits["recipe"] |= {"epochs": {"standard": 2, "epsilon": 2}, "weight_decay": 0.008, **(recipe or {})}
    common = {"dataset": "digits", "depth": 8, "seed": 0}
    document = {
        "datasets": {"digits": digits},
        "runs": {
            "digits-8-standard-s0": {**common, "method": "standard"},
            "digits-8-standard_side-s0": {**common, "method": "standard_side"},
            "digits-8-epsilon_side-2p5-s0": {**common, "method": "epsilon_side", "epsilon": 2.5},
        },
        "figures": {
            f"figure{number}-digits": {
                "figure": number,
                "dataset": "digits",
                "select": {
                    "depths": [8],
                    "methods": ["standard", "standard_side", "epsilon_side"],
                },
            }
            for number in ("6", "7")
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


def prepared(folder: Path, recipe: dict[str, object] | None = None) -> tuple[Registry, Layout]:
    """The small registry, with these changes of its recipe, and a root with its digits fetched."""
    experiments, layout = registry.load(small_registry(folder / "experiments.yaml", recipe)), Layout(folder)
    fetch(experiments, layout, "digits")
    return experiments, layout


@pytest.fixture
def small(tmp_path: Path) -> tuple[Registry, Layout]:
    """The small registry and a root with its digits fetched."""
    return prepared(tmp_path)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], str | None]) -> tuple[Path, str]:
    """A folder that `make` fills, once for all processes of these tests, and what it returned."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # each worker has a folder in the shared one
    folder, returned = shared / name, shared / f"{name}.txt"
    with lock.held(shared / f"{name}.lock", name):
        if not returned.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker in which it failed
            folder.mkdir()
            returned.write_text(make(folder) or "")
    return folder, returned.read_text()


@pytest.fixture(scope="session")
def _trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        experiments, layout = prepared(folder)
        for experiment in [experiments.experiment(key, layout) for key in experiments.runs]:
            train(experiment, torch.device("cpu"), 1)
            prune_run(experiment)
            evaluate(experiment)

    return once(tmp_path_factory, "trained", make)[0]


@pytest.fixture
def trained(_trained_once: Path, tmp_path: Path) -> tuple[Registry, Layout]:
    """The small registry and a root in which its runs are trained, pruned and evaluated, for the test to change."""
    shutil.copytree(_trained_once, tmp_path, dirs_exist_ok=True)
    return registry.load(tmp_path / "experiments.yaml"), Layout(tmp_path)


BIN = Path(sys.executable).parent
# The command line, with a checkpoint after every step, so that there is much to resume from and to break.
OFTEN = "from eps_resnet.runs import checkpoint; from eps_resnet import cli; checkpoint.SECONDS = -1; cli.main()"
PARTS = ("Snakefile", "workflow", "profiles", "config", "paper_tables/published", "environment.yml", "eps_resnet")


def run(folder: Path, *command: str, expect: int = 0, **environment: str) -> str:
    """Runs a command in a folder and returns what it printed on both streams."""
    process = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(folder), **environment},
        check=False,
    )
    assert process.returncode == expect, process.stdout
    return process.stdout


def change(path: Path, **values: object) -> None:
    """Other values in a sealed document, sealed anew."""
    document = {**read_json(path), **values}
    document.pop(SEAL, None)
    write_sealed(path, document)


def copy_project(folder: Path) -> Path:
    """A copy of the project's workflow and code, with the small registry."""
    for part in PARTS:
        source, target = PROJECT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target)
    small_registry(folder / "config/experiments.yaml")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of the test's own, in which nothing has run."""
    return copy_project(tmp_path)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project in which `snakemake demo` has run, and what that printed."""
    return once(tmp_path_factory, "demo", lambda folder: run(copy_project(folder), "snakemake", "--cores", "2", "demo"))


@pytest.fixture
def finished(demo: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of that project for the test to change."""
    shutil.copytree(demo[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def jobs(output: str) -> dict[str, int]:
    """The table of job counts that Snakemake prints."""
    lines = output.split("Job stats:")[1].strip().splitlines()[2:] if "Job stats:" in output else []
    counts = {}
    for line in lines:
        if not line.strip():
            break
        name, count = line.split()
        counts[name] = int(count)
    return counts
