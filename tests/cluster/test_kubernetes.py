"""Kubernetes: the profile, the pods that the plugin makes of the workflow, what the cluster holds, the Containerfile.

There is no cluster here: pods are submitted to a stand-in (tests/pods.py), which runs them as processes.
"""

import copy
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import snakemake_executor_plugin_kubernetes as plugin
import yaml
from dockerfile_parse import DockerfileParser
from snakemake.cli import parse_args
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from eps_resnet.cluster import slurm_reservation
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from tests.cluster.pods import VERSIONS, Cluster, RefusedError, check, cluster
from tests.conftest import PROJECT, copy_project, jobs, run, small_registry
from tests.operations.test_working_folder import running

pytestmark = pytest.mark.slow  # starts real processes, for seconds each

PROFILE = ("snakemake", "--profile", "profiles/kubernetes")
KEY = "digits-8-standard-s0"
TRAINED, EVALUATED = f"results/{KEY}/manifest.json", f"results/{KEY}/metrics.json"
OTHER = "results/digits-8-standard_side-s0/manifest.json"
RESULTS = ("model.safetensors", "history.csv", "blocks.parquet", "pruned.safetensors", "metrics.json")


def call(project: Path, *options: str) -> tuple[str, ...]:
    """The call of Snakemake whose pods mount the project's folder, and which waits no longer than it must."""
    volume = ("--kubernetes-persistent-volumes", f"eps-resnet:{project}")
    return (*PROFILE, *volume, "--seconds-between-status-checks", "1", "--latency-wait", "5", *options)


