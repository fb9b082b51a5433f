"""Real images of each data set through the whole chain: fetch, train, prune, evaluate, table."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from eps_resnet import cli
from eps_resnet.files.atomic import read_json
from eps_resnet.runs import device
from tests.conftest import PROJECT, copy_project, run

# Where the sample lies, how its copy differs, and changes of the recipe: an epoch of few images.
SAMPLES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "cifar10": ("cifar-10-binary-half.tar.gz", "half of the training images", {"batch": 100, "epoch_steps": 4}),
    "cifar100": ("cifar-100-binary-subset.tar.gz", "a fifth of the images", {"batch": 100, "epoch_steps": 4}),
    "svhn": ("svhn", "a small sample", {"batch": 100, "epoch_steps": 4}),
    "imagenet": ("imagenette-subset", "a small sample", {"batch": 8, "epoch_steps": 8, "slices": 1}),
}
DEPTHS = {"cifar10": 8, "cifar100": 8, "svhn": 8, "imagenet": 14}
FEW = {"train_images": 500, "test_images": 500}  # of the CIFARs, whose copies may be taken in part


def write_registry(path: Path) -> Path:
    """A registry of one run and one figure for each data set, the networks the smallest there are."""
    datasets = yaml.safe_load((PROJECT / "config/experiments.yaml").read_text())["datasets"]
    document: dict[str, Any] = {"datasets": {}, "runs": {}, "figures": {}}
    for name, (_, _, changes) in SAMPLES.items():
        data, depth = datasets[name], DEPTHS[name]
        data["recipe"] = {**data["recipe"], "epochs": {"standard": 1, "epsilon": 1}, **changes}
        data["published_name"] = None  # the published numbers are of deeper networks, which are not in this registry
        if name.startswith("cifar"):
            data["archives"] = [archive | FEW for archive in data["archives"]]
        document["datasets"][name] = data
        run_ = {"dataset": name, "depth": depth, "method": "epsilon_side", "epsilon": 2.5, "seed": 0}
        document["runs"][key(name)] = run_
        select = {"depths": [depth], "methods": ["epsilon_side"], "any_epsilon": True}
        document["figures"][f"figure6-{name}"] = {"figure": "6", "dataset": name, "select": select}
    imagenet = document["datasets"]["imagenet"]
    imagenet["size"] = 64
    imagenet["recipe"]["augmentation"]["area"]["test_short_side"] = 73  # as 256 is to 224
    path.write_text(yaml.safe_dump(document))
    return path


def key(name: str) -> str:
    return f"{name}-{DEPTHS[name]}-epsilon_side-2p5-s0"


def table(name: str) -> str:
    return f"paper_tables/figure6-{name}/table.md"


def assert_whole(root: Path, name: str) -> None:
    """All that the chain makes of a data set is there and says how its copy differs."""
    differs = SAMPLES[name][1]
    assert differs in read_json(root / f"data/{name}.json")["differs"]
    history = (root / "results" / key(name) / "history.csv").read_text().splitlines()
    assert len(history) == 2
    error = read_json(root / "results" / key(name) / "metrics.json")["error"]
    assert 0 < error["pruned"] < 1
    title = yaml.safe_load((PROJECT / "config/experiments.yaml").read_text())["datasets"][name]["title"]
    assert f"altered copy of {title}: {differs}" in (root / table(name)).read_text()


SLOW = ("cifar10", "imagenet")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in SAMPLES])
def test_real_images_go_through_all_commands(
    tmp_path: Path, real_data: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_gpu", lambda: False)
    monkeypatch.setenv("EPS_RESNET_ALLOW_CPU", "1")
    options = ["--root", str(tmp_path), "--registry", str(write_registry(tmp_path / "experiments.yaml"))]
    source = str(real_data / SAMPLES[name][0])
    for command in (
        ["fetch", name, "--from", source],
        ["train", key(name)],
        ["prune", key(name)],
        ["evaluate", key(name)],
        ["table", f"figure6-{name}"],
    ):
        assert CliRunner().invoke(cli.app, [*command, *options], catch_exceptions=False).exit_code == 0
    assert_whole(tmp_path, name)


@pytest.mark.slow
def test_real_images_go_through_snakemake_which_is_told_where_they_are(tmp_path: Path, real_data: Path) -> None:
    """ImageNet's, as they are decoded by workers, whose number is Snakemake's."""
    project = copy_project(tmp_path)
    write_registry(project / "config/experiments.yaml")
    source = f"imagenet={real_data / SAMPLES['imagenet'][0]}"
    command = ("snakemake", "--cores", "2", "--config", source, "--", table("imagenet"))
    run(project, *command, EPS_RESNET_ALLOW_CPU="1", CUDA_VISIBLE_DEVICES="")
    assert_whole(project, "imagenet")
