"""Where a training runs: the guard against paper-sized runs on a CPU, one card per process, threads."""

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from eps_resnet.cost import cpu_core_days, training_multiply_adds
from eps_resnet.errors import UserError
from eps_resnet.registry import Registry

if TYPE_CHECKING:
    import torch

# torch takes seconds to import, and says alone for sure whether it can use a card: it is asked where a training that
# needs one is due. Snakemake's guard, and what it says where there is none, need it for nothing else.
_claims: list[IO[str]] = []  # open lock files: a card stays claimed as long as its process lives


def has_gpu() -> bool:
    """Whether PyTorch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()


def refusal(registry: Registry, keys: list[str]) -> str:
    """Why these trainings are not started on this machine, what they would cost, and what to do instead."""
    total = sum(training_multiply_adds(registry, key) for key in keys)
    return (
        f"No GPU here, and {len(keys)} of the trainings asked for need one. On one core of a CPU they would take about "
        f"{cpu_core_days(total):,.0f} days ({total:.2g} multiply-adds; docs/cost.md says how this is reckoned). "
        "Nothing was fetched or trained. `make demo` shows the same steps in minutes; to train on the CPU all the "
        "same, set EPS_RESNET_ALLOW_CPU=1."
    )


def cpu_is_allowed() -> bool:
    """Whether the user has overridden the guard."""
    return os.environ.get("EPS_RESNET_ALLOW_CPU") == "1"


def choose(registry: Registry, key: str) -> "torch.device":
    """The device a run trains on: the CPU if its recipe says so, else a free card, else the CPU if the user allows it.

    Raises UserError where the recipe needs a GPU and there is none, or every card is claimed by another training.
    """
    import torch

    if registry.datasets[registry.run(key).dataset].recipe.device == "cpu":
        return torch.device("cpu")
    if has_gpu():
        card = torch.device("cuda", claim_card(torch.cuda.device_count()))
        torch.cuda.set_device(card)  # what the processes of a data-parallel training talk through
        return card
    if not cpu_is_allowed():
        raise UserError(refusal(registry, [key]))
    return torch.device("cpu")


def claim_card(count: int) -> int:
    """The index of a card no other process on this machine has claimed. Raises UserError if there is none.

    Snakemake counts cards but assigns none, so each training locks a file per card for as long as it lives.
    CUDA_VISIBLE_DEVICES (set by a cluster, for instance) is part of the file's name: indices count from it.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace("/", "_")
    for index in range(count):
        file = _lock_file(Path(tempfile.gettempdir(), f"eps-resnet-gpu-{visible}-{index}.lock"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _claims.append(file)
        return index
    raise UserError(f"All {count} GPUs are claimed by other trainings; start snakemake with `--resources gpu={count}`.")


def _lock_file(path: Path) -> IO[str]:
    """The file, made if it is not there; that of another user can be locked too, though not be written."""
    try:
        return path.open("a")
    except PermissionError:
        return path.open()
