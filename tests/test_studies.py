"""The studies' own arithmetic. What they found is held by tests of the results that they are about."""

from collections.abc import Iterator

import torch
from torch import Tensor

from eps_resnet.method.streams import stream
from studies import recalibration


def test_new_statistics_are_the_plain_means_over_an_epochs_batches_and_no_weight_changes() -> None:
    batches = [torch.randn(4, 3, 8, 8, generator=stream(0, "batches", epoch)) for epoch in range(3)]

    class Drawn:
        def training(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            return ((batch, torch.zeros(4)) for batch in batches)

    norm = torch.nn.BatchNorm2d(3)
    network = torch.nn.Sequential(norm)
    before = [parameter.clone() for parameter in network.parameters()]
    norm.running_mean.fill_(9.0)
    recalibration.recalibrate(network, Drawn())
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    assert torch.allclose(norm.running_mean, means, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
