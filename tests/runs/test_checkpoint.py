"""Checkpoints: written whole, two kept, damaged ones passed over, those of another training refused."""

import errno
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from eps_resnet.provenance.fingerprints import training_fingerprint, training_parts
from eps_resnet.runs import checkpoint
from eps_resnet.runs.train import train
from tests.conftest import OFTEN

GATED = "digits-8-epsilon_side-2p5-s0"
MADE_FROM = {"recipe": {"weight_decay": 0.012, "batch": 128}, "code": "a"}


def saved(folder: Path, *epochs: int) -> list[Path]:
    """Checkpoints of these epochs, the latest first."""
    for epoch in epochs:
        state = {"weights": torch.full((100,), float(epoch))}
        checkpoint.save(folder, state, {"epoch": epoch, "step": 10 * epoch, "made_from": MADE_FROM})
    return checkpoint.found(folder)


def epoch_of(folder: Path) -> int | None:
    found = checkpoint.load(folder, MADE_FROM)
    if found is None:
        return None
    state, facts = found
    assert torch.equal(state["weights"], torch.full((100,), float(facts["epoch"])))
    return int(facts["epoch"])


def test_two_checkpoints_are_kept_and_the_latest_is_taken(tmp_path: Path) -> None:
    assert epoch_of(tmp_path) is None
    assert len(saved(tmp_path, 1, 2, 3, 10)) == 2
    assert epoch_of(tmp_path) == 10


@pytest.mark.parametrize("place", [0, 7, 8, 100, 300, -400, -1])
def test_the_older_one_is_taken_where_a_byte_of_the_newer_is_flipped(tmp_path: Path, place: int) -> None:
    newer, _ = saved(tmp_path, 1, 2)
    content = bytearray(newer.read_bytes())
    content[place] ^= 0x40
    newer.write_bytes(content)
    assert epoch_of(tmp_path) == 1


@pytest.mark.parametrize("length", [0, 1, 8, 200, -1])
def test_the_older_one_is_taken_where_the_newer_is_truncated(tmp_path: Path, length: int) -> None:
    newer, _ = saved(tmp_path, 1, 2)
    newer.write_bytes(newer.read_bytes()[:length])
    assert epoch_of(tmp_path) == 1


def test_without_an_undamaged_one_training_starts_from_the_beginning(tmp_path: Path) -> None:
    for path in saved(tmp_path, 1, 2):
        path.write_bytes(b"")
    assert epoch_of(tmp_path) is None


def test_a_checkpoint_of_another_training_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    other = {"recipe": {"weight_decay": 0.02, "batch": 128}, "code": "b"}
    with pytest.raises(UserError, match="belongs to another training") as error:
        checkpoint.load(tmp_path, other)
    assert "recipe.weight_decay was 0.012, is 0.02" in str(error.value)
    assert "the code in eps_resnet/method and eps_resnet/data/decode.py was changed" in str(error.value)
    assert "batch" not in str(error.value)


def planted(folder: Path, content: bytes) -> Path:
    """A file with the name that a checkpoint of that content would have."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"epoch-00001-step-000000011-{sha256(content).hexdigest()[: checkpoint.DIGITS]}.safetensors"
    path.write_bytes(content)
    return path


class Planted:
    """What a pickle can do when it is loaded: run a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


@pytest.mark.parametrize("save", [pickle.dumps, lambda thing: _torch_saved(thing)], ids=["pickle", "torch.save"])
def test_a_planted_pickle_is_refused_and_not_executed(tmp_path: Path, save: object) -> None:
    planted(tmp_path, save(Planted(tmp_path / "executed")))  # type: ignore[operator]
    with pytest.raises(UserError, match="is damaged"):
        checkpoint.load(tmp_path, MADE_FROM)
    assert not (tmp_path / "executed").exists()


def _torch_saved(thing: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def test_a_state_that_does_not_fit_the_network_ends_with_a_sentence(small: tuple[Registry, Layout]) -> None:
    experiment = small[0].experiment(GATED, small[1])
    work, made_from = experiment.layout.work(training_fingerprint(experiment)), training_parts(experiment)
    checkpoint.save(work, {"network.stem": torch.ones(2)}, {"epoch": 1, "step": 11, "made_from": made_from})
    with pytest.raises(UserError, match=r"(?s)do not fit this network .* Delete that folder"):
        train(experiment, torch.device("cpu"), 1)


def test_a_checkpoint_that_cannot_be_written_leaves_the_older_ones(
    small: tuple[Registry, Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, write = small[0].experiment(GATED, small[1]), checkpoint.write_atomically
    written: list[Path] = []

    def fill(path: Path, content: Callable[[Path], object]) -> None:
        written.append(path)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(checkpoint, "SECONDS", -1)
    monkeypatch.setattr(checkpoint, "write_atomically", fill)
    with pytest.raises(OSError, match="No space left"):
        train(experiment, torch.device("cpu"), 1)
    kept = experiment.layout.work(training_fingerprint(experiment))
    assert checkpoint.found(kept) == [written[1], written[0]]
    found = checkpoint.load(kept, training_parts(experiment))
    assert found is not None
    assert found[1]["step"] == 2


@pytest.mark.slow
def test_no_space_for_a_checkpoint_stops_with_a_sentence_and_keeps_the_last_good_one(
    small: tuple[Registry, Layout],
) -> None:
    """On a file system that has room for two checkpoints of this network and half of a third."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("`unshare -m` is not permitted here: a small file system cannot be mounted")
    experiments, layout = small
    experiment, tmp_path = experiments.experiment(GATED, layout), layout.root
    (tmp_path / "work").mkdir()
    options = f"train {GATED} --root {tmp_path} --registry {tmp_path}/experiments.yaml"
    script = (
        f"mount -t tmpfs -o size=2M tmpfs {tmp_path}/work; {sys.executable} -c '{OFTEN}' {options}; "
        f"echo code $?; cp -r {tmp_path}/work {tmp_path}/kept"
    )
    command = ["unshare", "-m", "bash", "-c", script]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "code 1" in process.stdout, process.stderr
    assert "cannot be written: No space left on device" in process.stderr
    assert "Traceback" not in process.stderr
    kept = tmp_path / "kept" / training_fingerprint(experiment)
    assert checkpoint.load(kept, training_parts(experiment)) is not None
    assert list(kept.glob(".*.part")) == []
