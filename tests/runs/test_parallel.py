"""Data-parallel training: two real processes (gloo) against one that splits the batch into the same slices."""

import os
import signal
import socket
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from eps_resnet.data.fetch import fetch
from eps_resnet.experiments import registry
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.files import tensors
from eps_resnet.files.errors import UserError
from eps_resnet.method.history import read_blocks, read_history
from eps_resnet.method.networks.resnet import ResNet
from eps_resnet.method.state import Training
from eps_resnet.runs import train as train_module
from eps_resnet.runs.train import train
from tests.conftest import OFTEN, PROJECT, small_registry

GATED = "digits-8-epsilon_side-5p5-s0"
CPU = torch.device("cpu")
# A low rate and few steps: rounding, which differs between one process and two, then does not grow.
RECIPE: dict[str, object] = {"slices": 4, "batch": 64, "epoch_steps": 11, "weight_decay": 0.02, "rate": 0.01}


def prepare(folder: Path, **recipe: object) -> Experiment:
    """A root with the digits, and one run, whose epsilon lies among the largest responses of its slices."""
    path = small_registry(folder / "experiments.yaml", {**RECIPE, **recipe})
    document = yaml.safe_load(path.read_text())
    gated = {**document["runs"]["digits-8-epsilon_side-2p5-s0"], "epsilon": 5.5}
    path.write_text(yaml.safe_dump({**document, "runs": {GATED: gated}, "figures": {}}))
    experiments, layout = registry.load(path), Layout(folder)
    fetch(experiments, layout, "digits")
    return experiments.experiment(GATED, layout)


def options(folder: Path) -> list[str]:
    return ["--registry", str(folder / "experiments.yaml"), "--root", str(folder)]


ONE_NODE = ("--standalone", "--nproc-per-node", "2")
SAVING = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
{OFTEN}
"""


def start(folder: Path, *how: str, program: str = SAVING) -> subprocess.Popen[str]:
    """Starts the training of the gated run by several processes, with a checkpoint after every step."""
    path = folder / "program.py"
    path.write_text(program)
    launch = [sys.executable, "-m", "eps_resnet.torchrun", *how, str(path), "train", GATED, *options(folder)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(launch, cwd=PROJECT, stdout=-1, stderr=-2, text=True, env=environment)


def torchrun(folder: Path) -> str:
    """Trains the gated run by two processes and returns what they printed."""
    process = start(folder, *ONE_NODE)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def train_by_two(experiment: Experiment, port: int) -> None:
    """Trains by two processes, copies of this one, each with the environment that torchrun gives."""

    def one(index: int) -> None:
        os.environ |= {"RANK": str(index), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        train(experiment, CPU, 1)

    processes = [get_context("fork").Process(target=one, args=(index,)) for index in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]


def trained(experiment: Experiment) -> dict[str, bytes]:
    """The bytes that a training leaves, but for those that tell of its machine and hours."""
    return {path.name: path.read_bytes() for path in experiment.files.folder.iterdir() if path.suffix != ".json"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="where PyTorch sees a GPU, a copy of this process cannot train")
@pytest.mark.parametrize("scope", ["slice", "batch"])
def test_two_processes_train_what_one_process_trains_in_the_same_slices(tmp_path: Path, scope: str) -> None:
    one, two = (prepare(tmp_path / name, gate_scope=scope) for name in ("one", "two"))
    train(one, CPU, 1)
    train_by_two(two, free_port())

    closed = [read_blocks(experiment.files.blocks) for experiment in (one, two)]
    pd.testing.assert_series_equal(closed[0]["closed"], closed[1]["closed"])
    assert 0 < closed[0]["closed"].sum() < closed[0]["window"].sum()  # gates of both kinds were met
    histories = [read_history(experiment.files.history) for experiment in (one, two)]
    pd.testing.assert_frame_equal(*histories, rtol=1e-4)
    weights = [tensors.read(experiment.files.model, "")[0] for experiment in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="where PyTorch sees a GPU, a copy of this process cannot train")
@pytest.mark.parametrize("scope", ["slice", "batch"])
def test_two_processes_decide_late_without_looking_for_blocks_left_out_and_train_the_same(
    tmp_path: Path, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on cards: gates stay on the device, and no process skips a backward pass."""
    now, late = (prepare(tmp_path / name, gate_scope=scope) for name in ("now", "late"))
    train_by_two(now, free_port())
    place, finish = ResNet.place, train_module.train_epoch

    def placed(network: ResNet, device: torch.device) -> ResNet:
        place(network, device).set_late(True)
        return network

    def finished(training: Training, *others: Any) -> Any:
        assert not training.model.find_unused_parameters
        result = finish(training, *others)
        assert not training.network.expects_closed()
        rank = os.environ["RANK"]
        torch.save(dict(training.network.named_parameters()), tmp_path / f"weights-{rank}-{training.epoch}")
        return result

    monkeypatch.setattr(ResNet, "place", placed)
    monkeypatch.setattr(train_module, "train_epoch", finished)
    train_by_two(late, free_port())
    assert trained(late) == trained(now)
    for epoch in (1, 2):
        first, second = (torch.load(tmp_path / f"weights-{rank}-{epoch}") for rank in (0, 1))
        assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.slow
