"""Gates that leave their decisions on the device until they are read, as on a GPU; shown here on the CPU."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.operations import Operations, meta, operations
from eps_resnet.experiments.registry import Registry
from eps_resnet.method.divergence import DivergenceError
from eps_resnet.method.gate import gated_sum, masked_decision, masked_sum
from eps_resnet.method.loop import train_step
from eps_resnet.method.networks.layers import BatchNorm
from eps_resnet.method.state import Training
from tests.method.trainings import batch, new_training

RESPONSES = st.lists(st.sampled_from([0.0, 1.0, 2.5, 2.6, 100.0, float("inf"), float("nan")]), min_size=4, max_size=4)


@given(RESPONSES, st.sampled_from([1, 2, 4]))
@settings(deadline=None)
def test_a_late_decision_gives_the_same_sum_gradient_and_state(responses: list[float], slices: int) -> None:
    results = []
    for gated in (gated_sum, masked_sum):
        shortcut = torch.arange(8.0).reshape(4, 1, 1, 2).requires_grad_()
        residual = torch.tensor(responses).repeat_interleave(2).reshape(4, 1, 1, 2).requires_grad_()
        total, gate = gated(shortcut, residual, 2.5, slices)
        total.sum().backward()
        gradient = torch.zeros_like(residual) if residual.grad is None else residual.grad
        results.append((total.detach(), bool(gate.closed), float(gate.response), shortcut.grad, gradient))
    for now, late in zip(*results, strict=True):
        torch.testing.assert_close(torch.as_tensor(now), torch.as_tensor(late), rtol=0, atol=0, equal_nan=True)


def test_a_late_gate_is_six_operations_forward_and_backward_and_two_if_it_is_expected_closed() -> None:
    shortcut, residual = meta(4, 2, 3, 3).requires_grad_(), meta(4, 2, 3, 3).requires_grad_()
    gradient = meta(4, 2, 3, 3)

    def both() -> None:
        masked_sum(shortcut, residual, 2.5)[0].backward(gradient)

    both()  # afterwards gradients are there to be added to, one operation for each of the two
    counted = operations(both)
    assert counted.total() - counted["add_"] == 6, counted
    with torch.no_grad():
        assert operations(lambda: masked_decision(residual, 2.5)).total() == 2


def test_a_late_gate_keeps_nothing_of_the_residual(experiments: Registry) -> None:
    shortcut, residual = torch.ones(4, 2, 3, 3).requires_grad_(), torch.ones(4, 2, 3, 3).requires_grad_()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        masked_sum(shortcut, residual, 2.5)
    assert max(kept, default=0) <= 1


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_late_gate_adds_and_hands_back_what_plain_arithmetic_does(precision: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    shortcut, residual, gradient = (torch.randn(4, 2, 3, 3, generator=draw) for _ in range(3))
    residual = residual.to(precision).requires_grad_()
    total, decision = masked_sum(shortcut, residual, 1e-9)
    total.backward(gradient)
    assert not decision.closed
    assert total.dtype == torch.float32
    assert torch.equal(total.detach(), shortcut + residual.detach())
    assert residual.grad is not None
    assert torch.equal(residual.grad, gradient.to(precision))


def test_gates_decide_late_on_every_device_but_a_cpu(experiments: Registry) -> None:
    network = new_training(experiments, 2.5).network
    for device, late in (("meta", True), ("cpu", False)):
        placed = network.to_empty(device=device).place(torch.device(device))
        assert {block.late for block in placed.blocks} == {late}
        assert all(w.is_contiguous(memory_format=torch.channels_last) for b in placed.blocks for w in b.weights)


def trained(
    experiments: Registry, late: bool, expected: list[bool], epsilon: float
) -> tuple[Training, list[list[bool]]]:
    training = new_training(experiments, epsilon)
    training.network.set_late(late)
    training.network.train()
    draw, gates = torch.Generator().manual_seed(0), []
    for _ in range(4):
        training.network.expect_closed(expected)
        train_step(training, torch.randn(16, 1, 8, 8, generator=draw), torch.arange(16) % 10, 0.1)
        gates.append([gate.closed for gate in training.network.read_gates()])
    return training, gates


@pytest.mark.parametrize("epsilon", [1e-9, 6.0, 1e9])
@pytest.mark.parametrize("expected", [[False] * 6, [True] * 6, [True, False] * 3])
def test_late_decisions_train_the_same_network_whatever_was_expected(
    experiments: Registry, epsilon: float, expected: list[bool]
) -> None:
    now, gates = trained(experiments, False, expected, epsilon)
    late, late_gates = trained(experiments, True, expected, epsilon)
    assert gates == late_gates
    if epsilon == 6.0:
        assert len({closed for step in gates for closed in step}) == 2  # some closed, some open
    for name, tensor in now.network.state_dict().items():
        assert torch.equal(tensor, late.network.state_dict()[name]), name


def test_a_block_expected_closed_keeps_no_activations_and_is_computed_once_if_it_is(experiments: Registry) -> None:
    training = new_training(experiments, 1e9)
    training.network.set_late(True)
    training.network.train().expect_closed([True] * 6)
    calls: list[bool] = []
    block = training.network.blocks[3]
    block.convs[0].register_forward_hook(lambda _m, _i, result: calls.append(result.requires_grad))
    train_step(training, *batch(), 0.1)
    assert calls == [False]


@pytest.mark.parametrize("depth", [14, 26])
def test_a_step_waits_once_for_all_decisions_and_its_loss_whatever_the_depth(
    experiments: Registry, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = new_training(experiments, 1e9, depth)
    training.network.set_late(True)
    training.network.train().expect_closed([False, True] * (depth // 4))
    reads: list[int] = []
    really = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: reads.append(tensor.numel()) or really(tensor))
    for name in ("__float__", "__bool__", "__int__", "item", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, None)
    inputs, labels = batch()
    training.count_step(*train_step(training, inputs, labels, 0.1), labels)
    assert reads == [depth - 2 + 1]  # of each gate the decision and the largest response; and the loss


def living(work: Callable[[], object]) -> int:
    """The most bytes that are kept at a time for backward passes; of a tensor that is kept twice both count."""
    alive = most = 0

    class Kept:
        def __init__(self, tensor: torch.Tensor) -> None:
            nonlocal alive, most
            self.tensor, self.bytes = tensor, tensor.nbytes
            alive += self.bytes
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= self.bytes

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        work()
    return most


def test_a_step_that_is_made_again_keeps_no_more_than_one_that_is_not(experiments: Registry) -> None:
    most, passes = [], []
    for expected in (False, True):
        training = new_training(experiments, 1e-9)
        training.network.set_late(True)
        training.network.expect_closed([expected] + [False] * 5)
        calls: list[int] = []
        training.network.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        most.append(living(partial(train_step, training, *batch(), 0.1)))
        passes.append(len(calls))
    assert passes == [1, 2]
    assert most[0] == most[1]


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("late", [False, True])
def test_a_loss_that_is_not_finite_leaves_weights_and_momentum_as_they_were(
    experiments: Registry, late: bool, step: int
) -> None:
    training = new_training(experiments, 6.0)
    training.network.set_late(late)
    inputs, labels = batch()
    for _ in range(step - 1):
        train_step(training, inputs, labels, 0.1)
    names = dict(training.network.named_parameters())
    tensors, _ = training.state()
    before = {name: tensor.clone() for name, tensor in tensors.items() if "running" not in name}
    with pytest.raises(DivergenceError, match=f"The loss of step {step} is nan: the batch itself is not finite"):
        train_step(training, inputs * torch.nan, labels, 0.1)
    tensors, _ = training.state()
    assert set(before) == {name for name in tensors if "running" not in name}
    for name, tensor in before.items():
        if name.removeprefix("network.") in names or name.startswith("momentum."):
            assert torch.equal(tensor, tensors[name]), name


def test_a_step_makes_few_operations_beside_those_of_its_blocks(experiments: Registry) -> None:
    """Saving and bringing back statistics, zero gradients and the optimiser: as many at any depth."""
    counted = []
    for depth in (14, 26):
        training = new_training(experiments, 1e-9, depth)
        training.network.set_late(True)
        blocks = depth // 2 - 1
        train_step(training, *batch(), 0.1)
        training.network.expect_closed([True] + [False] * (blocks - 1))
        counted.append(operations(partial(train_step, training, *batch(), 0.1)))
    for name in ("_foreach_copy_", "_foreach_copy", "_fused_sgd_", "_foreach_zero_", "clone", "zero_", "copy_"):
        assert counted[0][name] == counted[1][name] <= 4, name


def test_in_bfloat16_parameters_statistics_gates_and_loss_stay_in_float32(experiments: Registry) -> None:
    training = new_training(experiments, 1e-9, precision="bfloat16")
    network = training.network.train()
    seen: dict[str, set[torch.dtype]] = {"conv": set(), "norm": set()}
    for block in network.blocks:
        for conv in block.convs:
            conv.register_forward_hook(lambda _m, _i, result: seen["conv"].add(result.dtype))
        for norm in block.norms:
            norm.register_forward_hook(lambda _m, _i, result: seen["norm"].add(result.dtype))
    loss, logits = train_step(training, *batch(), 0.1)
    assert seen == {"conv": {torch.bfloat16}, "norm": {torch.bfloat16}}
    assert loss.dtype == logits.dtype == torch.float32
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in network.state_dict().values())
    assert {masked_decision(torch.ones(1, dtype=torch.bfloat16), 1.0).response.dtype} == {torch.float32}  # type: ignore[union-attr]


@pytest.mark.parametrize("late", [False, True])
def test_in_bfloat16_the_images_are_the_only_feature_map_that_is_copied_to_another_precision(
    experiments: Registry, late: bool
) -> None:
    training = new_training(experiments, 1e-9, precision="bfloat16")
    training.network.set_late(late)
    inputs, labels = batch()
    images = inputs[:12]  # a number that no layer has channels
    with Operations() as counted:
        train_step(training, images, labels[:12], 0.1)
    maps = [shape for shape in counted.cast if len(shape) == 4 and shape[0] == 12]
    assert maps == [images.shape]


def test_a_batch_norm_in_bfloat16_is_one_in_float32_rounded_once() -> None:
    norm, draw = BatchNorm(8, 1), torch.Generator().manual_seed(0)
    images = (3 * torch.randn(16, 8, 8, 8, generator=draw) + 1).bfloat16()
    half = norm(images)
    statistics = norm.running_mean, norm.running_var
    norm.reset_running_stats()
    whole = norm(images.float())
    torch.testing.assert_close(half.float(), whole, rtol=2**-8, atol=2**-8)
    for now, then in zip(statistics, (norm.running_mean, norm.running_var), strict=True):
        torch.testing.assert_close(now, then, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_a_compiled_network_trains_what_the_plain_one_does(
    experiments: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the last step, code for this processor, which takes a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain, compiled = (new_training(experiments, 6.0, depth=8, compiled=compiled) for compiled in (False, True))
    for training in (plain, compiled):
        training.network.train()
        for _ in range(2):
            train_step(training, torch.linspace(-1, 1, 16 * 64).reshape(16, 1, 8, 8), torch.arange(16) % 10, 0.1)
    gates, others = plain.network.read_gates(), compiled.network.read_gates()
    assert [gate.closed for gate in gates] == [gate.closed for gate in others]
    for name, tensor in plain.network.state_dict().items():
        torch.testing.assert_close(tensor, compiled.network.state_dict()[name], msg=name)
