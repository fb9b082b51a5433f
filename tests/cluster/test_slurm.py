"""Trainings on a real Slurm of one node, interrupted in each way that a cluster has: they go on to the same bytes."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from eps_resnet.cluster import slurm_reservation
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.digests import sha256
from eps_resnet.provenance.fingerprints import CHECKPOINTS, training_fingerprint
from tests.conftest import BIN, PROJECT, copy_project, run

pytestmark = pytest.mark.cluster
SCRIPT = PROJECT / "tests/cluster/one_node_slurm.sh"
RUNS = [f"digits-56-epsilon_side-{epsilon}-s0" for epsilon in ("1p5", "2p5", "3p5")]
RESULTS = ("history.csv", "blocks.parquet", "metrics.json", "model.safetensors", "pruned.safetensors")
SLURM = (
    *("--profile", "profiles/slurm", "--default-resources", "slurm_partition=main"),
    *("--slurm-status-command", "squeue"),  # this Slurm keeps no accounts
    *("--slurm-init-seconds-before-status-checks", "2"),  # so that the test need not wait long
)
PATIENCE = 600  # seconds until a test gives up; it never waits longer than for what it waits


def wait_until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"still waiting until {what}"
        time.sleep(0.2)


def text(path: Path) -> str:
    """What a file below /proc holds; nothing if its process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def states() -> dict[str, str]:
    """The state of every job that Slurm remembers, by its number."""
    return dict(line.split() for line in slurm("squeue", "--noheader", "--states=all", "--format=%i %T").splitlines())


def facts(job: str) -> dict[str, str]:
    """What Slurm knows of a job."""
    return dict(word.split("=", 1) for word in slurm("scontrol", "show", "job", job).split() if "=" in word)


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    """A Slurm of one node, of which nothing is left afterwards."""
    started = subprocess.run([SCRIPT, "start"], stderr=subprocess.PIPE, text=True, check=False)
    if started.returncode:
        pytest.fail(started.stderr, pytrace=False)
    yield
    subprocess.run([SCRIPT, "stop"], check=True)
    names = subprocess.run(["ps", "-eo", "comm"], capture_output=True, text=True, check=True).stdout.split()
    assert not {"slurmctld", "slurmd", "slurmstepd", "srun"} & set(names)
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if "SLURM_CLUSTER_NAME=eps-resnet" in text(path)]
    assert not Path("/etc/slurm/slurm.conf").exists()
    assert not Path("/run/eps-resnet-slurm").exists()


