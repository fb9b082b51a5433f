"""What pruning saves: a ResNet-110 for 32x32 images against the same network with every fifth block kept.

A speed-up is held to the ratio of multiply-adds: 1 says that the time went down as much as the work. Freed memory is
kept, as `eps-resnet evaluate` does; otherwise page faults take a tenth from large batches' speed-up. Memory is that of
a process of its own, as which this file is run: python -m benchmarks.pruned STEP CORES, one in STEP blocks kept.
"""

import statistics
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks.measure import Line, in_turns, line
from eps_resnet.measure.size import size_of
from eps_resnet.method.networks.architecture import Architecture
from eps_resnet.method.networks.resnet import ResNet, initialise
from eps_resnet.method.streams import stream
from eps_resnet.runs.export import FORMATS, Classifier, program_of

ITEM = "7 pruned"
SIZE, CHANNELS, CLASSES, BLOCKS = 32, 3, 10, 18  # of CIFAR-10's images; blocks per stage
ALL = range(3 * BLOCKS)
STEP = 5  # every fifth block is kept: 80 % pruned, the first blocks of the last two stages among them
GOAL = 0.9
BATCHES = {1: (15, 10), 128: (7, 1)}  # pairs that are timed, and calls in each: a single image takes milliseconds
FIXED_PAIRS = 7  # of the parts that stay, which are only told
PROCESSES = 3  # whose memory is measured
MIB = 2**20


def lines(cores: int) -> list[Line]:
    """Time and memory of the whole and the pruned network, and PyTorch against onnxruntime."""
    with torch.inference_mode():
        speed = [_speed_up(batch, cores) for batch in BATCHES]
        onnx = [_onnx(batch, cores) for batch in BATCHES]
    return [*speed, *_memory(cores), *onnx]


def network(kept: Collection[int]) -> ResNet:
    """A ResNet-110 of drawn weights, without the blocks that are not kept."""
    whole = Architecture("cifar", CHANNELS, CLASSES, (tuple(range(BLOCKS)),) * 3)
    made = ResNet(whole.without([index not in kept for index in ALL]))
    initialise(made, "variance_scaling", stream(0, "weights"))
    return made.eval().to(memory_format=torch.channels_last)


def folded(network: ResNet) -> ResNet:
    """The network with each batch norm that directly follows a convolution folded into it; those after sums stay."""
    network.stem[0], network.stem[1] = _fused(network.stem[0], network.stem[1])
    for block in network.blocks:
        leading = len(block.convs) - len(block.norms)  # convolutions without batch norm before them
        for place in range(1, len(block.convs)):
            pair = block.convs[place - 1], block.norms[place - leading]
            block.convs[place - 1], block.norms[place - leading] = _fused(*pair)
    return network


def _fused(conv: nn.Module, norm: nn.Module) -> tuple[nn.Module, nn.Module]:
    return fuse_conv_bn_eval(conv, norm), nn.Identity()  # type: ignore[type-var, arg-type]


def classifier_of(network: ResNet) -> Classifier:
    """From raw images to logits, as it is exported."""
    return Classifier(network, torch.full((CHANNELS, SIZE, SIZE), 128.0), torch.tensor(128.0))


def raw_images(batch: int) -> Tensor:
    """Drawn pixels: the time does not depend on what is on them."""
    return torch.randint(256, (batch, CHANNELS, SIZE, SIZE), dtype=torch.uint8, generator=stream(0, "images"))


def inputs(batch: int) -> Tensor:
    """Network inputs of such images."""
    return (raw_images(batch) / 128 - 1).contiguous(memory_format=torch.channels_last)


def _repeated(work: Callable[[], object], calls: int) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(calls):
            work()

    return repeat


def _speed_up(batch: int, cores: int) -> Line:
    whole, pruned, bare, images = network(ALL), network(ALL[::STEP]), network(()), inputs(batch)
    pairs, calls = BATCHES[batch]
    run = [_repeated(lambda made=made: made(images), calls) for made in (whole, pruned, bare)]  # type: ignore[misc]
    ratio, fixed = in_turns(run[0], run[1], pairs), in_turns(run[2], run[1], FIXED_PAIRS)
    work = [size_of(made.architecture, SIZE).multiply_adds for made in (whole, pruned, bare)]
    saved = work[0] / work[1]
    share = replace(ratio, median=ratio.median / saved, low=ratio.low / saved, high=ratio.high / saved)
    before, after = (1000 * time / calls for time in ratio.seconds)
    what = "latency of one image" if batch == 1 else f"throughput in batches of {batch}"
    return replace(
        line(ITEM, f"{what}: speed-up by 80 % pruned blocks / ratio of multiply-adds", share, cores, at_least=GOAL),
        note=f"{before:.1f} ms and {after:.1f} ms; {saved:.2f} times fewer multiply-adds. Stem, shortcuts and head, "
        f"which stay, take {fixed.median:.1%} of the pruned network's time with {work[2] / work[1]:.1%} of its "
        "multiply-adds.",
    )


def _own_process(step: int, cores: int) -> str:
    command = [sys.executable, "-m", "benchmarks.pruned", str(step), str(cores)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def _memory(cores: int) -> list[Line]:
    found = []
    for name, step in (("all blocks", 1), ("20 % of the blocks", STEP)):
        peaks = [float(_own_process(step, cores)) / MIB for _ in range(PROCESSES)]
        what = f"memory that a forward pass of 128 images adds, {name}"
        note = "at its peak; of activations, those of one block at a time, however many blocks there are"
        middle = statistics.median(peaks)
        found.append(Line(ITEM, what, middle, min(peaks), max(peaks), cores, unit="MiB", note=note))
    return found


def _peak_of_a_forward(step: int) -> int:
    """Bytes that a process holds at most during a forward pass, less what it holds before it."""
    made = network(ALL[::step])
    with torch.inference_mode():
        made(inputs(2))  # loads code and compiles kernels
        images = inputs(128)
        # getrusage's maximum would not do: a process inherits that of the one that started it.
        # VmHWM, the maximum, is set to what is held now.
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        before = _held("VmRSS")
        made(images)
    return _held("VmHWM") - before


def _held(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.split(f"{name}:")[1].split()[0])


def _onnx(batch: int, cores: int) -> Line:
    """The exported program in onnxruntime against the same in PyTorch, from raw images to logits.

    PyTorch's batch norm is folded into convolutions where it can be, as onnxruntime does by itself.
    """
    images = raw_images(batch)
    classifier = classifier_of(network(ALL[::STEP]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    # Threads that wait by spinning would take PyTorch's cores in its turn.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with TemporaryDirectory() as folder, torch.inference_mode(False):
        path = Path(folder) / "network.onnx"
        FORMATS[path.suffix][0](program_of(classifier, raw_images(2)), path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pairs, calls = BATCHES[batch]
    plain = classifier_of(folded(network(ALL[::STEP])))
    ratio = in_turns(
        _repeated(lambda: plain(images), calls),
        _repeated(lambda: session.run(None, {"images": images.numpy()}), calls),
        pairs,
    )
    seconds = [1000 * time / calls for time in ratio.seconds]
    found = line(ITEM, f"pruned, batch {batch}: onnxruntime's speed / PyTorch's with folded batch norm", ratio, cores)
    return replace(found, note=f"{seconds[1]:.1f} and {seconds[0]:.1f} ms")


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    print(_peak_of_a_forward(int(sys.argv[1])))
