"""Snakemake, its trainings and DVC killed in the middle: the documented next command ends it, and redoes nothing."""

import os
import random
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT, Fault, copy_project, once, run, small_registry
from tests.operations.test_working_folder import running

pytestmark = pytest.mark.faults
NAMES = ("model.safetensors", "history.csv", "blocks.parquet", "pruned.safetensors", "metrics.json")
RECIPE: dict[str, object] = {"epochs": {"standard": 12, "epsilon": 12}}


def prepared(folder: Path) -> Path:
    copy_project(folder)
    small_registry(folder / "config/experiments.yaml", RECIPE)
    return folder


def results(project: Path) -> dict[str, bytes]:
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in project.glob("results/*/*") if p.name in NAMES}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """All results when nothing is killed."""
    project, _ = once(
        tmp_path_factory,
        "undisturbed-workflow",
        lambda folder: run(prepared(folder), "snakemake", "--cores", "1", "demo"),
    )
    return results(project)


def finished_trainings(project: Path) -> dict[str, bytes]:
    """The manifests there are: each tells when its training ended, so that one that is trained again is another."""
    return {path.parent.name: path.read_bytes() for path in project.glob("results/*/manifest.json")}


def trainings(project: Path) -> list[int]:
    """The processes that train below this folder."""
    lines = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    own = [line.split()[0] for line in lines if re.search(r"bin/eps-resnet train|-m eps_resnet train", line)]
    return [int(pid) for pid in own if os.path.realpath(f"/proc/{pid}/cwd") == str(project)]


MOMENTS = ("Fetching", "Training", "Training", "Pruning and evaluating", "Writing the table")


@pytest.mark.parametrize("whole_group", [False, True], ids=["snakemake alone", "with all its jobs"])
def test_snakemake_killed_at_any_step_ends_by_unlock_and_the_same_command(
    tmp_path: Path, fault: Fault, undisturbed: dict[str, bytes], whole_group: bool
) -> None:
    project, draw = prepared(tmp_path), random.Random(int(whole_group))
    for moment in MOMENTS:
        with fault("SIGKILL of snakemake" + (" and its jobs" if whole_group else " alone")):
            command = ("snakemake", "--cores", str(draw.randint(1, 2)), "demo")
            with running(project, *command, until=moment) as process:
                try:
                    process.wait(timeout=draw.uniform(0, 3))
                except subprocess.TimeoutExpired:
                    process.kill()
                process.wait()
                if not whole_group:  # its jobs go on: what they finish counts
                    process.communicate()
            before = finished_trainings(project)
            run(project, "eps-resnet", "unlock")
    run(project, "snakemake", "--cores", "2", "demo")
    after = finished_trainings(project)
    assert {key: after[key] for key in before} == before
    assert results(project) == undisturbed
    assert "Nothing to be done" in run(project, "snakemake", "--cores", "2", "demo")
    run(project, "eps-resnet", "verify")


def test_a_training_killed_under_snakemake_fails_alone_and_the_same_command_resumes_it(
    tmp_path: Path, fault: Fault, undisturbed: dict[str, bytes]
) -> None:
    project = prepared(tmp_path)
    for number in (signal.SIGKILL, signal.SIGTERM):
        with fault(f"{number.name} of a training under snakemake"):
            target = ("snakemake", "--cores", "1", "demo")
            with running(project, *target, until="Training") as process:
                while not (pids := trainings(project)):
                    assert process.poll() is None
                os.kill(pids[0], number)
                printed, _ = process.communicate()
            assert process.returncode == 1
            assert "Traceback" not in printed
            assert len(finished_trainings(project)) == 2  # the others went on
            break_off = finished_trainings(project)
            for key in list(break_off)[:1]:  # so that there is one to kill again
                shutil.rmtree(project / "results" / key)
    run(project, "snakemake", "--cores", "1", "demo")
    assert results(project) == undisturbed


def test_ctrl_c_in_snakemake_saves_the_training_and_needs_no_unlock(
    tmp_path: Path, fault: Fault, undisturbed: dict[str, bytes]
) -> None:
    project = prepared(tmp_path)
    with fault("Ctrl-C in snakemake"):
        with running(project, "snakemake", "--cores", "1", "demo", until="Training") as process:
            while not trainings(project):
                assert process.poll() is None
            os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to all in the foreground
            process.communicate()
        assert process.returncode != 0
        assert "Nothing is locked" in run(project, "eps-resnet", "unlock")
        run(project, "snakemake", "--cores", "1", "demo")
        assert results(project) == undisturbed


def with_dvc(project: Path) -> Path:
    shutil.copytree(PROJECT / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copy(PROJECT / ".gitignore", project)
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    document = yaml.safe_load((project / "config/experiments.yaml").read_text())
    (project / "config/experiments.yaml").write_text(yaml.safe_dump(document))
    run(project, "eps-resnet", "generate")
    return project


def test_dvc_repro_killed_ends_by_the_same_command_and_redoes_no_finished_run(
    tmp_path: Path, fault: Fault, undisturbed: dict[str, bytes]
) -> None:
    project, draw = with_dvc(prepared(tmp_path)), random.Random(2)
    for _ in range(2):
        with fault("SIGKILL of dvc repro and all it started"):
            with running(project, "dvc", "repro", "figure6-digits", until="Training") as process:
                refused = run(project, "snakemake", "--cores", "1", "demo", expect=1)
                assert "in use by process" in refused
                try:
                    process.wait(timeout=draw.uniform(0, 4))
                except subprocess.TimeoutExpired:
                    process.kill()
            before = finished_trainings(project)
            run(project, "eps-resnet", "unlock")
    run(project, "dvc", "repro", "figure6-digits")
    after = finished_trainings(project)
    assert {key: after[key] for key in before} == before
    assert results(project) == undisturbed
    assert "up to date" in run(project, "dvc", "repro", "figure6-digits")
