"""Trainings that are killed, stopped, damaged and flooded, and end with the bytes of one that was left alone."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eps_resnet.data.fetch import fetch
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.errors import UserError
from eps_resnet.operations.probes import _made_of_digits
from eps_resnet.runs import checkpoint
from tests.conftest import OFTEN, PROJECT, Fault, once, small_registry
from tests.runs.test_checkpoint import MADE_FROM, saved
from tests.runs.test_parallel import GATED as SLICED
from tests.runs.test_parallel import options as of_folder
from tests.runs.test_parallel import prepare

pytestmark = pytest.mark.faults
GATED = "digits-8-epsilon_side-2p5-s0"
EPOCHS = 40
LONG: dict[str, object] = {"epochs": {"standard": EPOCHS, "epsilon": EPOCHS}}
RESULTS = ("model.safetensors", "history.csv", "blocks.parquet", "pruned.safetensors", "metrics.json")


def command(folder: Path, *arguments: str, program: str = OFTEN) -> list[str]:
    options = ["--registry", str(folder / "experiments.yaml"), "--root", str(folder)]
    return [sys.executable, "-c", program, *arguments, *options]


def start(folder: Path, *arguments: str, program: str = OFTEN) -> subprocess.Popen[str]:
    line = command(folder, *arguments, program=program)
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def prepared(folder: Path, recipe: dict[str, object] = LONG) -> Path:
    fetch(registry.load(small_registry(folder / "experiments.yaml", recipe)), Layout(folder), "digits")
    return folder


def finish(folder: Path) -> dict[str, bytes]:
    """Trains what is left of the gated run, prunes and evaluates it, and returns the bytes of its results."""
    for step in ("train", "prune", "evaluate"):
        subprocess.run(command(folder, step, GATED), check=True, capture_output=True)
    return results(folder)


def results(folder: Path) -> dict[str, bytes]:
    return {name: (Layout(folder).run(GATED).folder / name).read_bytes() for name in RESULTS}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of the same run when nothing happens to it."""

    def make(folder: Path) -> None:
        finish(prepared(folder))

    return results(once(tmp_path_factory, "undisturbed", make)[0])


def wait_for_epochs(process: subprocess.Popen[str], count: int) -> bool:
    """Reads a training's lines until so many epochs are finished; False if it ended before."""
    assert process.stderr
    for line in process.stderr:
        count -= "  epoch " in line
        if count <= 0:
            return True
    return False


def interrupt(process: subprocess.Popen[str], number: signal.Signals, draw: random.Random) -> bool:
    """Sends a signal at a random moment of a training; False if it ended before."""
    if not wait_for_epochs(process, draw.randint(1, 2)):
        return False
    try:
        process.wait(timeout=draw.uniform(0, 0.2))
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    return True


def test_killed_at_random_moments_a_run_ends_with_the_same_bytes(
    tmp_path: Path, fault: Fault, undisturbed: dict[str, bytes]
) -> None:
    folder, draw, kills = prepared(tmp_path), random.Random(0), 0
    while True:
        process = start(folder, "train", GATED)
        if not interrupt(process, signal.SIGKILL, draw):
            break
        with fault("SIGKILL of a training at a random moment"):
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
            assert process.returncode in (-signal.SIGKILL, 0)
    assert process.wait() == 0
    assert kills >= 20
    assert finish(folder) == undisturbed


KILLED_AT = """
import os, signal, sys
from eps_resnet.runs import checkpoint
from eps_resnet import cli
checkpoint.SECONDS = -1
left = int(os.environ["KILL_AT"])
def count(event, arguments):
    global left
    path = str(arguments[0]) if arguments else ""
    writes = event == "open" and isinstance(arguments[1], str) and any(c in arguments[1] for c in "wa+")
    if "/work/" in path and ".lock" not in path and (writes or event in ("os.rename", "os.remove")):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
cli.main()
"""


