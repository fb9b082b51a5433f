"""What the paper claims in words, checked on every data set with finished runs. The rules are in docs/verdicts.md."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from eps_resnet.evidence import published
from eps_resnet.evidence.claims import errors, lives, shares
from eps_resnet.evidence.claims.results import Finding, Result, Verdict
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import DataSet, Method
from eps_resnet.experiments.registry import Registry
from eps_resnet.provenance import records, state
from eps_resnet.provenance.records import Metrics

BASELINES: dict[Method, str] = {
    "standard": "the standard network",
    "standard_side": "the standard network with side head",
}


@dataclass(frozen=True)
class Claim:
    """One claim on one data set.

    `place`: where paper or authors make it. `evidence`: why, in words with numbers. `runs`: the keys of the runs it
    rests on. `remark`: what must be said beside it, such as how a recipe was chosen.
    """

    number: int
    statement: str
    place: str
    dataset: str
    verdict: Verdict
    evidence: str
    runs: tuple[str, ...]
    remark: str | None


Rule = tuple[int, str, str, Callable[[list[Result]], Finding]]  # number, statement, place, what judges it


def claims(registry: Registry, layout: Layout) -> list[Claim]:
    """Every claim on every data set of the registry."""
    found = []
    for dataset in registry.datasets:
        results = finished(registry, layout, dataset)
        for number, statement, place, rule in rules(registry, dataset):
            judged, evidence, used = rule(results)
            keys = tuple(dict.fromkeys(result.key for result in used))
            remark = _remark(registry.datasets[dataset], [result for result in results if result.key in keys])
            found.append(Claim(number, statement, place, dataset, judged, evidence, keys, remark))
    return found


def finished(registry: Registry, layout: Layout, dataset: str) -> list[Result]:
    """The finished runs of a data set, in the registry's order."""
    found = []
    for key, run in registry.runs.items():
        experiment = registry.experiment(key, layout)
        if run.dataset == dataset and state.state(experiment) == "done":
            metrics = records.read(Metrics, experiment.files.metrics)
            assert metrics is not None, key  # or it were not done
            found.append(Result(experiment, metrics))
    return found


def rules(registry: Registry, dataset: str) -> list[Rule]:
    """The claims, the paper's first: number, statement, place, and what judges it from a data set's finished runs."""
    data = registry.datasets[dataset]
    return [
        *_claim_1(registry, dataset),
        (2, "deeper networks discard a larger share of their blocks", "Fig. 6", partial(shares.rises, "depth")),
        (3, "a larger ε discards a larger share of the blocks", "Fig. 8", partial(shares.rises, "epsilon")),
        (
            4,
            "the closer a stage is to the output, the larger the share it discards",
            "Fig. 10",
            shares.rises_along_stages,
        ),
        (5, "the weights of discarded blocks collapse to 0", "Fig. 5", lives.weights_collapse),
        (6, "the discarded share rises, then saturates", "Fig. 9", lives.saturates),
        (
            7,
            "about 80 % fewer parameters in some instance, without loss",
            "abstract",
            partial(errors.shrinks, registry, dataset),
        ),
        (
            8,
            "the pruned network errs no more than the gated one",
            "the text: discarded layers are removed",
            errors.pruned_errs_no_more,
        ),
        (
            9,
            "the pruned network errs no more than one of its size that is shallow from the start",
            "not the paper's: what a reader asks",
            partial(errors.errs_no_more_than_shallow, data),
        ),
        (
            10,
            "without the adaptive rate the network errs more",
            "the authors' scripts/README.md: it is required on CIFAR and SVHN",
            partial(errors.errs_more_without_restarts, data),
        ),
        (
            11,
            "a side head lowers the standard network's error",
            "Fig. 6, whose second baseline has one",
            errors.side_head_helps,
        ),
        (
            12,
            "discarding comes to an end, and the rate to rest, before the training ends",
            "Fig. 9",
            lives.comes_to_rest,
        ),
    ]


def _claim_1(registry: Registry, dataset: str) -> Iterator[Rule]:
    """One rule for each kind of baseline and each way to train it: against longer trainings the answer may differ."""
    data = registry.datasets[dataset]
    place = "abstract: marginal or no loss; ImageNet: marginal loss, 2.1 % and 2.9 % of the error"
    for method, name in BASELINES.items():
        ways = dict.fromkeys(r.variant for r in registry.runs.values() if (r.dataset, r.method) == (dataset, method))
        for way in ways or [None]:
            statement = f"ε-ResNet errs no more than {name}, but for 3 % of its error{_protocol(data, way)}"
            yield 1, statement, place, partial(errors.errs_no_more, data, method, way)


def _protocol(data: DataSet, variant: str | None) -> str:
    if variant is not None:
        return f" ({data.variants[variant].title})"
    epochs = data.recipe.epochs
    return f" (by the paper's protocol: {epochs.standard} against {epochs.epsilon} epochs)" if data.variants else ""


def _remark(data: DataSet, used: list[Result]) -> str | None:
    remarks = [data.remark] if data.remark else []
    remarks += sorted({f"An altered copy of the data: {d}." for r in used if (d := r.metrics.data_differs)})
    found = [published.recipe_differences(data, result.recipe, result.run) for result in used]
    if differences := sorted({words for keys in found for words in keys.values()}):
        remarks.append(f"Another recipe than the paper's: {'; '.join(differences)}.")
    if unsettled := [result.key for result in used if not result.metrics.settled]:
        remarks.append(f"Never settled (the rate did not fall to a hundredth): {', '.join(unsettled)}.")
    return " ".join(remarks) or None
