"""Where a training runs: the guard against paper-sized runs on a CPU, one card per process, threads."""

import os
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.files import lock
from eps_resnet.files.errors import UserError
from eps_resnet.runs.cost import cpu_core_days, training_multiply_adds

if TYPE_CHECKING:
    import torch

# torch takes seconds to import, and says alone for sure whether it can use a card: it is asked where a training that
# needs one is due. Snakemake's guard, and what it says where there is none, need it for nothing else.
_claims: list[IO[str]] = []  # open lock files: a card stays claimed as long as its process lives


def has_gpu() -> bool:
    """Whether PyTorch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()


def refusal(experiments: Iterable[Experiment]) -> str:
    """Why these trainings are not started on this machine, what they would cost, and what to do instead."""
    costs = [training_multiply_adds(experiment) for experiment in experiments]
    total = sum(costs)
    return (
        f"No GPU here, and {len(costs)} of the trainings asked for need one. On one core of a CPU they would take "
        f"about {cpu_core_days(total):,.0f} days ({total:.2g} multiply-adds; docs/cost.md says how this is computed). "
        "Nothing was fetched or trained. `make demo` shows the same steps in minutes; to train on the CPU all the "
        "same, set EPS_RESNET_ALLOW_CPU=1."
    )


def cpu_is_allowed() -> bool:
    """Whether the user has overridden the guard."""
    return os.environ.get("EPS_RESNET_ALLOW_CPU") == "1"


def choose(experiment: Experiment, sharing: int = 1) -> "torch.device":
    """The device a run trains on: the CPU if its recipe says so, else a free card, else the CPU if the user allows it.

    `sharing`: how many trainings may use one card; the processes of a data-parallel one never share theirs.
    Raises UserError where the recipe needs a GPU and there is none, or every card is claimed by another training.
    """
    import torch

    if experiment.recipe.device == "cpu":
        return torch.device("cpu")
    if has_gpu():
        card = torch.device("cuda", claim_card(cards(), sharing))
        torch.cuda.set_device(card)  # what the processes of a data-parallel training talk through
        return card
    if not cpu_is_allowed():
        raise UserError(refusal([experiment]))
    return torch.device("cpu")


def cards() -> list[str]:
    """The cards that this process sees, each by the name that it has for every process, in the order of their indices.

    Indices will not do: where a cluster shows each job its own cards alone, the first card of every job is 0.
    """
    import torch

    return [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]


def claim_card(cards: list[str], sharing: int = 1) -> int:
    """The index of one of these cards that this process may use, with `sharing` - 1 others that say so too.

    Snakemake counts cards but assigns none, so each training locks one place of a card for as long as it lives. Cards
    fill up evenly. Whoever shares cards at the same time has to say the same `sharing`. Raises UserError if there is no
    place left.
    """
    for place, (index, name) in product(range(sharing), enumerate(cards)):
        file = lock.claim(Path(tempfile.gettempdir(), f"eps-resnet-gpu-{name}-{place}.lock"))
        if file:
            _claims.append(file)
            return index
    shared = f", each by {sharing}" if sharing > 1 else ""
    raise UserError(
        f"All {len(cards)} GPUs are claimed by other trainings{shared}; start snakemake with "
        f"`--resources gpu={len(cards) * sharing}`."
    )
