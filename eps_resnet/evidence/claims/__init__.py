"""What the paper claims in words, checked on every data set with finished runs. The rules are in docs/verdicts.md."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from eps_resnet.evidence import published
from eps_resnet.evidence.claims import errors, lives, shares
from eps_resnet.evidence.claims.results import Finding, Leaning, Result, Verdict
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
    rests on. `remark`: what must be said beside it, such as how a recipe was chosen. `short`: the statement in a few
    words. `leaning`: which way the evidence points, where it is undecided.
    """

    number: int
    statement: str
    place: str
    dataset: str
    verdict: Verdict
    evidence: str
    runs: tuple[str, ...]
    remark: str | None
    short: str
    leaning: Leaning | None


class Rule(NamedTuple):
    """A claim on some data set, as said in full and in a few words, where it is made, and what judges it."""

    number: int
    short: str
    statement: str
    place: str
    judge: Callable[[list[Result]], Finding]


def claims(registry: Registry, layout: Layout) -> list[Claim]:
    """Every claim on every data set of the registry."""
    found = []
    for dataset in registry.datasets:
        results = finished(registry, layout, dataset)
        found += [_judged(registry, dataset, rule, results) for rule in rules(registry, dataset)]
    return found


def _judged(registry: Registry, dataset: str, rule: Rule, results: list[Result]) -> Claim:
    finding = rule.judge(results)
    keys = tuple(dict.fromkeys(result.key for result in finding.used))
    return Claim(
        number=rule.number,
        statement=rule.statement,
        place=rule.place,
        dataset=dataset,
        verdict=finding.verdict,
        evidence=finding.evidence,
        runs=keys,
        remark=_remark(registry.datasets[dataset], [result for result in results if result.key in keys]),
        short=rule.short,
        leaning=finding.leaning if finding.verdict == "undecided" else None,
    )


def finished(registry: Registry, layout: Layout, dataset: str) -> list[Result]:
    """The finished runs of a data set, in the registry's order."""
    found = []
    for key, run in registry.runs.items():
        experiment = registry.experiment(key, layout)
        is_done = run.dataset == dataset and state.state(experiment) == "done"
        if is_done and (metrics := records.read(Metrics, experiment.files.metrics)):
            found.append(Result(experiment, metrics))
    return found


def rules(registry: Registry, dataset: str) -> list[Rule]:
    """The claims, the paper's first, and what judges each from a data set's finished runs."""
    data = registry.datasets[dataset]
    return [
        *_claim_1(registry, dataset),
        Rule(
            2,
            "deeper: a larger share discarded",
            "deeper networks discard a larger share of their blocks",
            "Fig. 6",
            partial(shares.rises, "depth"),
        ),
        Rule(
            3,
            "larger ε: a larger share discarded",
            "a larger ε discards a larger share of the blocks",
            "Fig. 8",
            partial(shares.rises, "epsilon"),
        ),
        Rule(
            4,
            "later stages discard more",
            "the closer a stage is to the output, the larger the share it discards",
            "Fig. 10",
            shares.rises_along_stages,
        ),
        Rule(
            5,
            "discarded weights go to 0",
            "the weights of discarded blocks collapse to 0",
            "Fig. 5",
            lives.weights_collapse,
        ),
        Rule(
            6,
            "the share rises, then saturates",
            "the discarded share rises, then saturates",
            "Fig. 9",
            lives.saturates,
        ),
        Rule(
            7,
            "80 % fewer parameters, no loss",
            "about 80 % fewer parameters in at least one case, with no loss of accuracy",
            "abstract",
            partial(errors.shrinks, registry, dataset),
        ),
        Rule(
            8,
            "pruned no worse than gated",
            "the pruned network's error is no higher than the gated one's",
            "the text: discarded layers are removed",
            errors.pruned_errs_no_more,
        ),
        Rule(
            9,
            "pruned no worse than shallow",
            "the pruned network's error is no higher than that of one its size, shallow from the start",
            "not the paper's: a reader's question",
            partial(errors.errs_no_more_than_shallow, data),
        ),
        Rule(
            10,
            "higher error without adaptive rate",
            "without the adaptive rate the error is higher",
            "the authors' scripts/README.md: it is required on CIFAR and SVHN",
            partial(errors.errs_more_without_restarts, data),
        ),
        Rule(
            11,
            "a side head lowers the error",
            "a side head lowers the standard network's error",
            "Fig. 6, whose second baseline has one",
            errors.side_head_helps,
        ),
        Rule(
            12,
            "discarding ends in time",
            "discarding ends, and the rate comes to rest, before the training ends",
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
            statement = f"ε-ResNet's error is at most 3 % above that of {name}{_protocol(data, way)}"
            longer = "" if way is None else f", {data.variants[way].title}"
            short = f"no worse than {method}{longer}"
            yield Rule(1, short, statement, place, partial(errors.errs_no_more, data, method, way))


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
