"""A training step against its bare convolutions, and against the same network in plain eager PyTorch."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.elsewhere import elsewhere
from benchmarks.measure import Line, in_turns, line
from benchmarks.trainings import BATCH, CPU, batch, step_of, training_of
from eps_resnet.method.arithmetic import Precision
from eps_resnet.method.networks.architecture import Architecture, ConvShape

ITEM, DEPTHS = "1 step", (20, 56, 110)
PAIRS = {20: 9, 56: 7, 110: 7}
PRECISIONS: tuple[Precision, Precision] = ("float32", "bfloat16")
LAYOUTS = (torch.channels_last, torch.contiguous_format)
TRIES = 3  # of each shape and layout, to find the better one


@dataclass(frozen=True)
class Place:
    """A convolution with the height and width of its inputs."""

    shape: ConvShape
    side: int
    needs_input_gradient: bool


def lines(cores: int) -> list[Line]:
    """The ratios at each depth, and that of two precisions."""
    found = []
    for depth in DEPTHS:
        training = training_of(depth)
        step, limit = step_of(training), bare_convolutions(training.network.architecture)
        ratio = in_turns(step, limit, PAIRS[depth])
        seconds = f"{ratio.seconds[0]:.3f} s against {ratio.seconds[1]:.3f} s"
        what = f"step / its bare convolutions, each in its best layout, ResNet-{depth}"
        found.append(replace(line(ITEM, what, ratio, cores, at_most=1.5), note=seconds))
        nchw = bare_convolutions(training.network.architecture, LAYOUTS[1:])
        ratio = in_turns(nchw, limit, PAIRS[depth])
        found.append(line(ITEM, f"bare convolutions in NCHW / each in its best layout, ResNet-{depth}", ratio, cores))
        del limit, nchw
        what = f"as fast as a plain eager NCHW step, ResNet-{depth}"
        with elsewhere(f"benchmarks.steps.plain_step({depth})", cores) as plain:
            found.append(line(ITEM, what, in_turns(plain, step, PAIRS[depth]), cores, at_least=1.5))
    return [*found, _halved(cores)]


def _halved(cores: int) -> Line:
    """bfloat16 against float32, which pays where the processor has instructions for it."""
    depth = DEPTHS[0]
    full, half = (step_of(training_of(depth, precision=precision)) for precision in PRECISIONS)
    ratio = in_turns(full, half, PAIRS[depth])
    name = "avx512_bf16"
    has = "has" if name in Path("/proc/cpuinfo").read_text(encoding="utf-8") else "lacks"
    what = f"step in bfloat16: times as fast as in float32, ResNet-{depth}"
    return replace(line(ITEM, what, ratio, cores), note=f"a variant; this processor {has} {name}")


def bare_convolutions(
    architecture: Architecture, layouts: tuple[torch.memory_format, ...] = LAYOUTS, device: torch.device = CPU
) -> Callable[[], object]:
    """All convolutions of a network, forward and backward, nothing else: what a step cannot be faster than.

    Each in the one of the memory layouts that is fastest for it. The first has no gradient of its inputs, as in
    training.
    """
    places = _places(architecture)
    calls = {
        place: min((_in_layout(place, layout, device) for layout in layouts), key=_fastest)
        for place in dict.fromkeys(places)
    }
    return lambda: [calls[place]() for place in places]


def _places(architecture: Architecture) -> list[Place]:
    places, side = [Place(architecture.stem(), 32, False)], 32
    for stage, kept in enumerate(architecture.kept):
        for index in kept:
            for shape in architecture.residual(stage, index):
                places.append(Place(shape, side, True))
                side //= shape.stride
    return places


def _fastest(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(TRIES):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _in_layout(place: Place, layout: torch.memory_format, device: torch.device) -> Callable[[], object]:
    shape, side = place.shape, place.side
    pad = 1 if shape.stride == 1 else 0
    inputs = torch.randn(BATCH, shape.inputs, side + (1 - pad), side + (1 - pad)).to(device, memory_format=layout)
    weight = torch.randn(shape.outputs, shape.inputs, shape.kernel, shape.kernel).to(device, memory_format=layout)
    settings = ([shape.stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1)
    gradient = torch.randn_like(torch.ops.aten.convolution(inputs, weight, None, *settings))
    wanted = [place.needs_input_gradient, True, False]

    def work() -> None:
        torch.ops.aten.convolution(inputs, weight, None, *settings)
        torch.ops.aten.convolution_backward(gradient, inputs, weight, None, *settings, wanted)

    return work


def plain_step(depth: int) -> Callable[[], object]:
    """A step of the same network, side head and gates included, as one writes it down first: NCHW, no fused optimiser.

    The gate multiplies the residual by the paper's nested ReLUs, so that all of the block runs backward too.
    """
    source = training_of(depth)
    network = source.network.to(memory_format=torch.contiguous_format)
    for block in network.blocks:
        block.forward = _plain_block(block)  # type: ignore[method-assign, assignment]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9, weight_decay=2e-4)
    inputs, labels = batch()

    def step() -> None:
        optimizer.zero_grad()
        logits, side = network(inputs)
        assert side is not None
        loss = F.cross_entropy(logits, labels) + 0.1 * F.cross_entropy(side, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _plain_block(block: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        residual = x
        norms, convs = list(block.norms), list(block.convs)  # type: ignore[arg-type]
        for conv in convs[: len(convs) - len(norms)]:
            residual = conv(residual)
        for norm, conv in zip(norms, convs[len(convs) - len(norms) :], strict=True):
            residual = conv(F.relu(norm(residual)))
        shortcut: Tensor = block.shortcut(x)  # type: ignore[operator]
        return shortcut + residual * (residual.abs().max() > 0.0)

    return forward
