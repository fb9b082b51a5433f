"""What survives a kill: checkpoints written whole, with their digest in their name, two of them kept."""

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import torch

from eps_resnet.files import write_atomically

KEPT = 2


def save(folder: Path, epoch: int, state: dict[str, Any]) -> None:
    """Writes the state after an epoch, then removes all but the two latest checkpoints. Raises OSError (no space)."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:16]
    write_atomically(folder / f"epoch-{epoch:05d}-{digest}.pt", lambda temporary: temporary.write_bytes(content))
    for old in _newest_first(folder)[KEPT:]:
        old.unlink()


def load(folder: Path) -> dict[str, Any] | None:
    """The latest undamaged state, or None. A damaged file is passed over for the one before it."""
    for path in _newest_first(folder):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] == path.stem.rsplit("-", 1)[-1]:
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            return state
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*.pt"), reverse=True)


def remove(folder: Path) -> None:
    """Deletes the checkpoints of a finished training, and what a kill may have left beside them."""
    shutil.rmtree(folder, ignore_errors=True)
