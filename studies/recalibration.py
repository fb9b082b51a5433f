"""What of a pruned network's error comes from batch-norm statistics that were gathered while gates flickered.

    python -m studies.recalibration      seconds a run, for the runs of cifar10-cpu whose networks are here

In training, a block whose gate is now open and now closed gives the layers after it two kinds of inputs, and their
running statistics are a mixture of both; pruned, the block is always there. So the test error is measured again after
the statistics have been taken anew on one epoch of training images: no weight changes, and no test image is looked at.
This is not the paper's method and enters no table (docs/cifar10-cpu.md).
"""

import json
from pathlib import Path

import torch
from torch.nn import BatchNorm2d

from benchmarks.trainings import CPU, REGISTRY, experiment_of
from eps_resnet.files.atomic import read_json, write_text
from eps_resnet.method.inputs.batches import Batches
from eps_resnet.method.inputs.open import open_batches
from eps_resnet.method.networks.resnet import ResNet
from eps_resnet.method.predict import predict
from eps_resnet.provenance import records
from eps_resnet.provenance.records import Metrics
from eps_resnet.runs.networks import load_pruned

DATASET = "cifar10-cpu"
RESULTS = Path(__file__).parent / "results" / "recalibration.json"


def main() -> None:
    """Measures every run whose pruned network is here and new, and keeps what was measured of the others."""
    torch.set_num_threads(1)
    found = read_json(RESULTS) or {}
    for key, run in REGISTRY.runs.items():
        experiment = experiment_of(run)
        metrics = records.read(Metrics, experiment.files.metrics)
        if run.dataset == DATASET and metrics and experiment.files.pruned.exists():
            if found.get(key, {}).get("pruned_sha256") == metrics.pruned_sha256:
                continue
            batches = open_batches(experiment, CPU)
            network = load_pruned(experiment)
            before = predict(network, batches).error
            recalibrate(network, batches)
            found[key] = {
                "pruned_sha256": metrics.pruned_sha256,
                "pruned": before,
                "recalibrated": predict(network, batches).error,
            }
            print(f"{key}: test error {before:.2%}, with new statistics {found[key]['recalibrated']:.2%}", flush=True)
            write_text(RESULTS, json.dumps(found, indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def recalibrate(network: ResNet, batches: Batches) -> None:
    """Takes all batch-norm statistics anew: the plain mean over the batches of one epoch of training images."""
    for norm in network.modules():
        if isinstance(norm, BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = None  # PyTorch's word for a plain mean
    network.train()
    for inputs, _ in batches.training(1):
        network(inputs.contiguous(memory_format=torch.channels_last))


if __name__ == "__main__":
    main()
