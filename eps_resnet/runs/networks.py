"""The networks of a run, trained and pruned, read from their files."""

from dataclasses import replace

from pydantic import ValidationError
from torch import Tensor

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.files import tensors
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError
from eps_resnet.measure.prune import prune
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.method.networks.resnet import ResNet
from eps_resnet.provenance import records
from eps_resnet.provenance.records import Manifest, NetworkFacts

MEAN_IMAGE = "mean_image"  # kept beside the weights for whoever uses the network without this package
LATEST = "latest."  # before the names of the weights of the last epoch at the lowest rate, where it is not the reported


def load_trained(experiment: Experiment) -> tuple[ResNet, NetworkFacts]:
    """A run's gated network at the epoch that is pruned, and the facts stored beside its weights.

    Raises UserError if the file is missing, damaged or altered.
    """
    weights, facts = _read(experiment)
    reported = {name: tensor for name, tensor in weights.items() if not name.startswith(LATEST)}
    return _network(experiment, reported, facts.epsilon), facts


def load_latest(experiment: Experiment) -> ResNet:
    """A run's gated network at the last epoch at the lowest rate, where that is not the one that is pruned."""
    weights, facts = _read(experiment)
    latest = {name.removeprefix(LATEST): tensor for name, tensor in weights.items() if name.startswith(LATEST)}
    return _network(experiment, latest, facts.epsilon)


def _read(experiment: Experiment) -> tuple[dict[str, Tensor], NetworkFacts]:
    path = experiment.files.model
    weights, facts = tensors.read(path, f"run `eps-resnet train {experiment.key}`")
    require_unaltered(experiment)
    try:
        known = NetworkFacts.model_validate(facts)
    except ValidationError:
        raise UserError(f"{path} is not as it is written here; delete it to train the run anew.") from None
    del weights[MEAN_IMAGE]
    return weights, known


def _network(experiment: Experiment, weights: dict[str, Tensor], epsilon: float) -> ResNet:
    network = ResNet(architecture_of(experiment))
    network.load_state_dict(weights)
    if experiment.run.epsilon is not None:
        network.set_epsilon(epsilon)
    return network.eval()


def require_unaltered(experiment: Experiment) -> None:
    """Raises UserError if a trained network is not the one that its run's manifest names."""
    path, manifest = experiment.files.model, records.read(Manifest, experiment.files.manifest)
    if manifest is None or manifest.model_sha256 != sha256(path):
        raise UserError(
            f"{path} is not the network that {experiment.files.manifest} names: it was altered, or belongs to another "
            f"training. `dvc checkout {path}` brings it back if DVC has it; to train it anew, delete it."
        )


def prune_run(experiment: Experiment) -> None:
    """Prunes a trained run and writes the plain network, with the blocks it kept."""
    network, facts = load_trained(experiment)
    pruned = prune(network, facts.discarded)
    origin = {"model_sha256": sha256(experiment.files.model), "kept": pruned.architecture.kept}
    tensors.write(experiment.files.pruned, pruned.state_dict(), origin)


def load_pruned(experiment: Experiment, model_sha256: str | None = None) -> ResNet:
    """A run's pruned network. Raises UserError if the file is missing, damaged, or made from another training.

    `model_sha256`: of the trained network that it must be made from; None for the one that is here.
    """
    command = f"run `eps-resnet prune {experiment.key}`"
    weights, facts = tensors.read(experiment.files.pruned, command)
    if facts["model_sha256"] != (model_sha256 or sha256(experiment.files.model)):
        raise UserError(f"{experiment.files.pruned} is of another training; {command} again.")
    kept = tuple(tuple(stage) for stage in facts["kept"])
    network = ResNet(replace(architecture_of(experiment).plain(), kept=kept))
    network.load_state_dict(weights)
    return network.eval()