def test_a_training_that_lost_a_process_says_so_and_goes_on_to_the_bytes_of_one_left_alone(tmp_path: Path) -> None:
    whole, broken = (prepare(tmp_path / name, epochs={"standard": 4, "epsilon": 4}) for name in ("whole", "broken"))
    torchrun(whole.layout.root)
    process = start(broken.layout.root, *ONE_NODE)
    assert process.stdout
    while "epoch 2/4" not in process.stdout.readline():
        assert process.poll() is None
    workers = subprocess.check_output(["pgrep", "-P", str(process.pid)], text=True).split()
    second = next(pid for pid in workers if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes())
    os.kill(int(second), signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGKILL
    assert "process 0: another of the 2 processes of this training was lost" in output
    assert "process 1 of this training was ended by SIGKILL" in output.splitlines()[-1]
    assert "resumes from the last checkpoint" in output.splitlines()[-1]
    assert "Traceback" not in output

    assert "epoch 1/4" not in torchrun(broken.layout.root)  # it went on
    assert trained(broken) == trained(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("os._exit(7)", 7, "process 1 of this training ended with exit code 7"),
        ("raise UserError('no card here')", 1, "process 1 of this training ended with exit code 1"),
        ("raise torch.OutOfMemoryError('CUDA out of memory.')", 1, "process 1 of this training ended with exit code 1"),
    ],
)
def test_a_process_that_fails_alone_is_named_with_its_exit_code(
    tmp_path: Path, fault: str, code: int, said: str
) -> None:
    prepare(tmp_path)
    program = f"""
import os, sys
sys.path.insert(0, {str(PROJECT)!r})
import torch
from eps_resnet import cli
from eps_resnet.runs import device
from eps_resnet.files.errors import UserError
chosen = device.choose
def choose(*arguments):
    if os.environ["RANK"] == "1":
        {fault}
    return chosen(*arguments)
device.choose = choose
cli.main()
"""
    process = start(tmp_path, *ONE_NODE, program=program)
    output, _ = process.communicate()
    assert process.returncode == code, output
    assert said in output.splitlines()[-1]
    assert "Traceback" not in output
    if code == 1:
        assert "eps-resnet, process 1: " in output


@pytest.mark.slow
def test_two_nodes_of_one_process_train_the_bytes_of_one_node_of_two(tmp_path: Path) -> None:
    one, two = (prepare(tmp_path / name) for name in ("one", "two"))
    torchrun(one.layout.root)
    address = f"127.0.0.1:{free_port()}"
    together = ("--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", address)
    nodes = [start(two.layout.root, *together, "--rdzv-id", "test", "--local-addr", "127.0.0.1") for _ in range(2)]
    for node in nodes:
        output, _ = node.communicate()
        assert node.returncode == 0, output
    assert trained(two) == trained(one)


def test_processes_that_cannot_share_the_slices_evenly_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="2 processes cannot share the 1 slices of a mini-batch evenly"):
        train(prepare(tmp_path, slices=1), CPU, 1)


def in_a_host_without_a_name(*command: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of Python where this machine's name does not resolve."""
    if subprocess.run(["unshare", "-u", "true"], capture_output=True, check=False).returncode:
        pytest.skip("`unshare -u` is not permitted here: the machine cannot have another name")
    script = 'hostname node-without-dns; exec "$@"'
    words = ["unshare", "-u", "sh", "-c", script, "sh", sys.executable, "-m", "eps_resnet.torchrun", *command]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("how", [("--standalone",), ("--nnodes", "1")])
def test_processes_of_one_machine_find_each_other_though_its_name_does_not_resolve(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    # a file for each process: what two of them print at once can be mixed within a line
    (tmp_path / "meet.py").write_text(
        "import pathlib, sys, torch.distributed as d; d.init_process_group('gloo'); d.barrier(); "
        "pathlib.Path(sys.argv[1], f'rank-{d.get_rank()}').touch(); d.destroy_process_group()"
    )
    process = in_a_host_without_a_name(*how, "--nproc-per-node", "2", str(tmp_path / "meet.py"), str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert sorted(path.name for path in tmp_path.glob("rank-*")) == ["rank-0", "rank-1"]


@pytest.mark.slow
def test_on_several_machines_a_name_that_does_not_resolve_is_told_at_once() -> None:
    how = ("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}")
    process = in_a_host_without_a_name(*how, "program.py")
    assert process.returncode == 1
    assert "this machine's name, node-without-dns, does not resolve" in process.stderr
    assert "--local-addr ADDRESS" in process.stderr
    assert "Traceback" not in process.stderr
