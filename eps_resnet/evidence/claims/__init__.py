"""What the paper claims in words, checked on every data set with finished runs. The rules are in docs/verdicts.md."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from eps_resnet.evidence import published
from eps_resnet.evidence.claims import errors, lives, shares  # noqa: F401 - each adds its rules
from eps_resnet.evidence.claims.rules import RULES, Case, Leaning, Rule, Verdict
from eps_resnet.evidence.finished import Result, finished
from eps_resnet.evidence.margins import MARGINAL_LOSS
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import DataSet, Method
from eps_resnet.experiments.registry import Registry

BASELINES: dict[Method, str] = {
    "standard": "the standard network",
    "standard_side": "the standard network with side head",
}


@dataclass(frozen=True)
class Claim:
    """One claim on one data set.

    `place`: where paper or authors make it. `evidence`: why, in words with numbers. `runs`: the keys of the runs it
    rests on. `remark`: what must be said beside it, such as how a recipe was chosen. `short`: the statement in a few
    words. `leaning`: which way the evidence points, where it is undecided. `progress`: how many of the data set's runs
    are finished, where only some are.
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
    progress: str | None


def claims(registry: Registry, layout: Layout) -> list[Claim]:
    """Every claim on every data set of the registry."""
    return [_judged(case, rule) for case in cases(registry, layout) for rule in rules(case)]


def cases(registry: Registry, layout: Layout) -> list[Case]:
    """Every data set of the registry with its finished runs."""
    done = finished(registry, layout)
    return [Case(registry, name, [r for r in done if r.run.dataset == name]) for name in registry.datasets]


def _judged(case: Case, rule: Rule) -> Claim:
    finding = rule.judge(case)
    keys = tuple(dict.fromkeys(result.key for result in finding.used))
    return Claim(
        number=rule.number,
        statement=rule.statement,
        place=rule.place,
        dataset=case.dataset,
        verdict=finding.verdict,
        evidence=finding.evidence,
        runs=keys,
        remark=_remark(case, [result for result in case.results if result.key in keys]),
        short=rule.short,
        leaning=finding.leaning if finding.verdict == "undecided" else None,
        progress=case.progress,
    )


def rules(case: Case) -> list[Rule]:
    """The claims, the paper's first, and what judges each from a data set's finished runs."""
    found = [*_claim_1(case), *RULES, *_claim_7(case)]
    return sorted(found, key=lambda rule: rule.number)


def _claim_1(case: Case) -> Iterator[Rule]:
    """One rule for each kind of baseline and each way to train it: against longer trainings the answer may differ."""
    place = "abstract: marginal or no loss; ImageNet: marginal loss, 2.1 % and 2.9 % of the error"
    for method, name in BASELINES.items():
        for way in ways(case, method):
            statement = (
                f"ε-ResNet's error is at most {100 * MARGINAL_LOSS:g} % above that of {name}{protocol(case.data, way)}"
            )
            short = f"no worse than {method}{_longer(case.data, way)}"
            yield Rule(1, short, statement, place, partial(errors.errs_no_more, method=method, variant=way))


def _claim_7(case: Case) -> Iterator[Rule]:
    """One rule for each way to train the standard network."""
    standard = ways(case, "standard")
    for way in standard:
        statement = (
            f"about 80 % fewer parameters in at least one case, with no loss of accuracy{protocol(case.data, way)}"
        )
        short = f"80 % fewer parameters, no loss{_longer(case.data, way)}"
        yield Rule(7, short, statement, "abstract", partial(errors.shrinks, variant=way, ways=standard))


def ways(case: Case, method: Method) -> list[str | None]:
    """The ways to train a method's networks, the recipe's own first."""
    found = dict.fromkeys(run.variant for run in case.planned if run.method == method)
    return sorted(found, key=lambda way: way is not None) or [None]


def _longer(data: DataSet, variant: str | None) -> str:
    return "" if variant is None else f", {data.variants[variant].title}"


def protocol(data: DataSet, variant: str | None) -> str:
    """How a baseline is trained, in brackets; empty where the registry has one way only."""
    if variant is not None:
        return f" ({data.variants[variant].title})"
    epochs = data.recipe.epochs
    return f" (by the paper's protocol: {epochs.standard} against {epochs.epsilon} epochs)" if data.variants else ""


def _remark(case: Case, used: list[Result]) -> str | None:
    data = case.data
    remarks = [f"{case.progress}: verdicts may change."] if case.progress else []
    remarks += [data.remark] if data.remark else []
    remarks += sorted({f"An altered copy of the data: {d}." for r in used if (d := r.metrics.data_differs)})
    found = [published.recipe_differences(data, result.recipe, result.run) for result in used]
    if differences := sorted({words for keys in found for words in keys.values()}):
        remarks.append(f"Another recipe than the paper's: {'; '.join(differences)}.")
    if unsettled := [result.key for result in used if not result.metrics.settled]:
        remarks.append(f"Never settled (the rate did not fall to a hundredth): {', '.join(unsettled)}.")
    return " ".join(remarks) or None
