"""What survives a kill: checkpoints written whole, with their digest in their name, two of them kept.

A checkpoint is a safetensors file: named tensors, and JSON for the rest. Nothing in it can be executed.
"""

import hashlib
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eps_resnet.files import interruption, tensors
from eps_resnet.files.atomic import write_atomically
from eps_resnet.files.digests import digest, sha256
from eps_resnet.files.errors import UserError
from eps_resnet.files.interruption import Interrupted
from eps_resnet.method import parallel
from eps_resnet.method.divergence import require_finite_weights
from eps_resnet.method.parallel import is_same
from eps_resnet.method.state import Training
from eps_resnet.provenance.fingerprints import CHECKPOINTS, reasons, training_parts

SECONDS = 60  # between checkpoints: a kill loses at most about this much work; it changes no number
KEPT = 2
DIGITS = 16  # of the SHA-256, in the name


def save(folder: Path, state: dict[str, Tensor], facts: dict[str, Any]) -> Path:
    """Writes a state, then removes all but the two latest checkpoints. Returns its path.

    `facts` hold the finished epochs and steps, which its name tells, and under `made_from` what the training depends
    on. Raises OSError (no space): older ones stay.
    """
    content = tensors.serialised(state, facts)
    digits = hashlib.sha256(content).hexdigest()[:DIGITS]
    path = folder / f"epoch-{facts['epoch']:05d}-step-{facts['step']:09d}-{digits}.safetensors"
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
    for old in found(folder)[KEPT:]:
        old.unlink()
    return path


def load(folder: Path, made_from: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The latest undamaged state and its facts, or None. A damaged file is passed over for the one before it.

    Raises UserError, naming the difference, for a checkpoint of a training that depends on something else.
    """
    for path in found(folder):
        if sha256(path)[:DIGITS] != path.stem.rsplit("-", 1)[-1]:
            continue
        state, facts = tensors.read(path, "delete it; the training resumes from the one before")
        if digest(facts.get("made_from")) != digest(made_from):
            raise UserError(
                f"{path} belongs to another training:\n  "
                + "\n  ".join(reasons(facts.get("made_from"), made_from, "training"))
                + f"\nMove it away from {folder}; this training then starts from what is left there."
            )
        return state, facts
    return None


def found(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the latest first."""
    return sorted(folder.glob(CHECKPOINTS), reverse=True)


def remove(folder: Path) -> None:
    """Deletes the checkpoints of a finished training, and what a kill may have left beside them."""
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Keeper:
    """Saves a training to a folder: about once a minute, at its end, and before it stops for a signal."""

    folder: Path
    training: Training
    device: torch.device

    def __post_init__(self) -> None:
        self.made_from = training_parts(self.training.experiment)
        self.started = self.saved_at = time.monotonic()

    def resume(self, machine: dict[str, Any]) -> None:
        """Continues from the latest checkpoint, if there is one, on this machine, which is recorded if it is another.

        Raises UserError if the checkpoint is of another training or another version of this code.
        """
        training = self.training
        if saved := load(self.folder, self.made_from):
            try:
                training.restore(saved)
            except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
                raise UserError(
                    f"The checkpoints in {self.folder} do not fit this network ({error!s:.200}). Delete that folder to "
                    "train the run from its beginning."
                ) from None
        if not is_same(training.step, self.device):
            raise UserError(f"The processes resume from different steps; do all of them see {self.folder}?")
        self.started -= training.seconds
        if not training.machines or machine != {name: training.machines[-1].get(name) for name in machine}:
            training.machines.append({**machine, "from_step": training.step})

    def after_step(self) -> None:
        """Saves if the last checkpoint is old. Raises Interrupted if a signal asked any process to stop."""
        is_due = time.monotonic() - self.saved_at > SECONDS
        wish = parallel.largest(2 if interruption.received() else int(is_due), self.device)
        if wish == 2:
            raise Interrupted(interruption.received() or signal.SIGTERM)  # or another process received it
        if wish == 1:
            self.save()

    def save(self) -> str:
        """Saves the training and says where. Raises DivergenceError if a weight is not finite, OSError (no space)."""
        training = self.training
        training.gather()
        training.seconds = time.monotonic() - self.started
        if training.share.index == 0:
            require_finite_weights(training.network, training.step)
            state, facts = training.state()
            save(self.folder, state, {**facts, "made_from": self.made_from})
        self.saved_at = time.monotonic()
        return f" after step {training.step}, saved in {self.folder}; the same command goes on from there"

    def last_good(self) -> str:
        """Which checkpoint is the latest, in words."""
        paths = found(self.folder)
        return f"The last good checkpoint is {paths[0]}." if paths else "There is no checkpoint yet."
