"""Certificates: the bounds behind them (docs/certificate.md), and that nothing changes where one is given."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from eps_resnet.experiments.models import Recipe, Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.measure.prune import prune
from eps_resnet.method.certificate import certify, coasting_of, reach, response_bound
from eps_resnet.method.inputs.batches import TensorBatches
from eps_resnet.method.loop import train_epoch
from eps_resnet.method.networks.architecture import ConvShape
from eps_resnet.method.networks.layers import BatchNorm, Conv
from eps_resnet.method.schedule import RateSchedule
from eps_resnet.method.state import Training
from tests.method.trainings import batches_of, new_training

CPU = torch.device("cpu")
MOMENTUM = 0.9
STABLE = (1 - math.sqrt(MOMENTUM)) ** 2  # rate x decay up to which a decaying weight never swings
EPSILON = 4.5  # so large that gates close early on, while one stays open


def moved(value: float, buffer: float, rates: list[float], decays: list[float], nesterov: bool) -> list[float]:
    """A parameter after each step of torch's SGD with a gradient of zero, started with a momentum buffer."""
    parameter = torch.nn.Parameter(torch.tensor([value], dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=1.0, momentum=MOMENTUM, nesterov=nesterov)
    optimizer.state[parameter]["momentum_buffer"] = torch.tensor([buffer], dtype=torch.float64)
    parameter.grad = torch.zeros_like(parameter)
    values = []
    for rate, decay in zip(rates, decays, strict=True):
        optimizer.param_groups[0].update(lr=rate, weight_decay=decay)
        optimizer.step()
        values.append(float(parameter.detach()))
    return values


def within(value: float, buffer: float, values: list[float], coasting: float) -> bool:
    up, down = (float(part) for part in reach(torch.tensor(value), torch.tensor(buffer), coasting))
    return all(-down * (1 + 1e-6) - 1e-9 <= v <= up * (1 + 1e-6) + 1e-9 for v in values)


FINITE = st.floats(-10, 10)
SHARES = st.lists(st.sampled_from([1.0, 0.1, 0.01, 0.002]) | st.floats(0, 1), min_size=1, max_size=60)


@given(FINITE, FINITE, SHARES, st.floats(0, 1), st.booleans(), st.floats(0.01, 1))
@settings(max_examples=100, deadline=None)
@example(0.0, -1.0, [1.0] * 60, 0.0, False, 0.1)
@example(1.0, -1.0, [1.0] * 60, 1.0, True, 0.1)
@example(1.0, 10.0, [0.01] * 20 + [1.0] * 40, 1.0, False, 0.1)  # a restart
def test_a_parameter_without_gradient_stays_within_its_reach_whatever_rates_and_decays_come(
    value: float, buffer: float, shares: list[float], decay: float, nesterov: bool, highest: float
) -> None:
    rates = [share * highest for share in shares]
    decays = [decay * STABLE / highest * 0.2 ** (i // 20) for i in range(len(rates))]
    coasting = highest * MOMENTUM / (1 - MOMENTUM)
    assert within(value, buffer, moved(value, buffer, rates, decays, nesterov), coasting)


def test_a_shorter_reach_or_one_by_the_present_rate_is_left_and_a_larger_decay_swings_beyond_it() -> None:
    coasting = 0.1 * MOMENTUM / (1 - MOMENTUM)
    coasted = moved(0.0, -1.0, [0.1] * 60, [0.0] * 60, nesterov=False)
    assert within(0.0, -1.0, coasted, coasting)
    assert not within(0.0, -1.0, coasted, 0.99 * coasting)
    assert not within(0.0, -1.0, moved(0.0, -1.0, [0.001] + [0.1] * 59, [0.0] * 60, False), 0.01 * coasting)
    swinging = moved(1.0, 0.0, [0.1] * 60, [20 * STABLE / 0.1] * 60, nesterov=False)
    assert not within(1.0, 0.0, swinging, coasting)


def recipe(experiments: Registry, **changes: object) -> Recipe:
    return experiments.datasets["digits"].recipe.model_copy(update=changes)


@given(st.lists(st.integers(0, 27), min_size=8, max_size=60), st.integers(1, 8), st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_later_rate_is_above_the_highest_that_was_said_to_come(
    experiments: Registry, discarded: list[int], after: int, adaptive: bool
) -> None:
    late = {"rate": 0.3, "epoch": 30, "adaptive_epoch": 5} if adaptive else None
    run = Run(
        dataset="digits", depth=8, method="epsilon_side" if adaptive else "standard", epsilon=2.5 if adaptive else None
    )
    document = recipe(experiments).model_dump() | {"late_rate": late}
    schedule, last = RateSchedule.of(Recipe.model_validate(document), run), len(discarded)
    for epoch in range(1, after):
        schedule.observe_epoch(epoch, discarded[epoch - 1], [])
    highest = schedule.highest_rate(after, last)
    rates = []
    for epoch in range(after, last + 1):
        rates.append(schedule.rate(epoch))
        schedule.observe_epoch(epoch, discarded[epoch - 1], [])
    assert max(rates) <= highest


class Adversary:
    """Batch norm, ReLU and convolution as in a block, and inputs that drive one response as far as they can."""

    def __init__(self, seed: int, channels: int, kernel: int, shift: float, images: int, side: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.shape = (images, channels, side, side)
        self.norm, self.conv = BatchNorm(channels, 1), Conv(ConvShape(channels, channels, kernel, 1), "same")
        with torch.no_grad():
            self.norm.weight.copy_(torch.randn(channels, generator=draw))
            self.norm.bias.copy_(shift * torch.randn(channels, generator=draw))
            self.conv.weight.copy_(torch.randn(self.conv.weight.shape, generator=draw))
        self.draw = draw

    @property
    def bound(self) -> float:
        weight = self.conv.weight.detach()
        parts = weight.clamp(min=0), (-weight).clamp(min=0)
        elements = self.shape[0] * self.shape[2] ** 2
        return response_bound(self.norm.weight.detach().abs(), self.norm.bias.detach().clamp(min=0), parts, elements)

    @torch.no_grad()
    def largest(self, inputs: Tensor) -> float:
        return float(self.conv(torch.relu(self.norm(inputs))).abs().max())

    def aimed(self, target: int, sign: float) -> Tensor:
        """All energy of each channel in the taps of one position, in the proportion that Cauchy-Schwarz asks for."""
        inputs = torch.zeros(self.shape)
        kernel, middle = self.conv.weight.shape[-1], self.shape[2] // 2
        first = middle - kernel // 2
        taps = (sign * self.conv.weight.detach()[target]).clamp(min=0) * self.norm.weight.detach().sign()[:, None, None]
        inputs[0, :, first : first + kernel, first : first + kernel] = 1e4 * taps
        return inputs

    def climbed(self, inputs: Tensor, steps: int) -> Tensor:
        """Inputs after some steps uphill."""
        inputs = inputs.clone().requires_grad_()
        optimizer = torch.optim.Adam([inputs], lr=float(inputs.detach().abs().max()) / 10)
        for _ in range(steps):
            optimizer.zero_grad()
            (-self.conv(torch.relu(self.norm(inputs))).abs().max()).backward()
            optimizer.step()
        return inputs.detach()


@given(
    st.integers(0, 2**31),
    st.integers(1, 6),
    st.sampled_from([1, 3]),
    st.floats(0, 2),
    st.integers(2, 8),
    st.sampled_from([3, 5, 8]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_no_input_drives_a_response_beyond_its_bound(
    seed: int, channels: int, kernel: int, shift: float, images: int, side: int, climbs: bool
) -> None:
    adversary = Adversary(seed, channels, kernel, shift, images, side)
    random = 100 * torch.randn(adversary.shape, generator=adversary.draw)
    candidates = [random, *(adversary.aimed(o, sign) for o in range(channels) for sign in (1.0, -1.0))]
    if climbs:
        candidates += [adversary.climbed(candidates[1], 10), adversary.climbed(random, 10)]
    assert max(map(adversary.largest, candidates)) <= adversary.bound * (1 + 1e-4)


def test_the_bound_is_nearly_reached_so_that_a_tenth_less_would_be_wrong() -> None:
    adversary = Adversary(seed=0, channels=8, kernel=3, shift=0.0, images=32, side=16)
    aimed = [adversary.aimed(o, sign) for o in range(8) for sign in (1.0, -1.0)]
    assert 0.95 * adversary.bound < max(map(adversary.largest, aimed)) <= adversary.bound


def closing(
    experiments: Registry, certifies: bool, epsilon: float = EPSILON, **changes: object
) -> tuple[Training, TensorBatches]:
    """A training whose gates close so early and decay so fast that blocks are certified after the fourth epoch."""
    made = {"batch": 8, "weight_decay": 0.025, "epochs": {"standard": 9, "epsilon": 9}} | changes
    training = new_training(experiments, epsilon, **made)
    training.certifies = certifies
    return training, batches_of(training, 200)


def certified(training: Training) -> int:
    return sum(block.certified for block in training.network.blocks)


def test_a_training_with_certificates_ends_in_the_same_bytes_but_for_the_certified_blocks_own_statistics(
    experiments: Registry,
) -> None:
    (plain, batches), (quick, _) = closing(experiments, False), closing(experiments, True)
    for _ in range(4):
        assert train_epoch(plain, batches) == train_epoch(quick, batches)
    assert certified(plain) == 0
    assert 0 < certified(quick) < 6
    assert train_epoch(plain, batches) == train_epoch(quick, batches)
    own = {
        f"units.{i}.norms.{n}.{name}"
        for i, unit in enumerate(quick.network.units)
        for n in range(len(unit.norms))  # type: ignore[arg-type]
        for name in ("running_mean", "running_var", "num_batches_tracked")
        if unit.certified
    }
    one, other = plain.network.state_dict(), quick.network.state_dict()
    assert {name for name in one if not torch.equal(one[name], other[name])} <= own
    assert all(torch.equal(a, b) for a, b in zip(plain.closed, quick.closed, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(plain.percentiles, quick.percentiles, strict=True))


def test_a_certificate_survives_a_checkpoint(experiments: Registry) -> None:
    training, batches = closing(experiments, True)
    for _ in range(4):
        train_epoch(training, batches)
    assert 0 < certified(training) < 6
    resumed, _ = closing(experiments, True)
    resumed.restore(training.state())
    train_epoch(training, batches)
    train_epoch(resumed, batches)
    assert certified(resumed) == certified(training)
    for name, tensor in training.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name


@pytest.mark.parametrize("changes", [{"precision": "bfloat16"}, {"compiled": True}, {"weight_decay": 0.03}])
def test_there_is_no_certificate_where_the_bound_does_not_hold(
    experiments: Registry, changes: dict[str, object]
) -> None:
    """In coarser arithmetic, and where rate x decay is so large that a decaying weight could swing."""
    training, batches = closing(experiments, True, **changes)
    assert coasting_of(training) is None
    with torch.no_grad():
        for block in training.network.blocks:
            for weight in block.weights:
                weight.zero_()
    certify(training, [True] * 6, batches.size)
    assert certified(training) == 0


def test_there_is_no_certificate_on_a_gpu(experiments: Registry) -> None:
    """The meta device stands for all that is no CPU."""
    training, _ = closing(experiments, True)
    assert coasting_of(training) is not None
    training.network.to("meta")
    assert coasting_of(training) is None


@pytest.mark.filterwarnings("ignore:.*non-meta parameter")
def test_what_a_cpu_certified_is_computed_again_where_the_training_goes_on_on_a_gpu(experiments: Registry) -> None:
    training, batches = closing(experiments, True, epsilon=1e9)
    train_epoch(training, batches)
    training.network.blocks[0].certified = True
    for device, there in (("cpu", 1), ("meta", 0)):
        resumed, _ = closing(experiments, True)
        resumed.network.to(device)
        resumed.restore(training.state())
        assert resumed.network.blocks[0].certified == there


def test_only_discarded_blocks_are_certified(experiments: Registry) -> None:
    training, batches = closing(experiments, True)
    train_epoch(training, batches)
    assert certified(training) == 0
    with torch.no_grad():
        for block in training.network.blocks:
            for weight in block.weights:
                weight.zero_()
                training.optimizer.state[weight]["momentum_buffer"].zero_()
    certify(training, [True, False] * 3, batches.size)
    assert [block.certified for block in training.network.blocks] == [True, False] * 3


@pytest.mark.parametrize("takes", ["identity", "gated"])
def test_evaluation_takes_discarded_blocks_as_the_identity_or_gates_them_as_the_recipe_says(
    experiments: Registry, takes: str
) -> None:
    training, batches = closing(experiments, True, epsilon=1e9, discarded_in_evaluation=takes)
    train_epoch(training, batches)  # every gate is closed: every block is discarded
    network = training.network.eval()
    network.set_epsilon(0.0)  # now every gate is open
    images = next(iter(batches.test()))
    with torch.no_grad():
        pruned = prune(network, [True] * 6).to(memory_format=torch.channels_last)
        as_pruned = torch.equal(network(images)[0], pruned(images)[0])
    assert as_pruned == (takes == "identity")
    assert [gate.closed for gate in network.read_gates()] == [takes == "identity"] * 6
    assert certified(training) == (6 if takes == "identity" else 0)


def test_without_momentum_a_block_can_be_certified_too(experiments: Registry) -> None:
    training, batches = closing(experiments, True, epsilon=1e9, momentum=0.0)
    train_epoch(training, batches)
    assert certified(training) == 6
