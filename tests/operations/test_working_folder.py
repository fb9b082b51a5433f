"""One Snakemake at a time: the second one says who is first; what a kill leaves is explained, and released."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.atomic import read_json
from eps_resnet.provenance.fingerprints import training_fingerprint
from tests.conftest import BIN, run, small_registry

pytestmark = pytest.mark.slow  # starts real processes, for seconds each

KEY = "digits-8-standard-s0"
TARGET = f"results/{KEY}/manifest.json"


@contextmanager
def running(project: Path, *command: str, until: str) -> Iterator[subprocess.Popen[str]]:
    """A command in the background, from the moment it has printed `until`; killed at the end with all it started."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(project)}
    process = subprocess.Popen(
        [str(BIN / command[0]), *command[1:]],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if until in line:
                break
        assert until in printed, printed
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_the_second_snakemake_names_the_first_and_what_its_kill_leaves_is_released_by_a_guarded_command(
    project: Path,
) -> None:
    small_registry(project / "config/experiments.yaml", {"epochs": {"standard": 2000, "epsilon": 2}})
    with running(project, "snakemake", "--cores", "1", TARGET, until="Training digits") as first:
        owner = f"process {first.pid} on {socket.gethostname()}, since "
        for command in (("snakemake", "--cores", "1", "demo"), ("snakemake", "--unlock"), ("eps-resnet", "unlock")):
            refused = run(project, *command, expect=1)
            assert f"in use by {owner}" in refused
            assert f"snakemake --cores 1 {TARGET}" in refused
            assert "Traceback" not in refused
        assert "Job stats" in run(project, "snakemake", "-n", "demo")  # who only looks is let in
        first.kill()
        first.wait()
    explained = run(project, "snakemake", "--cores", "1", "demo", expect=1)
    assert f"still locked by {owner}" in explained
    assert "`eps-resnet unlock` releases it" in explained
    assert "Traceback" not in explained
    assert f"Released the lock of {owner}" in run(project, "eps-resnet", "unlock")
    assert "Nothing is locked" in run(project, "eps-resnet", "unlock")
    small_registry(project / "config/experiments.yaml")
    run(project, "snakemake", "--cores", "1", TARGET)
    assert (project / TARGET).exists()


def test_a_lock_of_another_machine_is_left_alone(finished: Path) -> None:
    (finished / ".snakemake/locks").mkdir(exist_ok=True)
    (finished / ".snakemake/locks/0.output.lock").write_text("results/x\n")
    owner = {"pid": 1, "host": "another-machine", "since": "2018-06-18 08:30:00 UTC", "command": "snakemake all"}
    (finished / ".snakemake/owner.lock").write_text(json.dumps(owner))
    refused = run(finished, "eps-resnet", "unlock", expect=1)
    assert "`eps-resnet unlock` on another-machine" in refused
    assert (finished / ".snakemake/locks/0.output.lock").exists()


def test_what_a_file_manager_leaves_among_snakemakes_locks_is_none(finished: Path) -> None:
    (finished / ".snakemake/locks").mkdir(exist_ok=True)
    (finished / ".snakemake/locks/.DS_Store").write_bytes(b"x")
    assert run(finished, "eps-resnet", "unlock").strip() == "Nothing is locked."


def test_a_second_training_of_a_run_waits_for_the_first_and_finds_it_done(project: Path) -> None:
    small_registry(project / "config/experiments.yaml", {"epochs": {"standard": 150, "epsilon": 2}})
    run(project, "eps-resnet", "fetch", "digits")
    with running(project, "eps-resnet", "train", KEY, until="epoch 1/150") as first:
        second = run(project, "eps-resnet", "train", KEY)
        assert f"{KEY} is being trained already: waiting for process {first.pid} on" in second
        assert f"{KEY} is already trained" in second
        assert "epoch" not in second
    experiments = registry.load(project / "config/experiments.yaml")
    layout = Layout(project)
    assert read_json(layout.run(KEY).manifest)["fingerprint"] == training_fingerprint(
        experiments.experiment(KEY, layout)
    )
    assert not list((project / "work").iterdir())
