"""The studies' own arithmetic. What they found is held by tests of the results that they are about."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.trainings import REGISTRY, experiment_of
from eps_resnet.evidence.finished import finished
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.atomic import read_json
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.method.networks.layers import BatchNorm
from eps_resnet.method.networks.resnet import ResNet, initialise
from eps_resnet.method.streams import stream
from studies import decomposition, frozen, recalibration
from studies.decomposition import Step


def test_new_statistics_are_the_plain_means_over_an_epochs_batches_and_no_weight_changes() -> None:
    batches = [torch.randn(4, 1, 8, 8, generator=stream(0, "batches", epoch)) for epoch in range(3)]

    class Drawn:
        def training(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            return ((batch, torch.zeros(4)) for batch in batches)

    network = ResNet(architecture_of(experiment_of(REGISTRY.run("digits-20-standard-s0"))))
    norm = next(module for module in network.modules() if isinstance(module, BatchNorm))
    before = [parameter.clone() for parameter in network.parameters()]
    norm.running_mean.fill_(9.0)
    inputs: list[Tensor] = []
    norm.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    recalibration.recalibrate(network, Drawn())
    means = torch.stack([seen.mean((0, 2, 3)) for seen in inputs]).mean(0)
    assert torch.allclose(norm.running_mean, means, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_with_gates_frozen_a_pruned_network_is_trained_by_plain_sgd_at_one_rate() -> None:
    experiment = experiment_of(REGISTRY.run("digits-20-epsilon_side-2p5-s0"))
    recipe, plain = experiment.recipe, replace(architecture_of(experiment).plain(), kept=((0, 2), (1,), ()))
    draw = stream(0, "images")
    batches = [(torch.randn(4, 1, 8, 8, generator=draw), torch.randint(10, (4,), generator=draw)) for _ in range(3)]

    class Drawn:
        def training(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            return iter(batches)

    network, other = ResNet(plain), ResNet(plain)
    initialise(network, recipe.initialisation, stream(0, "weights"))
    other.load_state_dict(network.state_dict())
    frozen.train_frozen(experiment, network, Drawn(), range(5, 7), 0.01)
    weights, others = [[p for p in other.parameters() if (p.dim() > 1) == decays] for decays in (True, False)]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others}]
    sgd = torch.optim.SGD(groups, lr=0.01, momentum=recipe.momentum, nesterov=recipe.nesterov)
    for inputs, labels in batches * 2:
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(other(inputs)[0], labels).backward()
        sgd.step()
    trained, expected = network.state_dict(), other.state_dict()
    assert all(torch.allclose(trained[name], expected[name], atol=1e-5) for name in expected)


def test_a_change_within_the_same_networks_has_the_interval_of_their_own_differences() -> None:
    # one-sample t of (0, 1, 2) points: mean 1, standard error 1 / sqrt(3), t(0.975, 2) = 4.3027
    before = Step("gates", {"a": 0.10, "b": 0.20, "c": 0.30})
    after = Step("pruned", {"a": 0.10, "b": 0.21, "c": 0.32})
    assert decomposition.table([before, after]).splitlines()[-1].endswith("| +1.00 (-1.48 to +3.48) |")


def test_a_change_between_networks_has_the_arms_pooled_spread() -> None:
    # two-sample t of (1, 2, 3) and (2, 3, 4) percent: 1 point, error sqrt(2 / 3), t(0.975, 4) = 2.7764
    before = Step("one", {"a": 0.01, "b": 0.02, "c": 0.03})
    after = Step("other", {"d": 0.02, "e": 0.03, "f": 0.04})
    assert decomposition.table([before, after]).splitlines()[-1].endswith("| +1.00 (-1.27 to +3.27) |")


def test_a_row_without_runs_is_not_run_and_the_next_has_no_change() -> None:
    found = [Step("one", {}), Step("other", {"a": 0.1})]
    assert decomposition.table(found).splitlines()[2:] == ["| one | 0 | not run | – |", "| other | 1 | 10.00% | – |"]


def test_the_decomposition_of_digits_in_the_docs_is_that_of_the_committed_results() -> None:
    results = [r for r in finished(REGISTRY, Layout()) if (r.run.dataset, r.run.depth) == ("digits", 56)]
    table = decomposition.table(list(decomposition.steps(REGISTRY.datasets["digits"], results)))
    assert table in Path("docs/digits-recipe.md").read_text(encoding="utf-8")


def test_what_the_side_studies_found_stands_in_the_docs() -> None:
    text = " ".join(Path("docs/cifar10-cpu.md").read_text(encoding="utf-8").split())
    recalibrated, gates_frozen = read_json(recalibration.RESULTS), read_json(frozen.RESULTS)
    assert recalibrated is not None
    assert gates_frozen is not None
    gated = [f"cifar10-cpu-56-epsilon_side-2p5-s{seed}" for seed in range(3)]
    before, after = (
        ", ".join(f"{100 * recalibrated[key][name]:.1f}" for key in gated) for name in ("pruned", "recalibrated")
    )
    assert f"Gated networks: {before} before, {after} after." in text
    changes = [row["recalibrated"] - row["pruned"] for key, row in recalibrated.items() if "-56-standard-" in key]
    assert f"by {100 * min(changes):+.1f} to {100 * max(changes):+.1f} points in six runs" in text
    assert len(changes) == 6
    first = gates_frozen[gated[0]]
    said = f"was {100 * first['pruned']:.1f} before and {100 * first['frozen']:.1f} after {first['epochs']} more epochs"
    assert said in text
    deep = "cifar10-cpu-110-epsilon_side-2p5-s0"
    assert (
        f"has {100 * recalibrated[deep]['pruned']:.1f} before, {100 * recalibrated[deep]['recalibrated']:.1f}" in text
    )
    ones, others = ([recalibrated[deep[:-1] + seed][name] for seed in "12"] for name in ("pruned", "recalibrated"))
    before, after = (" and ".join(f"{100 * error:.1f}" for error in errors) for errors in (ones, others))
    assert f"Seeds 1 and 2 of 110 layers have {before} before, {after} after." in text
    shallow = [recalibrated[f"cifar10-cpu-20-epsilon_side-2p5-s{seed}"] for seed in range(3)]
    before, after = (", ".join(f"{100 * row[name]:.1f}" for row in shallow) for name in ("pruned", "recalibrated"))
    assert f"At 20 layers it is {before} before, {after} after" in text
    last = gates_frozen[deep]
    assert f"had {100 * last['pruned']:.1f} and, {last['epochs']} epochs later, {100 * last['frozen']:.1f}" in text


def test_the_decomposition_at_56_layers_in_the_docs_is_that_of_the_committed_results() -> None:
    results = [r for r in finished(REGISTRY, Layout()) if (r.run.dataset, r.run.depth) == ("cifar10-cpu", 56)]
    found = list(decomposition.steps(REGISTRY.datasets["cifar10-cpu"], results))
    changes = [line.split(" | ")[-1].strip(" |") for line in decomposition.table(found).splitlines()]
    text = " ".join(Path("docs/cifar10-cpu.md").read_text(encoding="utf-8").split())
    standard, decayed, pruned = (100 * found[place].arm.mean for place in (0, 1, 4))
    assert f"{standard:.1f} % standard, {decayed:.1f} % with the gated networks' decay" in text
    assert f"({decayed - standard:+.2f} points; {['no', 'one', 'two'][len(found[1].errors)]} of three seeds" in text
    for page in ("README.md", "docs/results.md"):
        said = " ".join(Path(page).read_text(encoding="utf-8").split())
        assert f"{decayed - standard:+.1f} of " in said
        assert f"{pruned - standard:.1f} points" in said
    for change, words in zip(changes[-2:], ("by removing the discarded blocks", "by new statistics"), strict=True):
        points, interval = change.split(" ", 1)
        assert points in text
        assert f"{words} {interval}" in text
