"""What of a pruned network's error comes from batch-norm statistics that were gathered while gates flickered.

    python -m studies.recalibration      seconds a run, for the runs of cifar10-cpu whose networks are here

In training, a block whose gate is now open and now closed gives the layers after it two kinds of inputs, and their
running statistics are a mixture of both; pruned, the block is always there. So the test error is measured again after
the statistics have been taken anew on one epoch of training images: no weight changes, and no test image is looked at.
This is not the paper's method and enters no table (docs/cifar10-cpu.md).
"""

import torch

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.method.inputs.batches import Batches
from eps_resnet.method.networks.layers import BatchNorm
from eps_resnet.method.networks.resnet import ResNet
from eps_resnet.method.predict import predict
from eps_resnet.runs.networks import load_pruned
from studies import networks

RESULTS = networks.RESULTS / "recalibration.json"


def measure(experiment: Experiment, batches: Batches) -> dict[str, float]:
    """The pruned network's test error as it is, and with new statistics."""
    network = load_pruned(experiment)
    before = predict(network, batches).error
    recalibrate(network, batches)
    return {"pruned": before, "recalibrated": predict(network, batches).error}


@torch.no_grad()
def recalibrate(network: ResNet, batches: Batches) -> None:
    """Takes all batch-norm statistics anew: the plain mean over the batches of one epoch of training images."""
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    network.train()
    for seen, (inputs, _) in enumerate(batches.training(1)):
        for norm in norms:
            norm.momentum = 1 / (seen + 1)  # the first batch replaces what was there
        network(inputs.contiguous(memory_format=torch.channels_last))


if __name__ == "__main__":
    networks.measure_all(RESULTS, measure, only_gated=False)