@pytest.fixture
def cloud(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster, to which the environment leads."""
    folder = tmp_path_factory.mktemp("cluster")
    monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig"))
    with cluster(folder) as state:
        yield state


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cluster]:
    """A project in which a run was trained and evaluated on a cluster, and that cluster."""
    project, folder = copy_project(tmp_path_factory.mktemp("project")), tmp_path_factory.mktemp("cluster")
    with cluster(folder) as state:
        run(project, *call(project, "--", EVALUATED), KUBECONFIG=str(folder / "kubeconfig"))
    return project, state


@pytest.fixture
def fetched(ran: tuple[Path, Cluster], project: Path) -> Path:
    """A project in which nothing is done yet but fetching the images."""
    shutil.copytree(ran[0] / "data", project / "data")
    return project


def profile() -> dict[str, Any]:
    return yaml.safe_load(Path("profiles/kubernetes/profile.yaml").read_text())


def the_container(pod: dict[str, Any]) -> dict[str, Any]:
    """The one container of a pod's specification."""
    (container,) = pod["containers"]
    return container


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    """The specification of the pod that a job makes."""
    return job["spec"]["template"]["spec"]


# The profile


def test_the_profile_plans_the_demo(project: Path) -> None:
    plan = run(project, *PROFILE, "--dry-run", "--", "demo")
    steps = {"fetch": 1, "train": 3, "evaluate": 3, "figure": 2, "demo": 1}
    assert jobs(plan) == {**steps, "total": 10}


def test_the_profile_plans_the_whole_paper_where_there_is_no_gpu(tmp_path: Path) -> None:
    plan = run(PROJECT, *PROFILE, "--dry-run", "--config", f"root={tmp_path}", "--", "all", CUDA_VISIBLE_DEVICES="")
    assert jobs(plan)["train"] == 50


def test_every_key_of_the_profile_is_an_option_of_snakemake_or_of_the_plugin() -> None:
    parser, arguments = parse_args([*PROFILE[1:], "demo"])
    assert {f"--{key}" for key in profile()} <= set(parser._option_string_actions)
    assert arguments.executor == "kubernetes"
    settings = ExecutorPluginRegistry().get_plugin("kubernetes").get_settings(arguments)
    volume = plugin.PersistentVolume("eps-resnet", Path("/volume"))
    assert settings == plugin.ExecutorSettings(namespace="default", persistent_volumes=[volume])


@pytest.mark.parametrize(("key", "value", "code"), [("kubernetes-gpus", 4, 2), ("retry", 3, 2), ("jobs", "many", 1)])
def test_a_key_or_value_that_is_none_of_theirs_is_refused(project: Path, key: str, value: object, code: int) -> None:
    path = project / "profiles/kubernetes/profile.yaml"
    path.write_text(yaml.safe_dump({**profile(), key: value}))
    assert f"--{key}" in run(project, *PROFILE, "--dry-run", "--", "demo", expect=code)


# The pods


def test_a_run_in_pods_has_the_bytes_of_one_on_this_machine(ran: tuple[Path, Cluster], project: Path) -> None:
    run(project, "snakemake", "--cores", "1", "--", EVALUATED)
    for name in RESULTS:
        assert (ran[0] / f"results/{KEY}/{name}").read_bytes() == (project / f"results/{KEY}/{name}").read_bytes()
    assert "Nothing to be done" in run(ran[0], "snakemake", "--cores", "1", "--", EVALUATED)


def test_training_and_evaluation_get_a_pod_each_which_is_deleted(ran: tuple[Path, Cluster]) -> None:
    commands = [the_container(pod_of(job))["args"][1] for job in ran[1].jobs]
    assert [re.search(r"--target-jobs '(\w+):", command)[1] for command in commands] == ["train", "evaluate"]
    assert ran[1].pods == {}


def test_a_pod_has_the_image_the_volume_the_folder_and_the_memory_of_its_rule(ran: tuple[Path, Cluster]) -> None:
    project, state = ran
    pod = pod_of(state.jobs[0])
    container = the_container(pod)
    assert container["image"] == profile()["container-image"]
    assert {"name": "eps-resnet", "persistentVolumeClaim": {"claimName": "eps-resnet"}} in pod["volumes"]
    assert {"name": "eps-resnet", "mountPath": str(project)} in container["volumeMounts"]
    assert {"name": "shm", "emptyDir": {"medium": "Memory"}} in pod["volumes"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in container["volumeMounts"]
    assert container["workingDir"] == str(project)
    experiment = registry.load(project / "config/experiments.yaml").experiment(KEY, Layout(project))
    memory = f"{slurm_reservation.megabytes(experiment, 'train')}M"
    assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"] == memory
    assert container["args"][1].lstrip().startswith("python -m snakemake ")  # that of the image
    assert "securityContext" not in str(pod)  # so the image's user, who is not root
    assert pod["restartPolicy"] == "Never"
    assert state.jobs[0]["spec"]["backoffLimit"] == 0  # Snakemake starts it again


def test_trainings_on_gpus_ask_for_a_card_each_and_do_not_wait_for_each_other(fetched: Path, cloud: Cluster) -> None:
    small_registry(fetched / "config/experiments.yaml", {"device": "gpu"})
    output = run(fetched, *call(fetched, "--retries", "0", "--", TRAINED, OTHER), expect=1, CUDA_VISIBLE_DEVICES="")
    assert "Execute 2 jobs..." in output  # though profiles/default has one card, for one machine
    assert len(cloud.jobs) == 2
    for job in cloud.jobs:
        resources = the_container(pod_of(job))["resources"]
        assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "1"
    assert "No GPU here" in output  # which the trainings said, in their pods


def test_a_card_without_a_limit_would_be_refused(ran: tuple[Path, Cluster]) -> None:
    job = copy.deepcopy(ran[1].jobs[0])
    check(job)
    the_container(pod_of(job))["resources"] = {"requests": {"nvidia.com/gpu": "1"}}
    with pytest.raises(RefusedError, match="Limit must be set"):
        check(job)


# What goes wrong


def pod_once(state: Cluster, process: subprocess.Popen[str], condition: Callable[[], bool]) -> str:
    """The name of the first pod, as soon as the condition holds."""
    while not (state.pods and condition()):
        assert process.poll() is None
        time.sleep(0.05)
    return next(iter(state.pods))


def log_of(project: Path) -> str:
    """What the training has said so far."""
    log = project / f"logs/train/{KEY}.log"
    return log.read_text() if log.exists() else ""


@pytest.mark.faults
def test_a_training_whose_node_is_taken_away_resumes_in_another_pod(fetched: Path, cloud: Cluster) -> None:
    small_registry(fetched / "config/experiments.yaml", {"epochs": {"standard": 10, "epsilon": 10}})
    module = fetched / "eps_resnet/runs/checkpoint.py"
    module.write_text(module.read_text().replace("\nSECONDS = 60 ", "\nSECONDS = -1 "))  # after every step
    with running(fetched, *call(fetched, "--", TRAINED), until="Training") as process:
        name = pod_once(cloud, process, lambda: "epoch 3/10" in log_of(fetched))
        cloud.pods[name].kill()
        output = process.communicate()[0]
    assert process.returncode == 0, output
    assert f"Job {name} failed" in output
    assert len(cloud.jobs) == 2
    assert int(re.search(r"epoch (\d+)/10", log_of(fetched))[1]) >= 3  # of the second pod's first line


@pytest.mark.faults
def test_a_pod_that_fails_stops_no_other_and_what_it_said_is_kept(fetched: Path, cloud: Cluster) -> None:
    with running(fetched, *call(fetched, "--retries", "0", "--", TRAINED, OTHER), until="Execute 2 jobs") as process:
        pod_once(cloud, process, lambda: "epoch 1/" in log_of(fetched))
        name = next(job["metadata"]["name"] for job in cloud.jobs if KEY in str(job))
        cloud.pods[name].kill()
        output = process.communicate()[0]
    assert process.returncode == 1, output
    assert (fetched / OTHER).exists()
    assert not (fetched / TRAINED).exists()
    said = fetched / f".snakemake/auxiliary/kubernetes-logs/{name}.log"
    assert f"Training {KEY}" in said.read_text()
    assert cloud.pods == {}


@pytest.mark.faults
def test_former_results_outlive_a_pod_that_trains_them_anew_and_fails(
    ran: tuple[Path, Cluster], project: Path, cloud: Cluster
) -> None:
    shutil.copytree(ran[0], project, dirs_exist_ok=True)
    former = (project / f"results/{KEY}/model.safetensors").read_bytes()
    small_registry(project / "config/experiments.yaml", {"batch": 5000})  # more images than there are
    run(project, *call(project, "--retries", "0", "--", TRAINED), expect=1)
    assert len(cloud.jobs) == 1
    assert (project / f"results/{KEY}/model.safetensors").read_bytes() == former


def test_snakemakes_pod_may_do_exactly_what_it_does(fetched: Path, cloud: Cluster) -> None:
    small_registry(fetched / "config/experiments.yaml", {"batch": 5000})  # more images than there are
    run(fetched, *call(fetched, "--retries", "0", "--", TRAINED), expect=1)
    rules = cluster_objects()["Role"]["rules"]
    assert cloud.requests == {(verb, name) for rule in rules for name in rule["resources"] for verb in rule["verbs"]}


@pytest.mark.faults
def test_a_cluster_that_does_not_answer_for_a_while_costs_no_job(fetched: Path, cloud: Cluster) -> None:
    cloud.outage = 3
    output = run(fetched, *call(fetched, "--retries", "0", "--", TRAINED))
    assert "request timed out" in output
    assert cloud.outage == 0


@pytest.mark.faults
def test_a_job_that_somebody_deleted_is_started_again(fetched: Path, cloud: Cluster) -> None:
    with running(fetched, *call(fetched, "--", TRAINED), until="Training") as process:
        name = pod_once(cloud, process, lambda: True)
        cloud.answer("delete", "jobs", name, {}, {})
        output = process.communicate()[0]
    assert process.returncode == 0, output
    assert f"Unknown job {name}" in output
    assert len(cloud.jobs) == 2


@pytest.mark.faults
def test_an_interrupted_call_takes_its_pods_along(fetched: Path, cloud: Cluster) -> None:
    small_registry(fetched / "config/experiments.yaml", {"epochs": {"standard": 2000, "epsilon": 2}})
    with running(fetched, *call(fetched, "--", TRAINED), until="Training") as process:
        pod_once(cloud, process, lambda: "epoch 2/" in log_of(fetched))
        process.send_signal(signal.SIGINT)
        output = process.communicate()[0]
    assert process.returncode == 1, output
    assert cloud.pods == {}


def test_a_folder_that_no_pod_sees_is_refused_before_anything_is_submitted(project: Path, cloud: Cluster) -> None:
    elsewhere = run(project, *PROFILE, "--", TRAINED, expect=1)
    assert f"{project} is on no volume that the pods mount" in elsewhere
    assert "mounted are: /volume" in elsewhere
    with_root = call(project, "--config", f"root={project.parent}", "--", f"{project.parent}/{TRAINED}")
    root = run(project, *with_root, expect=1)
    assert f"{project.parent} is on no volume" in root
    assert "Traceback" not in elsewhere + root
    assert cloud.jobs == []


def test_the_plugin_alone_still_needs_what_pods_py_adds() -> None:
    assert plugin.common_settings.implies_no_shared_fs
    source = Path(plugin.__file__).read_text()
    assert 'container.working_dir = "/workdir"' in source
    assert "previous=True" in source
    assert "/dev/shm" not in source


# What is in the cluster, and the image


def cluster_objects() -> dict[str, dict[str, Any]]:
    """What cluster.yaml makes, by kind."""
    return {item["kind"]: item for item in yaml.safe_load_all(Path("profiles/kubernetes/cluster.yaml").read_text())}


def instructions(kind: str) -> list[str]:
    """What the Containerfile says for one kind of instruction, in order."""
    with Path("Containerfile").open("rb") as file:
        parsed = DockerfileParser(fileobj=file).structure
    assert {item["instruction"] for item in parsed} <= {"COMMENT", "FROM", "RUN", "WORKDIR", "COPY", "USER"}
    return [item["value"] for item in parsed if item["instruction"] == kind]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_cluster_is_given_fits_the_schemas(version: str) -> None:
    objects = cluster_objects()
    assert list(objects) == ["PersistentVolumeClaim", "ServiceAccount", "Role", "RoleBinding", "Pod"]
    for item in objects.values():
        kubernetes_validate.validate(item, version, strict=True)


def test_snakemakes_pod_has_the_image_the_volume_and_the_rights_of_the_profile() -> None:
    objects, (volume,) = cluster_objects(), profile()["kubernetes-persistent-volumes"]
    claim, path = volume.split(":")
    pod = objects["Pod"]["spec"]
    assert objects["PersistentVolumeClaim"]["metadata"]["name"] == claim
    assert pod["volumes"] == [{"name": claim, "persistentVolumeClaim": {"claimName": claim}}]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["image"] == profile()["container-image"]
        assert container["volumeMounts"] == [{"name": claim, "mountPath": path}]
    assert [the_container(pod)["workingDir"]] == instructions("WORKDIR")
    assert Path(the_container(pod)["workingDir"]).is_relative_to(path)
    assert objects["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": pod["serviceAccountName"]}]
    assert objects["RoleBinding"]["roleRef"]["name"] == objects["Role"]["metadata"]["name"]


def test_the_image_is_named_by_the_packages_version() -> None:
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    assert profile()["container-image"] == f"REGISTRY/eps-resnet:{version}"


def test_the_base_is_pinned_and_has_the_projects_python() -> None:
    (base,) = instructions("FROM")
    wanted = tomllib.loads(Path("pyproject.toml").read_text())["project"]["requires-python"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", base)
    assert wanted == "==3.11.*"


def test_the_image_installs_what_make_setup_installs_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(Path("Makefile").read_text())
    command = ["make", "-n", "setup", "PYTHON=python3.11"]
    planned = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    setup = re.findall(r"\.venv/bin/(python -m pip install .*?)(?: \|\||$)", planned, re.M)
    installs = [command for command in instructions("RUN") if "pip" in command]
    assert [re.sub(" -qq| --progress-bar off", "", command) for command in setup] == [
        command.replace(" --no-cache-dir", "") for command in installs
    ]
    assert installs[0].endswith("--no-deps --require-hashes -r requirements.lock")
    assert len(installs) == 2


def test_the_images_user_is_not_root_and_owns_the_folder_on_the_volume() -> None:
    assert instructions("USER") == ["1000"]
    assert "useradd --uid 1000 --create-home eps" in instructions("RUN")
    (folder,) = cluster_objects()["Pod"]["spec"]["initContainers"]
    assert folder["command"][:-1] == ["install", "-d", "-o", "eps", "-g", "eps"]


def test_the_build_is_sent_what_the_image_copies_and_no_more() -> None:
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    lines = [line for line in Path(".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["*", *(line for line in lines if line.startswith("!")), "**/__pycache__"]
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert all((PROJECT / name).exists() for name in copied)


def test_what_the_image_copies_suffices_to_build_the_package(tmp_path: Path) -> None:
    for line in instructions("COPY"):
        for name in line.split()[:-1]:
            (shutil.copytree if (PROJECT / name).is_dir() else shutil.copy)(PROJECT / name, tmp_path / name)
    build = ["wheel", "-qq", "--no-deps", "--no-build-isolation", "--wheel-dir", "built", "."]
    subprocess.run([sys.executable, "-m", "pip", *build], cwd=tmp_path, check=True)
    (wheel,) = (tmp_path / "built").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(PROJECT)) for path in PROJECT.glob("eps_resnet/**/*.py")}
    assert modules <= names


def test_the_calls_of_snakemake_in_the_documentation_can_be_planned(tmp_path: Path) -> None:
    text = Path("docs/kubernetes.md").read_text()
    calls = re.findall(r"snakemake (--profile profiles/kubernetes [^>\n]*)", text)
    assert calls
    for options in calls:
        run(PROJECT, "snakemake", "--dry-run", "--config", f"root={tmp_path}", *options.split("`")[0].split())
