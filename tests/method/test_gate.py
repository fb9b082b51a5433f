"""The gate against its definition (Sec. 3.1; docs/fidelity.md)."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from eps_resnet.method.gate import decide, gated_sum

FLOATS = st.floats(-10, 10, width=32)


def tensors() -> st.SearchStrategy[Tensor]:
    return st.lists(FLOATS, min_size=1, max_size=16).map(lambda values: torch.tensor(values).reshape(1, -1, 1, 1))


def strict_identity(residual: Tensor, epsilon: float) -> Tensor:
    """S(F): what the gate adds to a shortcut of zeros."""
    return gated_sum(torch.zeros_like(residual), residual, epsilon)[0]


def reference_construction(residual: Tensor, epsilon: float) -> Tensor:
    """The reference code's nested ReLUs, in float64, where its 1e-12 ramp is resolved."""
    steepness, values = 1e6, residual.double()
    excess = torch.relu(values - epsilon) + torch.relu(-values - epsilon)
    gate = torch.relu(1 - steepness * torch.relu(1 - steepness * excess.max()))
    return gate * values


@given(tensors(), st.floats(0, 10, width=32))
def test_a_residual_passes_unchanged_or_becomes_zero_by_its_largest_response(residual: Tensor, epsilon: float) -> None:
    largest = max(abs(float(value)) for value in residual.flatten())
    expected = torch.zeros_like(residual) if largest <= epsilon else residual
    assert torch.equal(strict_identity(residual, epsilon), expected)


@given(tensors(), st.floats(0.125, 10, width=32))
def test_the_gate_equals_the_nested_relus_away_from_their_narrow_ramp(residual: Tensor, epsilon: float) -> None:
    largest = float(residual.abs().max())
    if not epsilon < largest < epsilon + 2e-6:
        expected = reference_construction(residual, epsilon)
        assert torch.allclose(strict_identity(residual, epsilon).double(), expected)


def test_one_response_of_one_image_opens_the_gate_for_the_whole_batch() -> None:
    residual = torch.zeros(128, 16, 8, 8)
    assert decide(residual, 2.5).closed
    residual[77, 3, 5, 1] = -2.6
    assert not decide(residual, 2.5).closed
    assert torch.equal(strict_identity(residual, 2.5), residual)


@pytest.mark.parametrize("epsilon", [2.3, 2.5, 2.7, 0.0])
def test_a_response_equal_to_epsilon_is_closed_and_the_next_float_is_open(epsilon: float) -> None:
    at = torch.tensor([epsilon], dtype=torch.float32)
    beyond = torch.nextafter(at, torch.tensor(math.inf))
    for sign in (1, -1):
        assert decide(sign * at, epsilon).closed
        assert not decide(sign * beyond, epsilon).closed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_leave_the_gate_open(value: float) -> None:
    residual = torch.zeros(2, 3, 4, 4)
    residual[1, 2, 3, 3] = value
    assert not decide(residual, 2.5).closed


@pytest.mark.parametrize("shape", [(0, 16, 8, 8), (4, 0, 8, 8)])
def test_a_residual_without_elements_is_closed(shape: tuple[int, ...]) -> None:
    assert decide(torch.empty(shape), 2.5).closed
    assert strict_identity(torch.empty(shape), 2.5).shape == shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_float32(dtype: torch.dtype) -> None:
    response = torch.tensor([2.3], dtype=dtype)  # rounds to another number than float32's 2.3
    assert float(response) != float(torch.tensor(2.3))
    assert decide(response, 2.3).closed == (float(response) <= float(torch.tensor(2.3)))


@given(tensors())
def test_memory_layout_does_not_change_the_decision(residual: Tensor) -> None:
    batch = residual.reshape(1, -1, 1, 1).expand(2, -1, 3, 3).contiguous()
    channels_last = batch.contiguous(memory_format=torch.channels_last)
    assert decide(batch, 2.5).closed == decide(channels_last, 2.5).closed


def test_no_gradient_passes_through_a_closed_gate() -> None:
    weight = torch.tensor([0.1], requires_grad=True)
    closed = strict_identity(weight * 2, 2.5)
    assert not closed.requires_grad
    strict_identity(weight * 50, 2.5).sum().backward()
    assert weight.grad is not None
    assert float(weight.grad) == 50
