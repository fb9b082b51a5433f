"""Cuts the discarded blocks out: from a trained network to the smaller plain ResNet that does the same."""

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
