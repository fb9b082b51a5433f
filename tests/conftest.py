"""Shared by the tests: one thread, a small registry on digits, and the real samples where they are present."""

import os
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import settings

from eps_resnet import registry
from eps_resnet.data.fetch import fetch
from eps_resnet.layout import Layout
from eps_resnet.registry import Registry

PROJECT = Path(__file__).resolve().parent.parent
torch.set_num_threads(1)
settings.register_profile("project", deadline=None, max_examples=40)
settings.load_profile("project")


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


def small_registry(path: Path, recipe: dict[str, object] | None = None, figures: bool = True) -> Path:
    """Writes a registry of depth-8 digits runs, two epochs each (or as `recipe` says), and returns its path."""
    document = yaml.safe_load((PROJECT / "config/experiments.yaml").read_text())
    digits = document["datasets"]["digits"]
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
                    "epsilons": [2.5],
                },
            }
            for number in ("6", "7")
        }
        if figures
        else {},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def small(tmp_path: Path) -> tuple[Registry, Layout]:
    """The small registry and a root with its digits fetched."""
    experiments, layout = registry.load(small_registry(tmp_path / "experiments.yaml")), Layout(tmp_path)
    fetch(experiments, layout, "digits")
    return experiments, layout
