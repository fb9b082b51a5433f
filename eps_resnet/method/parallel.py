"""Data-parallel training: the processes that torchrun started, and each one's share of a mini-batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from eps_resnet.experiments.models import Recipe
from eps_resnet.files.errors import UserError

PATIENCE = timedelta(hours=2)  # for process 0, which alone evaluates and writes


@dataclass(frozen=True)
class Share:
    """This process among those that train together. Process 0 evaluates and writes."""

    index: int = 0
    of: int = 1

    def rows(self, batch: int) -> slice:
        """This process's rows of a mini-batch."""
        part = batch // self.of
        return slice(self.index * part, (self.index + 1) * part)


def share_of(recipe: Recipe) -> Share:
    """This process's share, from what torchrun set in the environment; the whole without it.

    Raises UserError where the recipe's slices cannot be divided evenly among the processes.
    """
    share = Share(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
    if recipe.slices % share.of:
        raise UserError(
            f"{share.of} processes cannot share the {recipe.slices} slices of a mini-batch evenly. The recipe's key "
            "`slices` is part of the experiment: start 1 process, or a number that divides it."
        )
    return share


@contextmanager
def joined(share: Share, device: torch.device) -> Iterator[None]:
    """Within, this process works with the others, if there are any.

    Raises UserError where another one was lost: none can go on without it.
    """
    if share.of == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if not _is_of_the_connection(error):
            raise
        words = str(error).splitlines()[0].split("] ", 1)[-1]  # without the place in gloo's source
        raise UserError(
            f"another of the {share.of} processes of this training was lost ({words:.80}). None can go on without it; "
            "the same command, with the same number of processes, resumes from the last checkpoint."
        ) from None
    dist.destroy_process_group()


def _is_of_the_connection(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error)  # gloo has no exception of its own


def distributed(network: nn.Module, share: Share, leaves_out: bool) -> nn.Module:
    """The network with its gradients averaged over all processes, and process 0's running statistics.

    `leaves_out`: a closed gate has no backward pass, as where gates are read at once. DistributedDataParallel must then
    look for such blocks and count their gradient as zero, as other processes may have theirs open. Late gates have one,
    on zeros.
    """
    return network if share.of == 1 else DistributedDataParallel(network, find_unused_parameters=leaves_out)


def is_same(value: int, device: torch.device) -> bool:
    """Whether all processes have the same value; none goes on before all have asked."""
    if not dist.is_initialized():
        return True
    limits = torch.tensor([value, -value], device=device)
    dist.all_reduce(limits, dist.ReduceOp.MAX)
    return bool(limits[0] == -limits[1])


def largest(value: int, device: torch.device) -> int:
    """The largest of all processes' values; none goes on before all have asked."""
    if not dist.is_initialized():
        return value
    greatest = torch.tensor(value, device=device)
    dist.all_reduce(greatest, dist.ReduceOp.MAX)
    return int(greatest)


def all_closed(closed: Tensor) -> Tensor:
    """Whether a gate is closed in every process: the decision of `gate_scope: batch`, one synchronisation per block."""
    if not dist.is_initialized():
        return closed
    flag = closed.to(torch.uint8)
    dist.all_reduce(flag, dist.ReduceOp.MIN)
    return flag.bool()


def combine(closed: Tensor, responses: Tensor, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Over all processes, of each step: gates closed in every slice, largest responses, both (steps, blocks); sums."""
    if not dist.is_initialized():
        return closed, responses, sums
    everywhere, largest = closed.to(sums.device, torch.uint8), responses.to(sums.device)
    dist.all_reduce(everywhere, dist.ReduceOp.MIN)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    dist.all_reduce(sums)
    return everywhere.to("cpu", torch.bool), largest.cpu(), sums
