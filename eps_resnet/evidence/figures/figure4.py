"""Figure 4 (c): the gate's transfer function, computed by the gate itself. Panels a and b are schematic."""

import io

import matplotlib.pyplot as plt
import torch

from eps_resnet.evidence.figures import drawing
from eps_resnet.method.gate import gated_sum

EPSILON, REACH = 2.5, 3  # the paper's epsilon on CIFAR; how many of them are drawn to either side


def transfer(response: float, epsilon: float) -> float:
    """S(x): what the gate makes of a block with this single response."""
    x = torch.full((1, 1, 1, 1), response)
    return float(gated_sum(torch.zeros_like(x), x, epsilon)[0])


def svg() -> str:
    """The drawing."""
    canvas, (axes,) = drawing.canvas(1)
    steps = [EPSILON * REACH * (2 * i / 1000 - 1) for i in range(1001)]
    for part in (
        [x for x in steps if x < -EPSILON],
        [x for x in steps if -EPSILON <= x <= EPSILON],
        [x for x in steps if x > EPSILON],
    ):
        style = drawing.STYLES["epsilon_side"]
        axes.plot(part, [transfer(x, EPSILON) for x in part], color=style["color"], linewidth=1.8)
    axes.set_xticks([-EPSILON, 0, EPSILON], ["−ε", "0", "ε"])
    axes.set_yticks([-EPSILON, 0, EPSILON], ["−ε", "0", "ε"])
    axes.set_xlabel("largest response of the block, F(x)")
    axes.set_ylabel("S(F(x))")
    text = io.StringIO()
    canvas.savefig(text, format="svg", metadata={"Date": None})
    plt.close(canvas)
    return text.getvalue()
