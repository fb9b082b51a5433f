"""The workflow, by real Snakemake and real DVC in folders of their own: from data to table, and what runs again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from eps_resnet.files import read_json
from eps_resnet.registry import Registry
from tests.conftest import PROJECT, small_registry

BIN = Path(sys.executable).parent
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


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project in which `snakemake demo` has run, and what that printed."""
    folder = copy_project(tmp_path_factory.mktemp("demo"))
    return folder, run(folder, "snakemake", "--cores", "2", "demo")


@pytest.fixture
def finished(demo: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of that project for the test to change."""
    shutil.copytree(demo[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


# The tests that share the finished project run one after another in one process.
share_the_demo = pytest.mark.xdist_group("demo")


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


@share_the_demo
def test_two_epochs_go_from_data_to_tables_and_nothing_runs_twice(demo: tuple[Path, str]) -> None:
    project, printed = demo
    assert jobs(printed) == {
        "fetch": 1, "train": 3, "prune": 3, "evaluate": 3, "table": 2, "draw": 2, "demo": 1, "total": 15
    }  # fmt: skip
    for name in ("table.csv", "table.md", "figure.svg", "figure.png"):
        assert (project / "paper_tables/figure6-digits" / name).stat().st_size > 100
    table = (project / "paper_tables/figure6-digits/table.md").read_text()
    assert "chosen on a split of the training images" in table
    metrics = read_json(project / "results/digits-8-epsilon_side-2p5-s0/metrics.json")
    assert f"{metrics['error']['pruned']:.2%}" in table
    assert "Nothing to be done" in run(project, "snakemake", "--cores", "2", "demo")


@share_the_demo
def test_a_fresh_clone_has_nothing_to_do_without_images_and_checkpoints(finished: Path) -> None:
    shutil.rmtree(finished / ".snakemake")  # and without Snakemake's metadata, times in any order
    shutil.rmtree(finished / ".fingerprints")
    for path in [finished / "data/digits.safetensors", *finished.glob("results/*/*.safetensors")]:
        path.unlink()
    for index, path in enumerate(sorted(finished.glob("results/*/*"))):
        os.utime(path, (1_000_000 + index, 1_000_000 + index))
    assert "Nothing to be done" in run(finished, "snakemake", "--cores", "2", "demo")

    # What is stale is found there too: the images come back, one run is trained.
    document = yaml.safe_load((finished / "config/experiments.yaml").read_text())
    runs = document["runs"]
    runs["digits-8-standard-s1"] = {**runs.pop("digits-8-standard-s0"), "seed": 1}
    (finished / "config/experiments.yaml").write_text(yaml.safe_dump(document))
    assert jobs(run(finished, "snakemake", "-n", "demo")) == {
        "fetch": 1, "train": 1, "prune": 1, "evaluate": 1, "table": 2, "draw": 2, "demo": 1, "total": 9
    }  # fmt: skip


@share_the_demo
def test_a_comment_in_the_training_code_redoes_nothing_and_a_change_of_its_meaning_everything(finished: Path) -> None:
    code = finished / "eps_resnet/gate.py"
    code.write_text("# a comment\n" + code.read_text().replace("cut from the graph", "detached"))
    assert jobs(run(finished, "snakemake", "-n", "demo")) == {}
    code.write_text(code.read_text().replace("<= threshold", "< threshold"))
    assert jobs(run(finished, "snakemake", "-n", "demo"))["train"] == 3


@share_the_demo
def test_a_change_in_a_tables_code_redoes_that_table_alone(finished: Path) -> None:
    code = finished / "eps_resnet/figures/figure7.py"
    code.write_text(code.read_text().replace("before and after pruning", "after and before pruning"))
    assert jobs(run(finished, "snakemake", "-n", "demo")) == {"table": 1, "draw": 1, "demo": 1, "total": 3}


@share_the_demo
def test_a_manifest_that_does_not_fit_is_not_believed(finished: Path) -> None:
    path = finished / "results/digits-8-standard-s0/manifest.json"
    path.write_text(path.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    assert jobs(run(finished, "snakemake", "-n", "demo"))["train"] == 1


@share_the_demo
def test_metrics_of_another_network_are_not_believed(finished: Path) -> None:
    path = finished / "results/digits-8-standard-s0/metrics.json"
    path.write_text(path.read_text().replace('"model_sha256": "', '"model_sha256": "0'))
    counts = jobs(run(finished, "snakemake", "-n", "demo"))
    assert counts["evaluate"] == 1
    assert "train" not in counts


@share_the_demo
def test_results_made_again_elsewhere_are_identical(demo: tuple[Path, str], project: Path) -> None:
    run(project, "snakemake", "--cores", "1", "--config", "root=demo", "--", "demo")
    assert (project / "demo/paper_tables/figure6-digits/table.md").exists()
    assert not (project / "results").exists()
    verdicts = run(project, "eps-resnet", "reproduction", "--json", "--committed", str(demo[0]))
    assert {row["verdict"] for row in json.loads(verdicts)} == {"identical"}


def test_the_whole_paper_is_planned_and_refused_before_anything_starts_where_there_is_no_gpu(
    experiments: Registry, tmp_path: Path
) -> None:
    plan = run(PROJECT, "snakemake", "-n", "--config", f"root={tmp_path}", "--", "all")
    assert jobs(plan)["train"] == sum(run.dataset != "digits" for run in experiments.runs.values()) == 50
    for target in ("all", f"{tmp_path}/data/cifar10.safetensors"):
        output = run(
            PROJECT, "snakemake", "--cores", "2", "--nolock", "--config", f"root={tmp_path}", "--", target,
            expect=1, CUDA_VISIBLE_DEVICES="",
        )  # fmt: skip
        assert "No GPU here" in output
        assert "make demo" in output
        assert "EPS_RESNET_ALLOW_CPU=1" in output
        assert "Traceback" not in output
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "results").exists()


def test_every_figure_is_a_target_that_plans_the_runs_it_needs(experiments: Registry, tmp_path: Path) -> None:
    output = run(PROJECT, "snakemake", "-n", "--config", f"root={tmp_path}", "--", *experiments.figures)
    needed = {key for name in experiments.figures for key in experiments.runs_of(name)}
    assert jobs(output)["train"] == len(needed)


@pytest.mark.parametrize("name", ["figure6-cifar10", "figure9-cifar100", "figure8-digits"])
def test_a_figure_plans_only_its_own_runs(experiments: Registry, tmp_path: Path, name: str) -> None:
    output = run(PROJECT, "snakemake", "-n", "--config", f"root={tmp_path}", "--", name)
    assert jobs(output)["train"] == len(experiments.runs_of(name))


def test_a_mistake_in_the_registry_ends_without_a_traceback(project: Path) -> None:
    file = project / "config/experiments.yaml"
    file.write_text(file.read_text().replace("depth: 8", "depth: 9", 1))
    output = run(project, "snakemake", "-n", "demo", expect=1)
    assert "must be 6n+2" in output
    assert "Traceback" not in output


def test_dvc_repro_of_one_table_makes_it_and_only_what_it_needs(project: Path) -> None:
    shutil.copytree(PROJECT / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copy(PROJECT / ".gitignore", project)
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    document = yaml.safe_load((project / "config/experiments.yaml").read_text())
    document["figures"]["figure7-digits"]["select"]["methods"] = ["epsilon_side"]
    (project / "config/experiments.yaml").write_text(yaml.safe_dump(document))
    run(project, "eps-resnet", "generate")
    run(project, "dvc", "repro", "figure7-digits")
    assert [path.name for path in (project / "results").iterdir()] == ["digits-8-epsilon_side-2p5-s0"]
    assert (project / "paper_tables/figure7-digits/table.csv").exists()
    assert not (project / "paper_tables/figure6-digits").exists()
    assert "up to date" in run(project, "dvc", "repro", "figure7-digits")
    assert "Nothing to be done" in run(project, "snakemake", "--cores", "1", "figure7-digits")


def test_dvc_repro_of_a_cifar_table_is_refused_without_a_gpu(project: Path) -> None:
    shutil.copytree(PROJECT / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copy(PROJECT / ".gitignore", project)
    shutil.copy(PROJECT / "config/experiments.yaml", project / "config")
    shutil.copy(PROJECT / "dvc.yaml", project)
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    process = subprocess.run(
        [BIN / "dvc", "repro", "figure6-cifar10"],
        cwd=project,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )
    assert process.returncode != 0
    assert "No GPU here" in process.stdout + process.stderr
    assert not (project / "data").exists()


def test_real_cifar10_images_go_through_the_whole_chain(project: Path, real_data: Path) -> None:
    document = yaml.safe_load((PROJECT / "config/experiments.yaml").read_text())
    data = document["datasets"]["cifar10"]
    data["recipe"] |= {"epochs": {"standard": 1, "epsilon": 1}, "batch": 500, "epoch_steps": None}
    key = "cifar10-8-epsilon_side-2p5-s0"
    run_ = {"dataset": "cifar10", "depth": 8, "method": "epsilon_side", "epsilon": 2.5, "seed": 0}
    select = {"depths": [8], "methods": ["epsilon_side"], "epsilons": [2.5]}
    figure = {"figure": "6", "dataset": "cifar10", "select": select}
    small = {"datasets": {"cifar10": data}, "runs": {key: run_}, "figures": {"figure6-cifar10": figure}}
    (project / "config/experiments.yaml").write_text(yaml.safe_dump(small))
    archive = real_data / "cifar-10-binary-half.tar.gz"
    config = ("--config", f"cifar10={archive}", "--")
    run(project, "snakemake", "--cores", "2", *config, "figure6-cifar10", EPS_RESNET_ALLOW_CPU="1")
    metrics = read_json(project / "results" / key / "metrics.json")
    assert metrics["error"]["gated"] < 0.85  # chance is 0.9
    table = (project / "paper_tables/figure6-cifar10/table.md").read_text()
    assert "altered copy of CIFAR-10: half of the training images" in table
