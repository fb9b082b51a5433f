"""The workflow by real Snakemake and real DVC: plans, refusals, one table, real images."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from tests.conftest import BIN, PROJECT, jobs, run, small_registry

pytestmark = pytest.mark.slow  # starts real processes, for seconds each


def test_the_whole_paper_is_planned_and_refused_before_anything_starts_where_there_is_no_gpu(
    experiments: Registry, tmp_path: Path
) -> None:
    plan = run(PROJECT, "snakemake", "-n", "-p", "--config", f"root={tmp_path}", "sharing=3", "--", "all")
    assert plan.count("--sharing 3 ") == 2 * 50  # evaluations share cards too
    paper = [run for run in experiments.runs.values() if experiments.datasets[run.dataset].is_papers]
    assert jobs(plan)["train"] == len(paper) == 50
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


def test_a_data_set_is_a_target_of_its_own(experiments: Registry, tmp_path: Path) -> None:
    for name in ("digits", "cifar10-cpu"):
        plan = run(PROJECT, "snakemake", "-n", "--config", f"root={tmp_path}", "--", name)
        assert jobs(plan)["train"] == sum(run.dataset == name for run in experiments.runs.values())
        assert jobs(plan)["figure"] == sum(figure.dataset == name for figure in experiments.figures.values())


def test_shared_cards_and_trainings_of_several_cards_are_not_for_one_call() -> None:
    output = run(PROJECT, "snakemake", "-n", "--config", "gpus=2", "sharing=3", "--", "all", expect=1)
    assert "gpus=N or sharing=N, not both" in output


def test_the_report_follows_a_call_that_succeeded_and_one_that_failed(demo: tuple[Path, str], project: Path) -> None:
    page = (demo[0] / "paper_tables/index.html").read_text()
    assert "digits 3 of 3" in page
    small_registry(project / "config/experiments.yaml", {"batch": 5000})  # more images than there are
    run(project, "snakemake", "--cores", "1", "results/digits-8-standard-s0/metrics.json", expect=1)
    assert "digits 0 of 3" in (project / "paper_tables/index.html").read_text()


def test_every_figure_is_a_target_that_plans_the_runs_it_needs(experiments: Registry, tmp_path: Path) -> None:
    output = run(PROJECT, "snakemake", "-n", "--config", f"root={tmp_path}", "--", *experiments.figures)
    needed = {key for name in experiments.figures for key in experiments.runs_of(name)}
    assert jobs(output)["train"] == len(needed)


def test_a_head_node_without_a_gpu_submits_and_the_node_without_one_refuses(project: Path) -> None:
    small_registry(project / "config/experiments.yaml", {"device": "gpu"})
    target = "results/digits-8-standard-s0/manifest.json"
    here = run(project, "snakemake", "--cores", "1", "--", target, expect=1, CUDA_VISIBLE_DEVICES="")
    assert "No GPU here" in here
    assert not (project / "data").exists()
    submit = ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", "bash", "--jobs", "1")
    there = run(project, "snakemake", *submit, "--", target, expect=1, CUDA_VISIBLE_DEVICES="")
    assert (project / "data/digits.safetensors").exists()  # the head node went on
    assert "No GPU here" in (project / "logs/train/digits-8-standard-s0.log").read_text()
    assert "Traceback" not in there
    run(project, "snakemake", *submit, "--", target, CUDA_VISIBLE_DEVICES="", EPS_RESNET_ALLOW_CPU="1")
    assert (project / target).exists()


def test_the_default_profile_which_would_win_gives_no_key_that_the_clusters_gives_too() -> None:
    default, slurm = (
        set(yaml.safe_load((PROJECT / f"profiles/{n}/profile.yaml").read_text())) for n in ("default", "slurm")
    )
    assert default & slurm == set()


def test_a_training_that_fails_on_a_cluster_gives_the_former_result_back(finished: Path) -> None:
    """On the node and on the head node Snakemake cleans up after a failed job: the second time there is no backup."""
    former = {path: path.read_bytes() for path in (finished / "results/digits-8-standard-s0").iterdir()}
    small_registry(finished / "config/experiments.yaml", {"batch": 5000})  # more images than there are
    run(
        finished, "snakemake", "--profile", "profiles/slurm", "--retries", "0", "--latency-wait", "1",
        "--executor", "cluster-generic", "--cluster-generic-submit-cmd", "bash",
        "--", "results/digits-8-standard-s0/manifest.json", expect=1,
    )  # fmt: skip
    assert "A batch has 5000 images" in (finished / "logs/train/digits-8-standard-s0.log").read_text()
    assert {path: path.read_bytes() for path in former} == former


ELEVEN_JOBS = """
rule all:
    input: expand("{n}", n=range(11))
rule one:
    output: touch("{n}")
    priority: lambda w: int(w.n)
    shell: ""
"""


def test_several_targets_that_are_to_go_first_are_no_reason_for_a_warning(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "profiles", tmp_path / "profiles")
    (tmp_path / "Snakefile").write_text(ELEVEN_JOBS)
    output = run(tmp_path, "snakemake", "--cores", "2", "--prioritize", "1", "2", "3")
    assert "11 of 12 steps" in output
    assert "ILP solver" not in output


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
    assert [path.name for path in Layout(project).result_folders()] == ["digits-8-epsilon_side-2p5-s0"]
    assert (project / "paper_tables/figure7-digits/table.csv").exists()
    assert not (project / "paper_tables/figure6-digits").exists()
    files = [path for name in ("data", "results", "paper_tables") for path in (project / name).rglob("*")]
    for when in (time.time(), 0, time.time() + 86_400):  # times of files decide nothing
        for path in files:
            os.utime(path, (when, when))
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


@pytest.mark.slow
def test_the_drawing_of_the_rules_is_the_one_that_snakemake_makes(tmp_path: Path) -> None:
    call = ("snakemake", "all", "--rulegraph", "mermaid-js", "--config", f"root={tmp_path}")
    made = run(PROJECT, *call)
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]$", made, re.M))
    edges = {(names[a], names[b]) for a, b in re.findall(r"^\s*(id\d+) --> (id\d+)$", made, re.M)}
    assert edges
    drawn = (PROJECT / "docs/workflow.md").read_text().split("```mermaid")[1].split("```")[0]
    assert set(re.findall(r"(\w+) --> (\w+)", drawn)) == edges


@pytest.mark.slow
def test_a_wrong_path_is_reported_once(tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(b"another file")
    for path, message in (
        (tmp_path / "missing", "there is no archive"),
        (archive, "is not an accepted copy of cifar10"),
    ):
        call = ("snakemake", "--cores", "1", "--config", f"root={tmp_path}", f"cifar10={path}", "--")
        output = run(PROJECT, *call, f"{tmp_path}/data/cifar10.json", expect=1, EPS_RESNET_ALLOW_CPU="1")
        assert output.count(message) == 1
        assert "Trying to restart" not in output
