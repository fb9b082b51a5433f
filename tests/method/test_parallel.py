"""The shares of processes that train together, and slices that decide alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.method.gate import decide, gated_sum
from eps_resnet.method.parallel import Share


@given(st.integers(1, 8), st.integers(1, 16))
def test_the_shares_of_all_processes_are_the_whole_batch_in_order(processes: int, part: int) -> None:
    rows = list(range(processes * part))
    assert [row for index in range(processes) for row in rows[Share(index, processes).rows(len(rows))]] == rows


@given(st.lists(st.floats(0, 5), min_size=4, max_size=4), st.floats(0.5, 4))
def test_each_slice_decides_by_its_own_largest_response(largest: list[float], epsilon: float) -> None:
    residual = torch.stack([torch.full((1, 2, 2), value) for value in largest]).requires_grad_()
    shortcut = torch.ones(4, 1, 2, 2)
    result, decision = gated_sum(shortcut, residual, epsilon, slices=2)
    for part in (slice(0, 2), slice(2, 4)):
        closed = decide(residual[part], epsilon).closed
        assert torch.equal(result[part], shortcut[part] if closed else shortcut[part] + residual[part])
    assert decision.response == float(residual.detach().max())
    assert decision.closed == decide(residual, epsilon).closed
    if not decision.closed:
        result.sum().backward()
        gradient = [0.0 if decide(residual[part], epsilon).closed else 1.0 for part in (slice(0, 2), slice(2, 4))]
        assert residual.grad is not None
        assert residual.grad.mean((1, 2, 3)).tolist() == [gradient[0]] * 2 + [gradient[1]] * 2
