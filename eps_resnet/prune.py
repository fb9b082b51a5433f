"""Cuts the discarded blocks out: from a trained network to the smaller plain ResNet that does the same."""

from typing import Any

from torch import Tensor, nn

from eps_resnet import tensors
from eps_resnet.errors import UserError
from eps_resnet.files import sha256
from eps_resnet.layout import Layout
from eps_resnet.network import Architecture, ResNet, architecture_of
from eps_resnet.registry import Registry, recipe_of


def prune(network: ResNet, discarded: list[bool]) -> ResNet:
    """A plain network without the discarded blocks (one flag per block, input to output), without gates or side head.

    The other blocks' weights are copied and renumbered. The first block of the second or third stage leaves its
    shortcut (pooling and zero channels) in place. The two networks agree on a batch if every discarded gate is closed
    and every other gate open.
    """
    pruned = ResNet(network.architecture.without(discarded))
    remaining = [block for block, gone in zip(network.blocks, discarded, strict=True) if not gone]
    pairs: list[tuple[nn.Module, nn.Module]] = list(zip(pruned.blocks, remaining, strict=True))
    for target, source in [*pairs, (pruned.stem, network.stem), (pruned.head, network.head)]:
        target.load_state_dict(source.state_dict())
    return pruned.train(network.training)


def prune_run(registry: Registry, layout: Layout, key: str) -> None:
    """Prunes a trained run and writes the plain network, with the blocks it kept."""
    network, _, facts = load_trained(registry, layout, key)
    pruned = prune(network, facts["discarded"])
    origin = {"model_sha256": sha256(layout.model(key)), "kept": pruned.architecture.kept}
    tensors.write(layout.pruned(key), pruned.state_dict(), origin)


def load_trained(registry: Registry, layout: Layout, key: str) -> tuple[ResNet, Tensor, dict[str, Any]]:
    """A run's gated network at its settled epoch, its mean image (C, H, W) and the facts stored beside the weights.

    Raises UserError if the file is missing or damaged.
    """
    run = registry.run(key)
    weights, facts = tensors.read(layout.model(key), f"run `eps-resnet train {key}` or `dvc pull`")
    network = ResNet(architecture_of(run, registry.datasets[run.dataset], recipe_of(registry, run)))
    mean = weights.pop("mean_image")
    network.load_state_dict(weights)
    return network.eval(), mean, facts


def load_pruned(registry: Registry, layout: Layout, key: str) -> ResNet:
    """A run's pruned network. Raises UserError if the file is missing, damaged, or made from another training."""
    run = registry.run(key)
    weights, facts = tensors.read(layout.pruned(key), f"run `eps-resnet prune {key}`")
    if facts["model_sha256"] != sha256(layout.model(key)):
        raise UserError(f"{layout.pruned(key)} is of another training; run `eps-resnet prune {key}` again.")
    whole = architecture_of(run, registry.datasets[run.dataset], recipe_of(registry, run))
    kept = tuple(tuple(stage) for stage in facts["kept"])
    network = ResNet(Architecture(whole.channels, whole.classes, kept, stride_padding=whole.stride_padding))
    network.load_state_dict(weights)
    return network.eval()
