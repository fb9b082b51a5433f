"""Blocks that provably stay closed until their training ends, whatever it still brings (docs/certificate.md).

A closed gate's block gets no gradient, so its weights can only decay and coast on their momentum; and batch norm bounds
what its last convolution can be given. Once that bound is below epsilon, the block's forward pass can be left out.
"""

import math

import torch
from torch import Tensor

from eps_resnet.method.networks.blocks import Block
from eps_resnet.method.schedule import epsilon_of, weight_decay
from eps_resnet.method.state import Training

MARGIN = 0.999  # of epsilon: room for rounding, which is below a ten-thousandth (docs/certificate.md)

Reach = tuple[Tensor, Tensor]  # the largest positive and negative part that each element can still have, both >= 0


def certify(training: Training, discarded: list[bool], image_size: int) -> None:
    """After an epoch: certifies those of its discarded blocks that cannot reopen in the epochs that are left.

    `image_size`: height and width in pixels. No certificate is withdrawn, but where a training goes on on a GPU.
    """
    recipe, coasting = training.recipe, coasting_of(training)
    if coasting is None or training.run.epsilon is None or not training.certifies:
        return
    if recipe.discarded_in_evaluation != "identity":  # evaluation would run a block that has gone stale
        return
    images = recipe.batch // recipe.slices
    limit = MARGIN * epsilon_of(recipe, training.run.epsilon, training.epoch + 1)  # it never falls
    for block, is_discarded in zip(training.network.blocks, discarded, strict=True):
        if is_discarded and not block.certified:
            elements = images * training.network.architecture.side(block.place[0], image_size) ** 2
            block.certified = largest_possible_response(training, block, coasting, elements) <= limit


def coasting_of(training: Training) -> float | None:
    """k: how far, per unit of its momentum buffer, a parameter without gradient can still move. None: no bound holds.

    k = r mu / (1 - mu), with r the highest rate that can still come; valid where r x decay <= (1 - sqrt(mu))^2, and for
    float32 and PyTorch's own kernels on a CPU alone, as the margin is no room for other rounding.
    """
    recipe = training.recipe
    rate = training.schedule.highest_rate(training.epoch + 1, training.experiment.epochs)
    swings = rate * weight_decay(recipe, training.step) > (1 - math.sqrt(recipe.momentum)) ** 2
    if swings or recipe.precision != "float32" or recipe.compiled or training.device.type != "cpu":
        return None
    return rate * recipe.momentum / (1 - recipe.momentum)


def largest_possible_response(training: Training, block: Block, coasting: float, elements: int) -> float:
    """The most that |F| can be in training from now on, if the block gets no gradient.

    `elements`: what batch norm normalises over, images x pixels of a slice.
    """
    norm, conv = block.norms[-1], block.convs[-1]
    scale, shift, weight = (_reach(training, p, coasting) for p in (norm.weight, norm.bias, conv.weight))  # type: ignore[arg-type]
    return response_bound(torch.maximum(*scale), shift[0], weight, elements)


def response_bound(scale: Tensor, shift: Tensor, weight: Reach, elements: int) -> float:
    """max |F| of a convolution of relu(scale x + shift), x being normalised over `elements` values per channel.

    `scale` and `shift` (C,): largest absolute value and largest positive part. `weight`: (O, C, kernel, kernel), the
    largest positive and negative part of each weight. By Cauchy-Schwarz over a kernel's taps, as sum x^2 <= elements.
    """
    sides = []
    for part in weight:
        taps = part.double().flatten(2)  # (O, C, kernel^2)
        per_channel = scale.double() * math.sqrt(elements) * taps.norm(dim=2) + shift.double() * taps.sum(2)
        sides.append(float(per_channel.sum(1).max()))
    return max(sides)


def reach(value: Tensor, momentum: Tensor, coasting: float) -> Reach:
    """The largest positive and negative part that a parameter without gradient can have from now on."""
    up, down = (-momentum).clamp(min=0), momentum.clamp(min=0)  # SGD moves against the buffer
    return value.clamp(min=0) + coasting * up, (-value).clamp(min=0) + coasting * down


def _reach(training: Training, parameter: torch.nn.Parameter, coasting: float) -> Reach:
    buffer = training.optimizer.state[parameter].get("momentum_buffer")  # none without momentum
    momentum = torch.zeros_like(parameter) if buffer is None else buffer
    return reach(parameter.detach().double(), momentum.double(), coasting)