def test_killed_inside_the_writing_of_a_checkpoint_a_run_ends_with_the_same_bytes(
    tmp_path: Path, fault: Fault, undisturbed: dict[str, bytes]
) -> None:
    """Before each of its steps in turn: opening, flushing and renaming the new file, removing the oldest one."""
    folder = prepared(tmp_path)
    for place in range(1, 21):
        with fault("SIGKILL inside the writing of a checkpoint"):
            line = command(folder, "train", GATED, program=KILLED_AT)
            process = subprocess.run(line, capture_output=True, env={**os.environ, "KILL_AT": str(place)}, check=False)
            assert process.returncode == -signal.SIGKILL, process.stderr
    assert finish(folder) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_at_random_moments_a_run_saves_first_and_ends_with_the_same_bytes(
    tmp_path: Path, fault: Fault, undisturbed: dict[str, bytes], number: signal.Signals
) -> None:
    folder, draw = prepared(tmp_path), random.Random(int(number))
    program = "from eps_resnet import cli; cli.main()"  # saves once a minute, so that all depends on saving now
    for _ in range(5):
        with fault(f"{number.name} of a training"):
            process = start(folder, "train", GATED, program=program)
            assert interrupt(process, number, draw)
            assert process.stderr
            last = process.stderr.read().strip().splitlines()[-1]
            assert process.wait() == 128 + number
            assert f"stopped by {number.name} after step" in last
            assert "the same command goes on from there" in last
    assert finish(folder) == undisturbed


def test_processes_that_train_together_stop_together_and_end_with_the_same_bytes(tmp_path: Path, fault: Fault) -> None:
    recipe: dict[str, object] = {"epochs": {"standard": 12, "epsilon": 12}}
    one, two = (prepare(tmp_path / name, **recipe) for name in ("left alone", "stopped"))

    def torchrun(folder: Path) -> subprocess.Popen[str]:
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
        line = [*launch, "--rdzv-endpoint", "localhost:0", "-m", "eps_resnet", "train", SLICED, *of_folder(folder)]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(line, stdout=-3, stderr=-1, text=True, cwd=PROJECT, env=environment)

    torchrun(one.layout.root).communicate()
    assert one.files.manifest.exists()
    for to_all in (False, True):  # torchrun passes it on; Slurm sends it to every process, at a time limit twice
        with fault("SIGTERM of a data-parallel training" + (" and all its processes" if to_all else "")):
            process = torchrun(two.layout.root)
            assert wait_for_epochs(process, 1)
            named = subprocess.run(["pgrep", "-f", str(two.layout.root)], capture_output=True, text=True, check=True)
            everyone = [int(pid) for pid in named.stdout.split()]
            assert len(everyone) == 3
            for pid in everyone * 2 if to_all else [process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            _, printed = process.communicate()
            assert process.returncode != 0
            assert "stopped by SIGTERM after step" in printed
            assert not two.files.manifest.exists()
    torchrun(two.layout.root).communicate()
    for path in (one.files.history, one.files.blocks, one.files.model):
        assert (two.files.folder / path.name).read_bytes() == path.read_bytes()


def test_a_finished_run_is_not_trained_again_wherever_the_end_was_cut_off(tmp_path: Path, fault: Fault) -> None:
    """Killed between its results' files, before the checkpoints are removed and after it."""
    folder = prepared(tmp_path, {})
    expected = finish(prepared(tmp_path / "left alone", {}))
    program = KILLED_AT.replace('"/work/" in path', '("/results/" in path or event == "shutil.rmtree")').replace(
        '("os.rename", "os.remove")', '("os.rename", "os.remove", "shutil.rmtree")'
    )
    for place in range(1, 40):
        with fault("SIGKILL while a finished training writes its results"):
            line = command(folder, "train", GATED, program=program)
            process = subprocess.run(
                line, capture_output=True, text=True, env={**os.environ, "KILL_AT": str(place)}, check=False
            )
            epochs = process.stderr.count("  epoch ")
            assert epochs == (2 if place == 1 else 0), process.stderr  # none is trained twice
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL
    assert "already trained" in process.stderr
    assert finish(folder) == expected


def flips(content: bytes, draw: random.Random) -> Iterator[bytes]:
    for place in [*range(16), *(draw.randrange(len(content)) for _ in range(484))]:
        yield content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]


def truncations(content: bytes, draw: random.Random) -> Iterator[bytes]:
    for length in [0, *(draw.randrange(len(content)) for _ in range(299))]:
        yield content[:length]


