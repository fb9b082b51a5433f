"""The state of one training: everything that a checkpoint must bring back."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.models import Recipe, Run
from eps_resnet.method.history import Epoch, Gates
from eps_resnet.method.networks.resnet import ResNet
from eps_resnet.method.parallel import Share, combine, distributed
from eps_resnet.method.schedule import RateSchedule

State = tuple[dict[str, Tensor], dict[str, Any]]  # named tensors, and plain values that JSON can hold
SETTLED_SHARE = 0.01 * (1 + 1e-9)  # settled: the rate fell to a hundredth of its start (docs/fidelity.md), or rounding


@dataclass
class Snapshot:
    """The network after an epoch, and what its gates did in it."""

    epoch: int = 0
    rate: float = math.inf
    epsilon: float = 0.0
    discarded: list[bool] = field(default_factory=list)
    flickered: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class Statistics:
    """The running statistics of a network, to be brought back after a pass that does not count."""

    def __init__(self, network: ResNet) -> None:
        self.network = network
        self.pairs: list[tuple[list[Tensor], list[Tensor]]] = []  # present and kept ones, of each type

    def keep(self) -> None:
        """Keeps what they are."""
        if not self.pairs:
            buffers = list(self.network.buffers())
            types = [[b for b in buffers if b.is_floating_point() == floats] for floats in (True, False)]
            self.pairs = [(present, [torch.empty_like(b) for b in present]) for present in types]
        for present, kept in self.pairs:
            torch._foreach_copy_(kept, present)

    def bring_back(self) -> None:
        """Makes them what was kept."""
        for present, kept in self.pairs:
            torch._foreach_copy_(present, kept)


class Training:
    """The state of one training.

    `epoch` and `step` count what is finished. `gates`, `responses` and `sums` are of the epoch under way, a row for
    each of its steps so far: the blocks whose gate was closed (blocks,), their largest |F| (blocks,), and loss, errors
    and images (3,) in float64.

    Of the epochs at the lowest rate so far, `settled` is the network after the one with the fewest flickering gates,
    of equals the latest: it is the one that is pruned and reported. `latest` is the network after the last of them.
    """

    def __init__(self, experiment: Experiment, network: ResNet, share: Share = Share()) -> None:
        run, recipe = experiment.run, experiment.recipe
        self.experiment, self.network, self.share = experiment, network, share
        self.model = distributed(network, share, leaves_out=run.epsilon is not None and not network.is_late)
        if recipe.compiled:
            network.compile_residuals()
        self.optimizer = _optimizer(network, recipe)
        self.statistics = Statistics(network)
        self._zeros = _zeros(network)
        self.schedule = RateSchedule.of(recipe, run)
        self.certifies = True  # False: no block is ever certified, for comparison
        self.epoch = self.step = 0
        self.gates: list[Tensor] = []
        self.responses: list[Tensor] = []
        self.sums: list[Tensor] = []
        self.gathered = 0  # of these rows, how many are of all processes together
        self.settled, self.latest = Snapshot(), Snapshot()
        self.history: list[Epoch] = []
        self.closed: list[Tensor] = []  # per epoch, (blocks,): batches of the window with the gate closed
        self.least_responses: list[Tensor] = []  # per epoch, (blocks,): smallest max |F| over epsilon
        self.percentiles: list[Tensor] = []  # per epoch, (blocks, 5)
        self.window = 0
        self.seconds = 0.0
        self.machines: list[dict[str, Any]] = []  # those that trained it, one after another

    @property
    def run(self) -> Run:
        """The run that is trained."""
        return self.experiment.run

    @property
    def recipe(self) -> Recipe:
        """Its recipe."""
        return self.experiment.recipe

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return self.network.head.linear.bias.device

    @property
    def is_settled(self) -> bool:
        """Whether the rate has fallen to a hundredth of its start."""
        return self.settled.rate <= SETTLED_SHARE * self.recipe.rate

    def update(self, withheld: Tensor | None = None) -> None:
        """Moves the weights by the gradients that a backward pass left, which are gone afterwards.

        `withheld`: a scalar on the device; if it is 1, weights and momentum stay as they are. The block of a closed
        gate has no backward pass: the optimiser must see a zero gradient there, so that its weights decay and its
        momentum is spent. One tensor of zeros serves all parameters of a shape, as the optimiser only reads it.
        """
        for parameter, zeros in self._zeros:
            if parameter.grad is None:
                parameter.grad = zeros
        self.optimizer.found_inf = withheld  # type: ignore[attr-defined]
        self.optimizer.step()
        self.optimizer.zero_grad()

    def count_step(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Records a finished step: the mean loss of its images, their logits (N, classes), and the gates."""
        wrong = (logits.argmax(1) != labels).sum()
        self.sums.append(torch.stack([loss * len(labels), wrong, labels.new_full((), len(labels))]).double())
        gates = self.network.read_gates()
        self.gates.append(torch.tensor([gate.closed for gate in gates], dtype=torch.bool))
        self.responses.append(torch.tensor([gate.response for gate in gates], dtype=torch.float32))

    def summed(self) -> list[float]:
        """Of the epoch under way: sum of the images' losses, wrong images, images."""
        zeros = torch.zeros(3, dtype=torch.float64, device=self.sums[0].device)
        total: list[float] = sum(self.sums, zeros).tolist()
        return total

    def finish_epoch(self, record: Epoch, gates: Gates, percentiles: Tensor) -> None:
        """Counts the epoch under way as finished, and keeps what is recorded of it."""
        self.epoch = record.epoch
        self.history.append(record)
        self.closed.append(torch.tensor(gates.closed, dtype=torch.int32))
        self.least_responses.append(torch.tensor(gates.least_responses, dtype=torch.float32))
        self.percentiles.append(percentiles)
        self.window = gates.window
        self.gates, self.responses, self.sums, self.gathered = [], [], [], 0

    def gather(self) -> None:
        """Combines those of the epoch's rows over all processes that are not yet combined."""
        if self.share.of > 1 and self.gathered < len(self.gates):
            new = slice(self.gathered, None)
            rows = combine(*(torch.stack(rows[new]) for rows in (self.gates, self.responses, self.sums)))
            self.gates[new], self.responses[new], self.sums[new] = map(list, rows)
        self.gathered = len(self.gates)

    def latest_weights(self) -> dict[str, Tensor]:
        """The weights of `latest`; none if it is the epoch of `settled`."""
        return {} if self.latest.epoch == self.settled.epoch else self.latest.weights

    def state(self) -> State:
        """What a checkpoint keeps."""
        tensors = {
            **{f"network.{name}": tensor for name, tensor in self.network.state_dict().items()},
            **{f"momentum.{name}": buffer for name, buffer in self._momentum().items()},
            **{f"settled.{name}": tensor for name, tensor in self.settled.weights.items()},
            **{f"latest.{name}": tensor for name, tensor in self.latest_weights().items()},
            **{name: torch.stack(rows) for name in ROWS if (rows := getattr(self, name))},
        }
        facts = {
            **{name: getattr(self, name) for name in PLAIN},
            "schedule": self.schedule.state(),
            "certified": [block.certified for block in self.network.blocks],
            "settled": _facts(self.settled),
            "latest": _facts(self.latest),
            "history": [asdict(epoch) for epoch in self.history],
        }
        return tensors, facts

    def restore(self, state: State) -> None:
        """Continues where `state` was taken. Copies it: its tensors may lie in a file that is deleted.

        Raises KeyError, TypeError, ValueError or RuntimeError if it is not a state of such a training.
        """
        tensors, facts = state
        self.network.load_state_dict(_below("network", tensors))
        parameters = dict(self.network.named_parameters())
        for name, buffer in _below("momentum", tensors).items():
            # In the parameter's own memory format, which the fused optimiser takes for granted.
            own = torch.empty_like(parameters[name]).copy_(buffer)
            self.optimizer.state[parameters[name]]["momentum_buffer"] = own
        self.settled = Snapshot(**facts["settled"], weights=_below("settled", tensors))
        self.latest = Snapshot(**facts["latest"], weights=_below("latest", tensors) or self.settled.weights)
        self.history = [Epoch(**epoch) for epoch in facts["history"]]
        vars(self.schedule).update(facts["schedule"])
        for block, is_certified in zip(self.network.blocks, facts["certified"], strict=True):
            block.certified = is_certified and self.device.type == "cpu"  # what was proven of a CPU's sums
        for name in PLAIN:
            setattr(self, name, facts[name])
        for name in ROWS:
            setattr(self, name, list(tensors[name].clone()) if name in tensors else [])
        self.sums = [row.to(self.device) for row in self.sums]
        self.gathered = len(self.gates)

    def _momentum(self) -> dict[str, Tensor]:
        states = {name: self.optimizer.state.get(p, {}) for name, p in self.network.named_parameters()}
        buffers = {name: state.get("momentum_buffer") for name, state in states.items()}
        return {name: buffer for name, buffer in buffers.items() if buffer is not None}


PLAIN = ("epoch", "step", "window", "seconds", "machines")
ROWS = ("gates", "responses", "sums", "closed", "least_responses", "percentiles")


def _facts(snapshot: Snapshot) -> dict[str, Any]:
    return {name: value for name, value in vars(snapshot).items() if name != "weights"}


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): t.clone() for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def _zeros(network: ResNet) -> list[tuple[torch.nn.Parameter, Tensor]]:
    shared: dict[tuple[torch.Size, tuple[int, ...]], Tensor] = {}
    return [(p, shared.setdefault((p.shape, p.stride()), torch.zeros_like(p))) for p in network.parameters()]


def _optimizer(network: ResNet, recipe: Recipe) -> torch.optim.SGD:
    decaying: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for parameter in network.parameters():
        is_weight = parameter.dim() > 1  # of a convolution or a linear layer
        (decaying if is_weight or recipe.decay_on == "all" else others).append(parameter)
    groups = [{"params": decaying, "decays": True}, {"params": others, "decays": False}]
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)
