"""What a gated network gains if its gates stay as they are from the reported epoch on.

    python -m studies.frozen      minutes a run, for the gated runs of cifar10-cpu whose networks are here

At the lowest rate gates of kept blocks begin to flicker, so a run is reported at an early epoch there, and what was
left of its training is lost to it. Here the pruned network of that epoch is trained for the epochs that were left, at
the rate it had and with the recipe's decay, without gates and side head and with momentum from zero. The test images
are looked at once, after the last epoch. This is not the paper's method and enters no table (docs/cifar10-cpu.md).
"""

from dataclasses import replace

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.method.history import read_history
from eps_resnet.method.inputs.batches import Batches
from eps_resnet.method.loop import train_step
from eps_resnet.method.networks.resnet import ResNet
from eps_resnet.method.predict import predict
from eps_resnet.method.state import Training
from eps_resnet.runs.networks import load_pruned, load_trained
from studies import networks

RESULTS = networks.RESULTS / "frozen.json"


def measure(experiment: Experiment, batches: Batches) -> dict[str, float]:
    """The pruned network's test error as it is, and after the epochs that were left."""
    _, facts = load_trained(experiment)
    rates = read_history(experiment.files.history).set_index("epoch")["rate"]
    network = load_pruned(experiment)
    before = predict(network, batches).error
    left = range(facts.epoch + 1, experiment.epochs + 1)
    train_frozen(experiment, network, batches, left, rates[facts.epoch])
    return {"pruned": before, "epochs": len(left), "frozen": predict(network, batches).error}


def train_frozen(experiment: Experiment, network: ResNet, batches: Batches, epochs: range, rate: float) -> None:
    """Trains a network without gates for some epochs of an experiment, at one rate."""
    plain = experiment.run.model_copy(update={"method": "standard", "epsilon": None})
    training = Training(replace(experiment, run=plain), network)
    network.train()
    for epoch in epochs:
        for inputs, labels in batches.training(epoch):
            train_step(training, inputs, labels, rate)


if __name__ == "__main__":
    networks.measure_all(RESULTS, measure, only_gated=True)
