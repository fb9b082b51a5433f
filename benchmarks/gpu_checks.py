"""What `benchmarks.gpu_check` checks, one function each: on a card at full size, on a CPU small."""

import hashlib
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.steps import bare_convolutions
from benchmarks.trainings import REGISTRY, batch
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.machine import machine
from eps_resnet.method import loop
from eps_resnet.method.arithmetic import Precision, prepare
from eps_resnet.method.certificate import MARGIN, response_bound
from eps_resnet.method.divergence import DivergenceError
from eps_resnet.method.gate import largest_response
from eps_resnet.method.loop import train_step
from eps_resnet.method.networks.architecture import ConvShape
from eps_resnet.method.networks.layers import BatchNorm, Conv
from eps_resnet.method.state import Training

CPU = torch.device("cpu")
NEVER_OPEN, NEVER_CLOSED = 1e30, 0.0  # epsilon
RATE = 0.01  # so low that five steps do not make rounding grow
LOGITS, LOSSES, UNDECIDED = 1e-4, 1e-3, 1e-4  # most that may differ, as shares; so near to epsilon a gate may be either
SAME_MEMORY = 1.05  # a step made again against one that is not
PACKAGES = ("numpy", "pandas", "pyarrow", "pydantic", "safetensors", "PyYAML")


@dataclass(frozen=True)
class Place:
    """Where the checks run, and how large: full on a card, small on a CPU, where gates decide late all the same."""

    device: torch.device
    small: bool
    deadline: float  # of time.monotonic()

    @property
    def depths(self) -> tuple[int, int]:
        """A shallow and a deep network."""
        return (8, 14) if self.small else (20, 110)

    @property
    def deepest(self) -> int:
        """The deepest network of the paper."""
        return 20 if self.small else 752

    @property
    def images(self) -> int:
        """Of a mini-batch."""
        return 8 if self.small else 128

    def inputs(self, seed: int = 0) -> tuple[Tensor, Tensor]:
        """A mini-batch on the device."""
        images, labels = batch(self.images)
        return (images + seed / 10).to(self.device), labels.to(self.device)

    def wait(self) -> None:
        """Until the device has done what it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def run(name: str, seconds: float) -> dict[str, Any]:
    """What a check found, in at most so many seconds (`found`)."""
    has_card = torch.cuda.is_available()
    place = Place(torch.device("cuda" if has_card else "cpu"), not has_card, time.monotonic() + seconds)
    prepare(1 if place.small else min(16, os.cpu_count() or 1))
    return CHECKS[name](place)


def found(holds: bool | None, figures: dict[str, Any], not_run: str = "") -> dict[str, Any]:
    """Whether a check holds (None: it only measures), its figures, and what was not run, in words."""
    return {"holds": holds, "figures": figures, "not_run": not_run}


def _no_card(place: Place, what: str) -> str:
    return what if place.small else ""


def training_on(device: torch.device, depth: int, epsilon: float, late: bool = True, **recipe: Any) -> Training:
    """CIFAR-10's network before its first step, the same weights on any device."""
    run_ = REGISTRY.run("cifar10-110-epsilon_side-2p5-s0").model_copy(update={"depth": depth})
    experiment = REGISTRY.experiment_of(run_, Layout())
    changed = replace(experiment, recipe=experiment.recipe.model_copy(update=recipe))
    training = loop.new_training(changed, device)
    training.network.train()
    training.network.set_epsilon(epsilon)
    training.network.set_late(late)
    return training


def between(depth: int, images: Tensor) -> float:
    """An epsilon that some gates' largest responses exceed at first, and some do not."""
    network = training_on(CPU, depth, NEVER_CLOSED, late=False).network
    with torch.no_grad():
        network(images.cpu())
    responses = sorted(float(gate.response) for gate in network.read_gates())
    middle = len(responses) // 2
    return (responses[middle - 1] + responses[middle]) / 2


def state_of(training: Training) -> dict[str, Tensor]:
    """Weights, statistics and momentum, on the CPU."""
    return {name: tensor.cpu() for name, tensor in training.state()[0].items()}


