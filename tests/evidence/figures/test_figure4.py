"""The gate's transfer function, as Figure 4 (c) draws it."""

from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.evidence.figures.figure4 import transfer


@given(st.floats(-10, 10, width=32), st.floats(0.5, 5, width=32))
def test_the_gate_lets_through_what_exceeds_epsilon_and_nothing_else(response: float, epsilon: float) -> None:
    assert transfer(response, epsilon) == (response if abs(response) > epsilon else 0)