@dataclass(frozen=True)
class Project:
    """A copy of the project with the demo's smallest figure: three networks of 56 layers, one for each epsilon."""

    folder: Path

    @classmethod
    def prepare(cls, folder: Path, **recipe: object) -> "Project":
        document = yaml.safe_load((PROJECT / "config/experiments.yaml").read_text())
        digits = document["datasets"]["digits"]
        digits["recipe"] |= recipe
        common = {"dataset": "digits", "depth": 56, "method": "epsilon_side", "seed": 0}
        select = {"depths": [56], "methods": ["epsilon_side"], "any_epsilon": True}
        copy_project(folder)
        (folder / "config/experiments.yaml").write_text(
            yaml.safe_dump(
                {
                    "datasets": {"digits": digits},
                    "runs": {key: {**common, "epsilon": float(key.split("-")[3].replace("p", "."))} for key in RUNS},
                    "figures": {"figure8-digits": {"figure": "8", "dataset": "digits", "select": select}},
                }
            )
        )
        return cls(folder)

    def results(self) -> dict[str, str]:
        """The digests of all results."""
        return {f"{key}/{name}": sha256(self.folder / "results" / key / name) for key in RUNS for name in RESULTS}

    def log(self, key: str) -> str:
        """What the latest start of a training printed."""
        path = Layout(self.folder).log("train", key)
        return path.read_text() if path.exists() else ""

    def epochs(self, key: str) -> list[int]:
        """The epochs that it finished."""
        return [int(epoch) for epoch in re.findall(r"  epoch (\d+)/", self.log(key))]

    def checkpoints(self, key: str) -> list[Path]:
        """The checkpoints of a training that is not finished."""
        experiments = registry.load(self.folder / "config/experiments.yaml")
        layout = Layout(self.folder)
        return sorted(layout.work(training_fingerprint(experiments.experiment(key, layout))).glob(CHECKPOINTS))

    @property
    def printed(self) -> str:
        """What Snakemake printed."""
        return (self.folder / "snakemake.log").read_text()

    def job(self, key: str) -> str | None:
        """The number of the job in which a run is being trained."""
        for process in Path("/proc").glob("[0-9]*"):
            words, environment = (text(process / name).split("\0") for name in ("cmdline", "environ"))
            if "train" in words and key in words and f"PYTHONPATH={self.folder}" in environment:
                return next(word for word in environment if word.startswith("SLURM_JOB_ID=")).split("=")[1]
        return None

    @contextmanager
    def submitting(self, *options: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Snakemake on the head node, with what it prints in snakemake.log; ended at the end with all it started."""
        path = f"{BIN}:{os.environ['PATH']}"
        with (self.folder / "snakemake.log").open("w") as log:
            process = subprocess.Popen(
                ["env", "--default-signal=INT", BIN / "snakemake", *SLURM, *options],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": path, "PYTHONPATH": str(self.folder), **environment},
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                print(self.printed)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            subprocess.run(["scancel", "--user=root"], check=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The results of trainings on this machine, without Slurm, that nothing interrupts."""
    project = Project.prepare(tmp_path_factory.mktemp("undisturbed"))
    run(project.folder, "snakemake", "--cores", "2", "figure8-digits")
    return project.results()


def test_a_requeued_and_a_cancelled_training_go_on_to_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    project = Project.prepare(tmp_path)
    reached: dict[str, int] = {}  # the last epoch that a training finished before it was interrupted
    jobs: dict[str, str] = {}

    def next_under_way() -> str | None:
        return next((key for key in RUNS if key not in reached and len(project.epochs(key)) >= 3), None)

    with project.submitting("--", "figure8-digits") as snakemake:
        for interrupt in (("scontrol", "requeue"), ("scancel",)):
            wait_until(lambda: next_under_way() or snakemake.poll() is not None, "a training is under way")
            key = next_under_way()
            assert key, project.printed
            job = project.job(key)
            assert job, project.printed
            reached[key], jobs[key] = project.epochs(key)[-1], job
            assert not project.checkpoints(key)  # what is there afterwards was saved for the signal
            slurm(*interrupt, job)
            wait_until(lambda key=key: project.checkpoints(key), "it has saved itself")  # type: ignore[misc]
        requeued, cancelled = reached
        wait_until(lambda: snakemake.poll() is not None, "all is done")
    assert snakemake.returncode == 0, project.printed

    assert project.results() == undisturbed
    assert facts(jobs[requeued])["Restarts"] == "1"
    assert states()[jobs[requeued]] == "COMPLETED"
    assert states()[jobs[cancelled]] == "CANCELLED"
    for key in RUNS:  # each went on after the last epoch that it had finished, and trained none twice
        assert project.epochs(key) == list(range(reached.get(key, 0) + 1, 61))
    assert "Nothing to be done" in run(tmp_path, "snakemake", "--cores", "1", "figure8-digits")
    run(tmp_path, "eps-resnet", "verify")


def test_a_training_that_reaches_its_time_limit_is_saved_and_goes_on_and_ctrl_c_cancels_it(tmp_path: Path) -> None:
    """It would take hours; in the end it is stopped by Ctrl-C in Snakemake, which leaves nothing locked."""
    project, key = Project.prepare(tmp_path, epochs={"standard": 60, "epsilon": 20_000}), RUNS[0]
    target = f"results/{key}/manifest.json"
    with project.submitting("--set-resources", "train:runtime=1", "--", target) as snakemake:
        wait_until(lambda: project.job(key), "it runs")
        first = project.job(key)
        assert first
        wait_until(lambda: states()[first] == "TIMEOUT", "its minute is over")
        assert "stopped by SIGTERM after step" in project.log(key)
        reached = project.epochs(key)[-1]
        wait_until(lambda: project.job(key) not in (None, first) and project.epochs(key), "it goes on in another job")
        assert project.epochs(key)[0] == reached + 1
        second = project.job(key)
        assert second
        snakemake.send_signal(signal.SIGINT)
        wait_until(lambda: snakemake.poll() is not None, "Snakemake has ended")
        wait_until(lambda: states()[second] == "CANCELLED", "its job has ended")
    assert snakemake.returncode != 0
    assert "stopped by SIGTERM after step" in project.log(key)
    assert "Traceback" not in project.printed
    assert "Nothing is locked" in run(tmp_path, "eps-resnet", "unlock")


def test_a_preempted_training_goes_back_into_the_queue_and_goes_on(tmp_path: Path) -> None:
    project, key = Project.prepare(tmp_path, epochs={"standard": 60, "epsilon": 20_000}), RUNS[0]
    with project.submitting("--", f"results/{key}/manifest.json"):
        wait_until(lambda: len(project.epochs(key)) >= 3, "it is under way")
        job = project.job(key)
        assert job
        slurm("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true")
        wait_until(lambda: project.checkpoints(key), "it has saved itself")
        wait_until(lambda: states()[job] == "PENDING", "it is in the queue again")
        assert "stopped by SIGTERM after step" in project.log(key)
        reached = project.epochs(key)[-1]
        wait_until(lambda: project.epochs(key) and project.epochs(key)[0] > 1, "it goes on")
        assert project.epochs(key)[0] == reached + 1
        assert facts(job)["Restarts"] == "1"


def test_jobs_ask_for_the_time_the_memory_and_the_cards_that_the_registry_says_and_all_at_once(tmp_path: Path) -> None:
    """The node's cards are made up: Slurm counts them, and the trainings are let onto the CPU."""
    project, keys = Project.prepare(tmp_path, device="gpu", epochs={"standard": 1, "epsilon": 1}), RUNS[:2]
    before = set(states())
    options = ("--set-resources", "train:gpu_model=standin", "evaluate:gpu_model=standin")
    targets = [f"results/{key}/metrics.json" for key in keys]
    with project.submitting(*options, "--", *targets, EPS_RESNET_ALLOW_CPU="1") as snakemake:
        wait_until(lambda: len(states().keys() - before) == 2 or snakemake.poll() is not None, "both are submitted")
        assert "COMPLETED" not in [states()[job] for job in states().keys() - before]  # profiles/default: one at a time
        wait_until(lambda: snakemake.poll() is not None, "all is done")
    assert snakemake.returncode == 0, project.printed
    jobs = [facts(job) for job in sorted(states().keys() - before, key=int)]
    experiment = registry.load(tmp_path / "config/experiments.yaml").experiment(keys[0], Layout(tmp_path))
    stages: list[slurm_reservation.Stage] = ["train", "train", "evaluate", "evaluate"]
    for job, stage in zip(jobs, stages, strict=True):
        assert job["TresPerJob"] == "gres:gpu:standin:1"
        assert job["Requeue"] == "1"
        assert job["TimeLimit"] == f"00:{slurm_reservation.minutes(experiment, stage)}:00"
        megabytes = slurm_reservation.megabytes(experiment, stage)
        assert job["MinMemoryNode"] in (f"{megabytes}M", f"{megabytes / 1024:g}G")


def test_an_array_is_refused_before_anything_is_submitted(tmp_path: Path) -> None:
    project, before = Project.prepare(tmp_path), states()
    with project.submitting("--slurm-array-jobs", "train", "--", "demo") as snakemake:
        wait_until(lambda: snakemake.poll() is not None, "it has refused")
    assert snakemake.returncode == 1
    assert (
        "--slurm-array-jobs would judge every training of an array by the results of the first one" in project.printed
    )
    assert "Traceback" not in project.printed
    assert states().keys() <= before.keys()
