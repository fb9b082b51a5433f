"""The rehearsal at full size: all of the workflow runs, and no invented number can pass for a real one."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import write_sealed
from eps_resnet.method.history import read_blocks, read_history
from eps_resnet.operations import invented, simulation
from eps_resnet.operations.verify import verify
from eps_resnet.provenance import state
from tests.conftest import PROJECT, copy_project, jobs, run

FIGURE, CONFIGURATIONS, SEEDS = "figure8-cifar100", 3, 2
KEY = "cifar100-200-epsilon_side-2p5-s0"
# What git keeps of one run, in bytes (docs/workflow.md, "Size").
LARGEST_RUN, MEAN_RUN = 400_000, 200_000
KEPT_IN_GIT = ("metrics.json", "history.csv", "blocks.parquet", "manifest.json")


def inside(folder: Path) -> tuple[str, str, str, str]:
    """The options that make a command look at the simulation in this folder."""
    return "--root", str(folder), "--registry", str(folder / "experiments.yaml")


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A project, the simulation of one figure in it, run by Snakemake, and what that printed."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    folder = project / "rehearsal"
    registry_file = str(PROJECT / "config/experiments.yaml")
    run(project, "eps-resnet", "simulate", str(folder), "--seeds", str(SEEDS), "--registry", registry_file)
    options = ("--config", f"root={folder}", f"registry={folder / 'experiments.yaml'}")
    return project, folder, run(project, "snakemake", "--cores", "2", *options, "--", FIGURE)


def test_a_simulation_has_every_configuration_of_the_paper_with_so_many_seeds(experiments: Registry) -> None:
    simulated = simulation.simulated(experiments, 5)
    paper = {name for name, data in experiments.datasets.items() if data.is_papers}
    wanted = {key[: key.rindex("-s")] for key, run in experiments.runs.items() if run.dataset in paper}
    assert Counter(key[: key.rindex("-s")] for key in simulated.runs) == dict.fromkeys(wanted, 5)
    assert len(simulated.runs) == 250
    assert set(simulated.figures) == {name for name, f in experiments.figures.items() if f.dataset in paper}
    assert registry.as_yaml(simulated).startswith("simulated: true\n")


def test_every_training_of_a_simulation_is_scheduled_once_and_all_is_done(rehearsed: tuple[Path, Path, str]) -> None:
    project, folder, printed = rehearsed
    started = Counter(re.findall(r"Job \d+: (.*?)(?:; progress in .*)?$", printed, re.M))
    assert set(started.values()) == {1}
    assert sum(name.startswith("Training") for name in started) == CONFIGURATIONS * SEEDS
    states = json.loads(run(project, "eps-resnet", "runs", "--json", *inside(folder)).split("\n", 1)[1])
    assert Counter(row["state"] for row in states if row["state"] != "missing") == {"done": CONFIGURATIONS * SEEDS}
    options = ("--config", f"root={folder}", f"registry={folder / 'experiments.yaml'}")
    assert not jobs(run(project, "snakemake", "-n", *options, "--", FIGURE))


def test_whatever_a_simulation_makes_says_that_it_is_one(rehearsed: tuple[Path, Path, str]) -> None:
    project, folder, _ = rehearsed
    documents = [read_json(path) for path in folder.glob("results/*/m*.json")]
    assert len(documents) == 2 * CONFIGURATIONS * SEEDS
    assert all(document["simulated"] for document in documents)
    for file in ("table.md", "figure.svg"):
        text = re.sub(r"\s+", " ", (folder / "paper_tables" / FIGURE / file).read_text())
        assert "CIFAR-100 (simulated)" in text
        assert simulation.WORD in text
    assert simulation.REMARK in (folder / "paper_tables/index.html").read_text()
    for command in (("compare",), ("claims",), ("print", FIGURE), ("show", KEY), ("plan",)):
        assert "is a simulation; every number of ours in it is invented" in run(
            project, "eps-resnet", *command, *inside(folder)
        )
    verdicts = json.loads(run(project, "eps-resnet", "compare", "--json", *inside(folder)).split("\n", 1)[1])
    invented = [verdict for verdict in verdicts if verdict["n_seeds"]]
    assert invented
    assert {verdict["verdict"] for verdict in invented} == {"not comparable"}
    assert all(simulation.REMARK in verdict["reason"] for verdict in invented)
    claims = json.loads(run(project, "eps-resnet", "claims", "--json", *inside(folder)).split("\n", 1)[1])
    assert {claim["verdict"] for claim in claims} == {"not run"}
    assert pd.read_csv(folder / "paper_tables" / FIGURE / "table.csv")["simulated"].all()


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        (("compare", "--record"), "Nothing of a simulation is recorded"),
        (("export", KEY, "x.onnx"), "trains no network"),
    ],
)
def test_nothing_invented_is_recorded_or_exported(
    rehearsed: tuple[Path, Path, str], command: tuple[str, ...], refusal: str
) -> None:
    project, folder, _ = rehearsed
    assert refusal in run(project, "eps-resnet", *command, *inside(folder), expect=1)


@pytest.mark.parametrize(
    "command", [("compare",), ("claims",), ("table",), ("draw",), ("report",), ("show", "digits-8-standard-s0")]
)
def test_outside_the_simulation_its_results_are_refused(
    rehearsed: tuple[Path, Path, str], command: tuple[str, ...]
) -> None:
    project, folder, _ = rehearsed
    refused = run(project, "eps-resnet", *command, "--root", str(folder), expect=1)
    assert "is simulated (13 files in all): its numbers are invented, and nothing is made of them here" in refused


def test_an_invented_result_among_real_ones_is_refused_and_named(rehearsed: tuple[Path, Path, str]) -> None:
    project, folder, _ = rehearsed

    mixed = project / "mixed"
    shutil.copytree(folder / "results" / KEY, mixed / "results" / KEY)
    shutil.copytree(folder / "data", mixed / "data")
    real = registry.load(PROJECT / "config/experiments.yaml")
    problems = {Path(p.path).name: p.problem for p in verify(real, Layout(mixed)).problems if "simulated" in p.problem}
    assert set(problems) == {"manifest.json", "metrics.json"}
    assert state.state(real, Layout(mixed), KEY) == "stale"
    assert "is simulated" in run(project, "eps-resnet", "compare", "--root", str(mixed), expect=1)
    shutil.rmtree(mixed / "results")
    shutil.copytree(folder / "paper_tables" / FIGURE, mixed / "paper_tables" / FIGURE)
    assert "is simulated" in run(project, "eps-resnet", "report", "--root", str(mixed), expect=1)
    against = ("reproduction", "--dataset", "digits", "--root", str(project), "--committed", str(folder))
    assert "is simulated" in run(project, "eps-resnet", *against, expect=1)


def test_a_simulation_writes_nothing_among_real_results(rehearsed: tuple[Path, Path, str], tmp_path: Path) -> None:
    project, folder, _ = rehearsed
    registry_file = str(folder / "experiments.yaml")
    for command in (("fetch", "cifar100"), ("train", KEY), ("evaluate", KEY), ("table",), ("draw",), ("report",)):
        refused = run(project, "eps-resnet", *command, "--registry", registry_file, expect=1)
        assert "its results are invented, and stay beside it" in refused
    assert "stay beside it" in run(
        project, "snakemake", "--cores", "1", "--config", f"registry={registry_file}", "--", FIGURE, expect=1
    )
    shutil.copy(folder / "experiments.yaml", tmp_path)
    write_sealed(tmp_path / "results" / KEY / "manifest.json", {"key": KEY})
    assert "is no result of a simulation" in run(project, "eps-resnet", "train", KEY, *inside(tmp_path), expect=1)
    assert not (project / "results").exists()
    assert not (project / "paper_tables/index.html").exists()
    refused = run(project, "eps-resnet", "simulate", "config", expect=1)
    assert "holds something else than a simulation" in refused


def test_results_of_the_deepest_runs_and_on_average_are_small_enough_for_git(
    experiments: Registry, tmp_path: Path
) -> None:
    simulated, layout = simulation.simulated(experiments, 1), Layout(tmp_path)
    sizes = {}
    for key in simulated.runs:
        invented.train(simulated, layout, key)
        invented.prune(simulated, layout, key)
        invented.evaluate(simulated, layout, key)
        sizes[key] = sum((layout.result(key) / name).stat().st_size for name in KEPT_IN_GIT)
    assert max(sizes.values()) <= LARGEST_RUN, max(sizes, key=sizes.__getitem__)
    assert sum(sizes.values()) / len(sizes) <= MEAN_RUN
    assert (
        layout.history("cifar10-752-epsilon_side-2p5-s0").read_text().count("\n") == 1001
    )  # a line an epoch: diffable


def test_invented_files_are_read_as_real_ones_are(experiments: Registry, tmp_path: Path) -> None:
    simulated, layout, key = simulation.simulated(experiments, 1), Layout(tmp_path), "cifar10-110-epsilon_side-2p5-s0"
    invented.train(simulated, layout, key)
    history, blocks = read_history(layout.history(key)), read_blocks(layout.blocks(key))
    assert history["epoch"].tolist() == list(range(1, 1001))
    last = blocks[blocks["epoch"] == 1000]
    assert (last["closed"] == last["window"]).sum() == history["discarded"].iloc[-1] > 0
    assert pd.notna(blocks).all(axis=None)
