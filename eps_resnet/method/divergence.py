"""Numbers that are no longer finite: where they appeared first."""

import math

import torch
from torch import Tensor, nn

from eps_resnet.files.errors import UserError
from eps_resnet.method.networks.resnet import ResNet


class DivergenceError(UserError):
    """A training whose loss or weights are no longer finite. The message names the step and the layer."""


def require_finite_loss(loss: float, network: ResNet, inputs: Tensor, step: int) -> None:
    """Raises DivergenceError if the loss of a step (counted from 0), before its weights were changed, is not finite."""
    if not math.isfinite(loss):
        raise DivergenceError(f"The loss of step {step + 1} is {loss}: {first_not_finite(network, inputs)}.")


def require_finite_weights(network: ResNet, step: int) -> None:
    """Raises DivergenceError if a weight or a running statistic is not finite; `step` says after how many steps."""
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise DivergenceError(
                f"After step {step}, {name} is no longer finite: the step's gradient or rate was too large."
            )


@torch.no_grad()
def first_not_finite(network: ResNet, inputs: Tensor) -> str:
    """Which layer, in the order of computation, is the first whose weights or results are not finite, in words."""
    if not torch.isfinite(inputs).all():
        return "the batch itself is not finite"
    found: list[str] = []
    names = {module: name for name, module in network.named_modules()}

    def look(module: nn.Module, _inputs: object, result: Tensor) -> None:
        tensors = [result, *module.parameters()]
        if not found and not all(torch.isfinite(tensor).all() for tensor in tensors):
            found.append(names[module])

    hooks = [m.register_forward_hook(look) for m in network.modules() if not list(m.children())]
    network(inputs)
    for hook in hooks:
        hook.remove()
    return (
        f"layer {found[0]} is the first whose weights or results are not finite"
        if found
        else ("every layer's results are finite, so the loss itself overflowed")
    )
