"""Real images of each data set through the whole chain by real Snakemake: fetch, train, prune, evaluate, table."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eps_resnet.files.atomic import read_json
from tests.conftest import PROJECT, copy_project, run

# Where the sample lies, how its copy differs, and changes of the recipe: two epochs of a few hundred images.
SAMPLES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "cifar10": ("cifar-10-binary-half.tar.gz", "half of the training images", {"batch": 100, "epoch_steps": 4}),
    "cifar100": ("cifar-100-binary-subset.tar.gz", "a fifth of the images", {"batch": 100, "epoch_steps": 4}),
    "svhn": ("svhn", "a small sample", {"batch": 100}),
    "imagenet": ("imagenette-subset", "a small sample", {"batch": 8, "epoch_steps": 25, "slices": 1}),
}
DEPTHS = {"cifar10": 8, "cifar100": 8, "svhn": 8, "imagenet": 14}


def experiments() -> dict[str, Any]:
    """A registry of one run and one figure for each data set, the networks the smallest there are."""
    datasets = yaml.safe_load((PROJECT / "config/experiments.yaml").read_text())["datasets"]
    document: dict[str, Any] = {"datasets": {}, "runs": {}, "figures": {}}
    for name, (_, _, changes) in SAMPLES.items():
        data, depth = datasets[name], DEPTHS[name]
        data["recipe"] = {**data["recipe"], "epochs": {"standard": 2, "epsilon": 2}, **changes}
        data["published_name"] = None  # the published numbers are of deeper networks, which are not in this registry
        document["datasets"][name] = data
        run_ = {"dataset": name, "depth": depth, "method": "epsilon_side", "epsilon": 2.5, "seed": 0}
        document["runs"][key(name)] = run_
        select = {"depths": [depth], "methods": ["epsilon_side"], "any_epsilon": True}
        document["figures"][f"figure6-{name}"] = {"figure": "6", "dataset": name, "select": select}
    imagenet = document["datasets"]["imagenet"]
    imagenet["size"] = 64
    imagenet["recipe"]["augmentation"]["area"]["test_short_side"] = 73  # as 256 is to 224
    return document


def key(name: str) -> str:
    return f"{name}-{DEPTHS[name]}-epsilon_side-2p5-s0"


def table(name: str) -> str:
    return f"paper_tables/figure6-{name}/table.md"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Path:
    """A project in which Snakemake has made the table of each data set from its sample."""
    project = copy_project(tmp_path_factory.mktemp("chain"))
    (project / "config/experiments.yaml").write_text(yaml.safe_dump(experiments()))
    sources = [f"{name}={real_data / source}" for name, (source, _, _) in SAMPLES.items()]
    targets = [table(name) for name in SAMPLES]
    command = ("snakemake", "--cores", "2", "--config", *sources, "--", *targets)
    run(project, *command, EPS_RESNET_ALLOW_CPU="1", CUDA_VISIBLE_DEVICES="")
    return project


@pytest.mark.parametrize("name", SAMPLES)
def test_real_images_go_through_the_whole_chain(chain: Path, name: str) -> None:
    differs = SAMPLES[name][1]
    assert differs in read_json(chain / f"data/{name}.json")["differs"]
    history = (chain / "results" / key(name) / "history.csv").read_text().splitlines()
    assert len(history) == 3
    error = read_json(chain / "results" / key(name) / "metrics.json")["error"]
    assert 0 < error["pruned"] < 1
    title = experiments()["datasets"][name]["title"]
    assert f"altered copy of {title}: {differs}" in (chain / table(name)).read_text()