@pytest.mark.parametrize(("kind", "damage"), [("flipped bit", flips), ("truncation", truncations)])
def test_a_damaged_checkpoint_is_passed_over_wherever_it_is_damaged(
    tmp_path: Path, fault: Fault, kind: str, damage: object
) -> None:
    newer, _ = saved(tmp_path, 1, 2)
    content = newer.read_bytes()
    for damaged in damage(content, random.Random(0)):  # type: ignore[operator]
        with fault(f"{kind} in a checkpoint"):
            newer.write_bytes(damaged)
            found = checkpoint.load(tmp_path, MADE_FROM)
            assert found is not None
            assert found[1]["epoch"] == 1
            assert torch.equal(found[0]["weights"], torch.ones(100))


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Bytes, or a real checkpoint with parts of it replaced; its length field and its header among them."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300))
    content = bytearray(VALID)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, 200) | st.integers(0, len(content)))
        length = draw(st.integers(0, 12))
        content[place : place + length] = draw(st.binary(max_size=12) | st.sampled_from(ODD))
    return bytes(content)


with tempfile.TemporaryDirectory() as _folder:
    VALID = saved(Path(_folder), 1)[0].read_bytes()
ODD = [
    b"\xff" * 8,
    b"\x00" * 8,
    b'"F64"',
    b"-1",
    b"1e999",
    b"[[[[[[",
    b"NaN",
    b"null",
    b'"facts"',
    b"{}",
    b"99999999999",
]
MEMORY = 200 * 2**20  # bytes by which the process may grow


def test_the_checkpoint_loader_ends_with_a_checkpoint_or_a_sentence_whatever_a_file_holds(
    tmp_path: Path, fault: Fault
) -> None:
    import resource

    name = "epoch-00001-step-000000010-{}.safetensors"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    @settings(
        max_examples=10_000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(files())
    def check(content: bytes) -> None:
        with fault("fuzzed file offered as a checkpoint"):
            path = tmp_path / name.format(sha256(content).hexdigest()[: checkpoint.DIGITS])
            path.write_bytes(content)
            with contextlib.suppress(UserError):
                checkpoint.load(tmp_path, MADE_FROM)
            path.unlink()

    check()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MEMORY


KILLED_WORKER = """
import os, signal
from eps_resnet.method.inputs import jpeg
from eps_resnet.runs import checkpoint
from eps_resnet import cli
checkpoint.SECONDS = -1
left, decoded = int(os.environ["KILL_AT"]), jpeg.decoded
def decoded_until_then(split, index):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), getattr(signal, os.environ["KILL_BY"]))
    return decoded(split, index)
jpeg.decoded = decoded_until_then
cli.main()
"""


def test_a_training_that_lost_an_image_worker_ends_and_goes_on_to_the_same_bytes(tmp_path: Path, fault: Fault) -> None:
    key, images = "jpeg-14-epsilon_side-6p0-s0", _made_of_digits(tmp_path / "images")
    probes = registry.load(PROJECT / "config/probes.yaml")

    def trained(folder: Path, kills: list[tuple[str, int]]) -> bytes:
        fetch(probes, Layout(folder), "jpeg", str(images))
        options = ["--registry", str(PROJECT / "config/probes.yaml"), "--root", str(folder), "--workers", "2"]
        for name, at in kills:
            with fault(f"{name} of an image worker"):
                process = subprocess.run(
                    [sys.executable, "-c", KILLED_WORKER, "train", key, *options],
                    env={**os.environ, "KILL_BY": name, "KILL_AT": str(at)},
                    capture_output=True,
                    text=True,
                    timeout=100,
                    check=False,
                )
                code, words = (1, "was killed (SIGKILL)") if name == "SIGKILL" else (143, "stopped by SIGTERM")
                assert process.returncode == code, process.stderr
                assert words in process.stderr.splitlines()[-1]
        subprocess.run([sys.executable, "-c", OFTEN, "train", key, *options], check=True, capture_output=True)
        return Layout(folder).run(key).model.read_bytes()

    kills = [("SIGKILL", 1), ("SIGKILL", 16), ("SIGTERM", 20), ("SIGKILL", 20), ("SIGTERM", 5)]
    assert trained(tmp_path / "a", kills) == trained(tmp_path / "b", [])