def digest_of(tensors: dict[str, Tensor]) -> str:
    """A digest of all bytes."""
    found_ = hashlib.sha256()
    for name in sorted(tensors):
        found_.update(tensors[name].contiguous().numpy().tobytes())
    return found_.hexdigest()


def versions(place: Place) -> dict[str, Any]:
    """What runs here."""
    figures: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
    for package in PACKAGES:
        try:
            figures[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            figures[package] = "missing"
    if not place.small:
        figures |= {"card": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
        figures["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        figures["driver"] = machine(place.device, 1, 1)["driver"]
    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    return found(sys.version_info >= (3, 11) and release >= (2, 11), figures, _no_card(place, "all else: no card here"))


def parity(place: Place) -> dict[str, Any]:
    """The same weights and images on the device and on the CPU: first logits, losses and gates of five steps."""
    figures: dict[str, Any] = {}
    holds = True
    for depth in place.depths:
        images, labels = (t.cpu() for t in place.inputs())
        epsilon = between(depth, images)
        here, there = training_on(CPU, depth, epsilon, late=False), training_on(place.device, depth, epsilon)
        logits, losses, gates = 0.0, 0.0, 0
        for step in range(5):
            loss, first = train_step(here, images, labels, RATE)
            other_loss, other = train_step(there, images.to(place.device), labels.to(place.device), RATE)
            if step == 0:
                logits = float((first - other.cpu()).abs().max() / first.abs().max())
            losses = max(losses, float((loss - other_loss.cpu()).abs() / loss))
            pairs = zip(here.network.read_gates(), there.network.read_gates(), strict=True)
            gates += sum(
                bool(a.closed) != bool(b.closed) and abs(float(a.response) / epsilon - 1) > UNDECIDED for a, b in pairs
            )
        holds &= logits <= LOGITS and losses <= LOSSES and gates == 0
        figures |= {f"logits {depth}": logits, f"losses {depth}": losses, f"unequal gates {depth}": gates}
    return found(holds, figures, _no_card(place, "on a card: these are late gates on the CPU"))


def late(place: Place) -> dict[str, Any]:
    """Decisions read at once and late, whatever was expected: the same weights after four steps."""
    depth = place.depths[0]
    epsilon, digests = between(depth, place.inputs()[0]), {}
    blocks = len(training_on(CPU, depth, epsilon).network.blocks)
    expectations = {
        "read at once": None,
        "none expected": [False] * blocks,
        "all expected": [True] * blocks,
        "some expected": [index % 2 == 0 for index in range(blocks)],
    }
    closed = 0.0
    for name, expected in expectations.items():
        training = training_on(place.device, depth, epsilon, late=expected is not None)
        for step in range(4):
            training.network.expect_closed(expected or [False] * blocks)
            train_step(training, *place.inputs(step), RATE)
            closed += sum(bool(gate.closed) for gate in training.network.read_gates())
        digests[name] = digest_of(state_of(training))[:12]
    mixed = 0 < closed < 4 * blocks * len(expectations)
    return found(len(set(digests.values())) == 1 and mixed, {**digests, "closed gates a step": closed / 16})


def not_finite(place: Place) -> dict[str, Any]:
    """NaN and infinity leave gates open, and a loss that is not finite changes no weight."""
    figures: dict[str, Any] = {}
    for precision in (torch.float32, torch.bfloat16):
        for value in (2.5, -2.5, float("nan"), float("inf"), float("-inf")):
            residual = torch.zeros(4, 16, 8, 8, dtype=precision, device=place.device)
            residual = residual.contiguous(memory_format=torch.channels_last)
            residual[1, 3, 2, 5] = value
            seen = float(largest_response(residual))
            right = seen == abs(value) or (seen != seen and value != value)
            figures[f"{str(precision)[6:]} {value}"] = "right" if right else f"wrong: {seen}"
    training = training_on(place.device, place.depths[0], NEVER_CLOSED)
    inputs, labels = place.inputs()
    train_step(training, inputs, labels, RATE)
    names = {f"network.{name}" for name, _ in training.network.named_parameters()}
    before = {name: t for name, t in state_of(training).items() if name in names or name.startswith("momentum.")}
    try:
        train_step(training, inputs * torch.nan, labels, RATE)
        figures["a loss of NaN"] = "not noticed"
    except DivergenceError:
        after = state_of(training)
        same = all(torch.equal(tensor, after[name]) for name, tensor in before.items())
        figures["a loss of NaN"] = "right" if same else "changed weights"
    return found(set(figures.values()) == {"right"}, figures)


def repeatability(place: Place) -> dict[str, Any]:
    """Two trainings, with cuDNN's deterministic algorithms and without: the same bytes, and what the former cost."""
    figures: dict[str, Any] = {}
    seconds = {}
    for fixed in (True, False):
        torch.backends.cudnn.deterministic = fixed
        digests = set()
        for _ in range(2):
            training = training_on(place.device, place.depths[0], NEVER_CLOSED)
            for step in range(3 if place.small else 20):
                train_step(training, *place.inputs(step), RATE)
            digests.add(digest_of(state_of(training)))
        name = "fixed" if fixed else "free"
        figures[name] = "same bytes" if len(digests) == 1 else "other bytes"
        seconds[name] = _seconds(place, partial(train_step, training, *place.inputs(), RATE))
    figures["cost, times"] = seconds["fixed"] / seconds["free"]
    return found(figures["fixed"] == "same bytes", figures, _no_card(place, "cuDNN"))


def waits(place: Place) -> dict[str, Any]:
    """How often a step waits for the device: as often at any depth, and for its decisions once."""
    figures: dict[str, Any] = {}
    for depth in place.depths:
        training = training_on(place.device, depth, NEVER_OPEN)
        inputs, labels = place.inputs()
        training.count_step(*train_step(training, inputs, labels, RATE), labels)
        training.network.expect_closed([True] * len(training.network.blocks))
        count = _syncs if place.device.type == "cuda" else _reads
        figures[f"{depth} layers"] = count(partial(_counted_step, training, inputs, labels))
    return found(set(figures.values()) == {1}, figures, _no_card(place, "set_sync_debug_mode: reads were counted"))


def _counted_step(training: Training, inputs: Tensor, labels: Tensor) -> None:
    training.count_step(*train_step(training, inputs, labels, RATE), labels)


def _syncs(work: Callable[[], object]) -> int:
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in caught)


def _reads(work: Callable[[], object]) -> int:
    reads, really = 0, torch.Tensor.tolist

    def tolist(tensor: Tensor) -> Any:
        nonlocal reads
        reads += 1
        return really(tensor)

    torch.Tensor.tolist = tolist  # type: ignore[method-assign, assignment]
    work()
    torch.Tensor.tolist = really  # type: ignore[method-assign]
    return reads


def memory(place: Place) -> dict[str, Any]:
    """Peak memory of a step of the deepest network: gates open, closed, and a step made again, against the plan's."""
    from eps_resnet.runs import cost

    figures: dict[str, Any] = {}
    for name, epsilon, expected in (("open", 0.0, 0), ("closed", NEVER_OPEN, None), ("made again", 0.0, 1)):
        training = training_on(place.device, place.deepest, epsilon)
        inputs, labels = place.inputs()
        blocks = len(training.network.blocks)
        train_step(training, inputs, labels, RATE)
        training.network.expect_closed([expected is None or index < expected for index in range(blocks)])
        peak = _peak if place.device.type == "cuda" else _kept
        step = partial(train_step, training, inputs, labels, RATE)
        figures[f"{name}, MiB"] = peak(step) / 2**20
        del training
    planned = cost.network_cost(training_on(CPU, place.deepest, 0.0).experiment, place.images)
    held = planned.activation_bytes + (cost.COPIES_IN_MEMORY * planned.parameters * 4 if not place.small else 0)
    figures["planned, MiB"] = held / 2**20
    opened, closed, again = (figures[f"{name}, MiB"] for name in ("open", "closed", "made again"))
    holds = again <= SAME_MEMORY * opened and closed < opened / 2
    return found(holds, figures, _no_card(place, "the allocator: what autograd keeps was counted, with what it shares"))


def _peak(work: Callable[[], object]) -> float:
    torch.cuda.reset_peak_memory_stats()
    work()
    return float(torch.cuda.max_memory_allocated())


def _kept(work: Callable[[], object]) -> float:
    """The most bytes that autograd keeps at a time."""
    alive = most = 0

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal alive, most
            self.tensor = tensor
            alive += tensor.nbytes
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= self.tensor.nbytes

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        work()
    return float(most)


def speed(place: Place) -> dict[str, Any]:
    """Milliseconds of a step, by depth and how it computes; a figure that the time did not suffice for is left out."""
    figures: dict[str, Any] = {"copy, GB/s": _copy_speed(place)}
    not_run = ["CUDA graphs: there are none"]
    for depth in (*place.depths, place.deepest):
        for name, make in _ways(place, depth).items():
            if time.monotonic() > place.deadline - (20 if not place.small else 0):
                not_run.append(f"{name} {depth}: no time left")
                continue
            prepare(torch.get_num_threads(), make.precision)
            work = make.work()
            figures[f"{name} {depth}, ms"] = 1000 * _seconds(place, work, make.times)
            del work
    return found(None, figures, "; ".join(not_run))


@dataclass(frozen=True)
class Way:
    """One way to compute a step."""

    work: Callable[[], Callable[[], object]]
    precision: Precision = "float32"
    times: int = 5


def _ways(place: Place, depth: int) -> dict[str, Way]:
    def step(
        epsilon: float = 0.0, share: float = 0.0, certified: bool = False, nchw: bool = False, **recipe: Any
    ) -> Any:
        def made() -> Callable[[], object]:
            training = training_on(place.device, depth, epsilon, **recipe)
            inputs, labels = place.inputs()
            if nchw:
                training.network.to(memory_format=torch.contiguous_format)
            blocks = training.network.blocks
            for index, block in enumerate(blocks):
                if index % 5 >= 5 * (1 - share):
                    block.epsilon, block.certified = NEVER_OPEN, certified
            training.network.expect_closed([block.epsilon == NEVER_OPEN for block in blocks])
            return lambda: train_step(training, inputs, labels, 0.0)

        return made

    architecture = training_on(CPU, depth, 0.0).network.architecture
    ways = {
        "float32": Way(step()),
        "80 % closed": Way(step(share=0.8)),
        "80 % certified": Way(step(share=0.8, certified=True)),
        "TF32": Way(step(precision="tf32"), "tf32"),
        "bfloat16": Way(step(precision="bfloat16"), "bfloat16"),
    }
    if depth == place.depths[0] and not place.small:
        ways |= {
            "weights NCHW": Way(step(nchw=True)),
            "compiled": Way(step(compiled=True)),
            "bare convolutions": Way(lambda: bare_convolutions(architecture, (torch.channels_last,), place.device)),
        }
    return ways


def _seconds(place: Place, work: Callable[[], object], times: int = 3) -> float:
    work()
    seconds = []
    for _ in range(times):
        place.wait()
        started = time.perf_counter()
        work()
        place.wait()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _copy_speed(place: Place) -> float:
    source = torch.ones((2**20 if place.small else 2**28), device=place.device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _seconds(place, lambda: target.copy_(source)) / 1e9


def small_experiment(root: Path, epochs: int = 2) -> Experiment:
    """A gated run of digits, of a few seconds, below a root that has its images."""
    from eps_resnet.data.fetch import fetch

    data = REGISTRY.datasets["digits"]
    lasting = data.recipe.epochs.model_copy(update={"standard": epochs, "epsilon": epochs})
    recipe = data.recipe.model_copy(update={"epochs": lasting, "epoch_steps": 20})
    registry = REGISTRY.model_copy(update={"datasets": {"digits": data.model_copy(update={"recipe": recipe})}})
    layout = Layout(root)
    fetch(registry, layout, "digits")
    run_ = REGISTRY.run("digits-20-epsilon_side-2p5-s0").model_copy(update={"depth": 8})
    return registry.experiment_of(run_, layout)


def short_training(place: Place) -> dict[str, Any]:
    """A run from its images to its metrics, and its pruned network exported."""
    from eps_resnet.provenance import records
    from eps_resnet.provenance.records import Metrics
    from eps_resnet.runs.evaluate import evaluate
    from eps_resnet.runs.export import export
    from eps_resnet.runs.networks import prune_run
    from eps_resnet.runs.train import train

    with tempfile.TemporaryDirectory() as folder:
        experiment = small_experiment(Path(folder))
        train(experiment, place.device, torch.get_num_threads())
        prune_run(experiment)
        evaluate(experiment, place.device)
        metrics = records.read(Metrics, experiment.files.metrics)
        assert metrics is not None
        agreement = export(experiment, Path(folder) / "pruned.pt2")
    figures = {"gated error": metrics.error.gated, "last epoch's": metrics.error.final, "exported": agreement}
    return found(metrics.error.gated == metrics.error.final, figures)


def resume(place: Place) -> dict[str, Any]:
    """A training that gets SIGTERM saves, and ends with the bytes of one left alone."""
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as broken:
        digests, codes = [], []
        for root, stops in ((whole, False), (broken, True)):
            process = _start(Path(root), place)
            assert process.stdout
            if stops:
                for said in process.stdout:
                    if "epoch 1/" in said:
                        process.send_signal(signal.SIGTERM)
                        break
            process.communicate()
            codes.append(process.returncode)
            if stops and process.returncode:
                again = _start(Path(root), place)
                again.communicate()
                codes.append(again.returncode)
            files = small_experiment(Path(root), LASTING).files
            kept = [path.read_bytes() for path in (files.history, files.blocks) if path.exists()]
            digests.append([hashlib.sha256(content).hexdigest()[:12] for content in kept])
    figures = {"exit codes": codes, "left alone": digests[0], "stopped and resumed": digests[1]}
    return found(codes == [0, 143, 0] and len(digests[0]) == 2 and digests[0] == digests[1], figures)


LASTING = 4  # epochs of the training that is stopped


def _start(root: Path, place: Place) -> "subprocess.Popen[str]":
    program = (
        "import torch; from pathlib import Path; from benchmarks import gpu_checks as checks;"
        f"experiment = checks.small_experiment(Path({str(root)!r}), checks.LASTING);"
        f"checks.stoppable(experiment, torch.device({place.device.type!r}))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )


def stoppable(experiment: Experiment, device: torch.device) -> None:
    """Trains; where a signal stops it, ends with that signal's exit code, as the command line does."""
    from eps_resnet.files.interruption import Interrupted
    from eps_resnet.runs.train import train

    prepare(1)
    try:
        train(experiment, device, 1)
    except Interrupted as stop:
        sys.exit(128 + stop.signal)


def sharing(place: Place) -> dict[str, Any]:
    """Trainings of the shallow network at the same time: how many times as many steps as one alone makes."""
    figures: dict[str, Any] = {}
    rates = {}
    for together in (1, 2) if place.small else (1, 2, 4):
        program = f"from benchmarks import gpu_checks; gpu_checks.steps_a_second({place.small})"
        command = [sys.executable, "-c", program]
        processes = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") for _ in range(together)
        ]
        rates[together] = sum(float(process.communicate()[0].split()[-1]) for process in processes)
        figures[f"{together} at a time, steps/s"] = rates[together]
    return found(None, figures, _no_card(place, "on a card"))


def steps_a_second(small: bool) -> None:
    """Prints how many steps a training makes in a second, over two or so."""
    place = Place(CPU if small else torch.device("cuda"), small, 0)
    prepare(1)
    training, inputs = training_on(place.device, place.depths[0], 0.0), place.inputs()
    train_step(training, *inputs, 0.0)
    place.wait()
    started, steps, lasting = time.perf_counter(), 0, 0.5 if small else 5.0
    while time.perf_counter() - started < lasting:
        train_step(training, *inputs, 0.0)
        steps += 1
    place.wait()
    print(steps / (time.perf_counter() - started))


def bounds(place: Place) -> dict[str, Any]:
    """How near inputs that aim at it bring |F| to a certificate's bound, in each precision (docs/certificate.md)."""
    figures: dict[str, Any] = {}
    precisions: tuple[Precision, ...] = ("float32",) if place.small else ("float32", "tf32", "bfloat16")
    for precision in precisions:
        prepare(torch.get_num_threads(), precision)
        ratios = [_ratio(place, channels, precision == "bfloat16") for channels in (16, 32, 64)]
        figures[precision] = max(ratios)
    return found(MARGIN * figures["float32"] <= 1, figures, _no_card(place, "TF32 and bfloat16, and float32 on a card"))


@torch.no_grad()
def _ratio(place: Place, channels: int, is_half: bool) -> float:
    draw = torch.Generator().manual_seed(channels)
    norm, conv = BatchNorm(channels, 1), Conv(ConvShape(channels, channels, 3, 1), "same")
    norm.weight.copy_(torch.randn(channels, generator=draw))
    conv.weight.copy_(torch.randn(conv.weight.shape, generator=draw))
    images, side = (8, 8) if place.small else (128, 512 // channels)
    weight = conv.weight.detach().clone()
    bound = response_bound(
        norm.weight.abs(), norm.bias, (weight.clamp(min=0), (-weight).clamp(min=0)), images * side**2
    )
    norm.to(place.device), conv.to(place.device)
    middle, largest = side // 2, 0.0
    precision = torch.bfloat16 if is_half else torch.float32  # of the maps, as in a training
    for target in range(0, channels, 4):
        for sign in (1.0, -1.0):
            inputs = torch.zeros(images, channels, side, side)
            taps = (sign * weight[target]).clamp(min=0) * norm.weight.cpu().sign()[:, None, None]
            inputs[0, :, middle - 1 : middle + 2, middle - 1 : middle + 2] = 1e4 * taps
            with torch.autocast(place.device.type, torch.bfloat16, enabled=is_half):
                response = conv(torch.relu(norm(inputs.to(place.device, precision))))
            largest = max(largest, float(largest_response(response)))
    return largest / bound


def soak(place: Place) -> dict[str, Any]:
    """Steps until the time is up, on changing images, gates closing and opening: losses finite, memory constant."""
    depth = place.depths[0]
    training = training_on(place.device, depth, between(depth, place.inputs()[0]))
    ends = time.monotonic() + (1.0 if place.small else min(25.0, place.deadline - time.monotonic() - 15))
    steps, closed, held = 0, 0, []
    while time.monotonic() < ends or steps < 3:
        inputs, labels = place.inputs(steps % 7)
        loss, logits = train_step(training, inputs, labels, RATE)
        training.count_step(loss, logits, labels)
        closed += int(training.gates[-1].sum())
        training.network.expect_closed(training.gates[-1].tolist())
        steps += 1
        if not place.small:
            held.append(torch.cuda.memory_allocated())
    figures = {"steps": steps, "closed gates a step": closed / steps, "last loss": float(loss)}
    grown = held[-1] - held[len(held) // 2] if held else 0
    figures["grown in its second half, KiB"] = grown / 1024
    return found(grown < 2**20 and float(loss) == float(loss), figures, _no_card(place, "memory of a card"))


CHECKS: dict[str, Callable[[Place], dict[str, Any]]] = {
    "versions": versions,
    "parity": parity,
    "late": late,
    "not finite": not_finite,
    "repeatability": repeatability,
    "waits": waits,
    "memory": memory,
    "training": short_training,
    "resume": resume,
    "sharing": sharing,
    "bounds": bounds,
    "speed": speed,
    "soak": soak,
}
