"""One project with every figure of digits, in which one run is missing."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from eps_resnet.data.fetch import fetch
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import FIGURES, stem_of
from eps_resnet.experiments.registry import Registry
from eps_resnet.runs.evaluate import evaluate
from eps_resnet.runs.networks import prune_run
from eps_resnet.runs.train import train
from tests.conftest import PROJECT, small_registry

NUMBERS = FIGURES
STANDARD, SIDE = "digits-8-standard-s0", "digits-8-standard_side-s0"
# Two seeds that keep their blocks, and a run whose epsilon closes every gate at once.
OPEN, OPEN_TOO, CLOSED = (f"digits-8-epsilon_side-{name}" for name in ("2p5-s0", "2p5-s1", "1000p0-s0"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Registry, Layout]:
    """The registry and root of that project, for tests that change nothing."""
    root = tmp_path_factory.mktemp("figures")
    path = small_registry(root / "experiments.yaml", {"epsilons": [2.5, 1000.0]})
    document = yaml.safe_load(path.read_text())
    run = document["runs"][OPEN]
    document["runs"] |= {OPEN_TOO: {**run, "seed": 1}, CLOSED: {**run, "epsilon": 1000.0}}
    select = {"depths": [8], "methods": ["standard", "standard_side", "epsilon_side"]}
    gated = {"depths": [8], "methods": ["epsilon_side"]}
    document["figures"] = {
        f"{stem_of(number)}-digits": {
            "figure": number,
            "dataset": "digits",
            "select": select
            if number in ("6", "7", "tradeoff")
            else gated
            if number != "3"
            else {**gated, "methods": ["standard"]},
        }
        for number in NUMBERS
    }
    path.write_text(yaml.safe_dump(document))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PROJECT)
        experiments, layout = registry.load(path), Layout(root)
        fetch(experiments, layout, "digits")
        for key in (STANDARD, OPEN, OPEN_TOO, CLOSED):
            experiment = experiments.experiment(key, layout)
            train(experiment, torch.device("cpu"), 1)
            prune_run(experiment)
            evaluate(experiment)
    return experiments, layout


@pytest.fixture
def done(trained: tuple[Registry, Layout], tmp_path: Path) -> tuple[Registry, Layout]:
    """A copy of that project for the test to change."""
    experiments, layout = trained
    shutil.copytree(layout.root, tmp_path, dirs_exist_ok=True)
    return experiments, Layout(tmp_path)
