"""Cuts the discarded blocks out: from a trained network to the smaller plain ResNet that does the same."""

from dataclasses import replace
from typing import Any

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry, recipe_of
from eps_resnet.files import tensors
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.method.networks.resnet import ResNet


def prune(network: ResNet, discarded: list[bool]) -> ResNet:
    """A plain network without the discarded blocks (one flag per block, input to output), without gates or side head.

    The other blocks' weights are copied and renumbered. A first block of a stage leaves its skip in place: pooling and
    zero channels, or on ImageNet the projection and the pre-activation before it. The two networks agree on a batch if
    every discarded gate is closed and every other gate open.
    """
    pruned = ResNet(network.architecture.without(discarded))
    source_at = {unit.place: unit for unit in network.units}
    pairs = [(unit, source_at[unit.place]) for unit in pruned.units]
    for target, source in [*pairs, (pruned.stem, network.stem), (pruned.head, network.head)]:
        wanted = target.state_dict()  # a skip takes from its block what the two have in common
        target.load_state_dict({name: tensor for name, tensor in source.state_dict().items() if name in wanted})
    return pruned.train(network.training)


def prune_run(registry: Registry, layout: Layout, key: str) -> None:
    """Prunes a trained run and writes the plain network, with the blocks it kept."""
    network, facts = load_trained(registry, layout, key)
    pruned = prune(network, facts["discarded"])
    origin = {"model_sha256": sha256(layout.model(key)), "kept": pruned.architecture.kept}
    tensors.write(layout.pruned(key), pruned.state_dict(), origin)


def load_trained(registry: Registry, layout: Layout, key: str) -> tuple[ResNet, dict[str, Any]]:
    """A run's gated network at its settled epoch, and the facts stored beside its weights.

    Raises UserError if the file is missing, damaged or altered.
    """
    run = registry.run(key)
    weights, facts = tensors.read(layout.model(key), f"run `eps-resnet train {key}` or `dvc pull`")
    require_unaltered(layout, key)
    network = ResNet(architecture_of(run, registry.datasets[run.dataset], recipe_of(registry, run)))
    del weights["mean_image"]  # kept beside them for whoever uses the network without this package
    network.load_state_dict(weights)
    if run.epsilon is not None:
        network.set_epsilon(facts["epsilon"])  # that of the settled epoch
    return network.eval(), facts


def require_unaltered(layout: Layout, key: str) -> None:
    """Raises UserError if a trained network is not the one that its run's manifest names."""
    manifest, path = read_json(layout.manifest(key)), layout.model(key)
    if not isinstance(manifest, dict) or manifest.get("model_sha256") != sha256(path):
        raise UserError(
            f"{path} is not the network that {layout.manifest(key)} names: it was altered, or belongs to another "
            f"training. `dvc checkout {path}` brings it back if DVC has it; to train it anew, delete it."
        )


def load_pruned(registry: Registry, layout: Layout, key: str) -> ResNet:
    """A run's pruned network. Raises UserError if the file is missing, damaged, or made from another training."""
    run = registry.run(key)
    weights, facts = tensors.read(layout.pruned(key), f"run `eps-resnet prune {key}`")
    if facts["model_sha256"] != sha256(layout.model(key)):
        raise UserError(f"{layout.pruned(key)} is of another training; run `eps-resnet prune {key}` again.")
    whole = architecture_of(run, registry.datasets[run.dataset], recipe_of(registry, run))
    network = ResNet(replace(whole.plain(), kept=tuple(tuple(stage) for stage in facts["kept"])))
    network.load_state_dict(weights)
    return network.eval()
