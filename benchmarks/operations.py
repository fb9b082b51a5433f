"""Counts the operations that PyTorch is asked for, and the bytes they move: figures that no machine changes."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.measure import Line
from benchmarks.trainings import BATCH, CHANNELS, SIZE, experiment_of, run_of, step_of, training_of
from eps_resnet.method.loop import train_step
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.method.networks.resnet import ResNet
from eps_resnet.method.state import Training

ITEM, HALVED = "6 GPU", 110  # and the depth of what is counted in two precisions
CLOSED = 0.8  # of the blocks, as many as a deep training discards
# By depth: the most operations that a step may have, all gates open, and with these blocks expected closed, and closed.
LIMITS = {20: (242, 169), 110: (1_097, 628), 752: (7_196, 3_902)}
VIEWS = ("view", "detach", "alias", "split", "slice", "select", "permute", "expand", "unsqueeze", "t", "as_strided")
SPACE = ("empty", "empty_like", "new_empty")  # memory set aside
MARKS = ("_record_function_enter_new", "_record_function_exit")  # for a profiler
NOTHING = frozenset((*VIEWS, *SPACE, *MARKS))  # what a device is not asked to do
MISSING = "_fused_sgd_"  # on tensors without values


class Operations(TorchDispatchMode):
    """Within, counts operations by name, and the bytes of what they are given and give; not those of `NOTHING`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self.cast: list[torch.Size] = []  # the shapes of what was copied to another precision
        self.sent = 0  # how often something of the CPU was copied to another device, which waits for it

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        is_missing = name == MISSING and args[0][0].is_meta
        result: Any = None if is_missing else func(*args, **(kwargs or {}))
        if name not in NOTHING:
            self.counts[name] += 1
            self.bytes += sum(leaf.nbytes for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor))
        if name == "_to_copy":
            self.cast += [args[0].shape] * (args[0].dtype != result.dtype)
            self.sent += bool(args[0].device.type == "cpu" != result.device.type and result.numel())
        return result


def operations(work: Callable[[], object]) -> Counter[str]:
    """How often each operation was asked for."""
    return counted(work).counts


def counted(work: Callable[[], object]) -> Operations:
    """What was asked for."""
    asked = Operations()
    with asked:
        work()
    return asked


def meta(*shape: int) -> Tensor:
    """A tensor on no device at all, whose operations are those of a GPU: it is no CPU."""
    return torch.empty(shape, device="meta")


def lines(cores: int) -> list[Line]:
    """A step's operations and bytes at each depth, and its bytes in bfloat16 against float32."""
    found = [_counted(depth, which, cores) for depth in LIMITS for which in (0, 1)]
    return [*found, _precisions(cores)]


def _counted(depth: int, which: int, cores: int) -> Line:
    step = step_of_a_card(depth, (0.0, CLOSED)[which])
    state = ("all gates open", f"{CLOSED:.0%} of the blocks expected closed")[which]
    number = step.counts.total()
    note = f"{step.bytes / 1e9:.3g} GB read and written; counted from shapes, which needs no card"
    what = f"operations of a step, ResNet-{depth}, {state}"
    return Line(ITEM, what, number, number, number, cores, LIMITS[depth][which], unit="operations", note=note)


def _precisions(cores: int) -> Line:
    moved = []
    for precision in ("bfloat16", "float32"):
        moved.append(counted(step_of(training_of(HALVED, precision=precision))).bytes)
    share = moved[0] / moved[1]
    note = f"{moved[0] / 1e9:.3g} GB against {moved[1] / 1e9:.3g} GB; counted in steps on the CPU"
    what = f"bytes of a step in bfloat16 / in float32, ResNet-{HALVED}"
    return Line(ITEM, what, share, share, share, cores, at_most=0.6, note=note)


def step_of_a_card(depth: int, closed: float) -> Operations:
    """What a card is asked for in a step of so many layers, this share of the blocks expected closed and closed.

    Counted on tensors without values, as on any device that is no CPU, late gates included.
    """
    device = torch.device("meta")
    experiment = experiment_of(run_of(depth))
    with device:
        network = ResNet(architecture_of(experiment))
    training = Training(experiment, network.place(device))
    network.train()
    network.set_epsilon(1.0)
    network.expect_closed([index % 5 >= 5 * (1 - closed) for index in range(len(network.blocks))])
    inputs, labels = meta(BATCH, CHANNELS, SIZE, SIZE), torch.empty(BATCH, dtype=torch.long, device=device)
    with _without_values():
        return counted(lambda: training.count_step(*train_step(training, inputs, labels, 0.1), labels))


@contextmanager
def _without_values() -> Iterator[None]:
    """Within, a step can be made of tensors that have none: what is read of them is 1, so that no gate surprises."""
    ones = mock.patch.object(Tensor, "tolist", lambda tensor: [1.0] * tensor.numel())
    any_device = mock.patch("torch.optim.sgd._device_dtype_check_for_fused", return_value=None)
    full_precision = mock.patch.object(torch, "autocast", return_value=nullcontext())
    with ones, any_device, full_precision:
        yield
