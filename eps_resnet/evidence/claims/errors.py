"""Claims about errors: 1, 7, 8, 9, 10 and 11. They compare arms, not pairs: seeds of two methods do not correlate."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from eps_resnet.evidence import published
from eps_resnet.evidence.claims.results import (
    NOT_ENOUGH,
    Finding,
    Leaning,
    Result,
    Verdict,
    decay,
    depth,
    epsilon,
    errors_of,
    gated,
    grouped,
    have_spread,
    leaning,
    not_run,
)
from eps_resnet.evidence.inference import LEVEL, Contrast, contrast, holm, sign_flip
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import DataSet, Method, Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.measure.size import size_of
from eps_resnet.method.networks.architecture import architecture_of

# Of the baseline's error: what the paper itself calls marginal on ImageNet is 2.1 % (101 layers) and 2.9 % (152).
MARGIN = 0.03
ABOUT_80_PERCENT = 0.75  # of the parameters; rounds to 80 %


@dataclass(frozen=True)
class Pairing:
    """A gated arm and the arm it is compared with, at one place such as a depth."""

    where: str
    gated: list[Result]
    baseline: list[Result]

    @property
    def is_complete(self) -> bool:
        """Whether both arms have enough seeds."""
        return have_spread(self.gated, self.baseline)


def excess(pairings: Sequence[Pairing], margin: float = MARGIN) -> Contrast:
    """By how much gated networks err more than baselines and the margin, on average over the places (stratified)."""
    share = 1 / len(pairings)
    ours = [(share, errors_of(pairing.gated, "gated")) for pairing in pairings]
    return contrast([*ours, *((-share * (1 + margin), errors_of(p.baseline, "baseline")) for p in pairings)])


def judge_excess(found: Contrast) -> Verdict:
    """Non-inferiority: supported if clearly below the margin, contradicted if clearly above (both 95 %, one-sided)."""
    low, high = found.bounds()
    return "supported" if high < 0 else "contradicted" if low > 0 else "undecided"


def lower_errors(pairings: Sequence[Pairing], margin: float = MARGIN) -> Leaning | None:
    """Whether gated networks err less than baselines and the margin on average over the places, and at how many."""
    less = [(1 + margin) * errors_of(p.baseline, "").mean - errors_of(p.gated, "").mean for p in pairings]
    return leaning(sum(less), less, "places" if len(pairings) > 1 else "place")


def errs_no_more(data: DataSet, method: Method, variant: str | None, results: list[Result]) -> Finding:
    """Claim 1: one estimate over all depths, against baselines of the decay chosen beforehand. Single depths: Holm."""
    pairings = _by_depth(data, method, variant, results)
    if not pairings:
        return not_run(f"no finished epsilon_side and {method} of the same depth")
    used = [result for pairing in pairings for result in (*pairing.gated, *pairing.baseline)]
    points = lower_errors(pairings)
    if not all(pairing.is_complete for pairing in pairings):
        means = "; ".join(_means(pairing) for pairing in pairings)
        return Finding("undecided", f"{means}. {NOT_ENOUGH}", used, points)
    whole = excess(pairings)
    singles = [excess([pairing]) for pairing in pairings]
    lines = [
        f"{_means(pairing)}, p {p:.2g}"
        for pairing, p in zip(pairings, holm([single.p_below() for single in singles]), strict=True)
    ]
    words = f"{_in_words(pairings, whole)}. Single depths (p by Holm): {'; '.join(lines)}"
    return Finding(judge_excess(whole), words, used, points)


def _by_depth(data: DataSet, method: Method, variant: str | None, results: list[Result]) -> list[Pairing]:
    wanted = data.baseline_decay if data.baseline_decay is not None else data.recipe.weight_decay
    ours = [r for r in gated(results) if r.decay == data.recipe.weight_decay and r.run.epsilon in data.recipe.epsilons]
    plain = [r for r in results if (r.run.method, r.run.variant, r.decay) == (method, variant, wanted)]
    others = grouped(plain, depth)
    return [
        Pairing(f"depth {at[0]}, ε {at[1]:g}", group, others[at[0],])
        for at, group in grouped(ours, depth, epsilon).items()
        if (at[0],) in others
    ]


def _means(pairing: Pairing) -> str:
    ours, others = errors_of(pairing.gated, ""), errors_of(pairing.baseline, "")
    seeds = f"n {len(ours.values)} and {len(others.values)}"
    return f"{pairing.where}: {ours.mean:.2%} against {others.mean:.2%} ({seeds})"


def _in_words(pairings: Sequence[Pairing], whole: Contrast) -> str:
    """The pooled difference with its interval, the margin it is held against, and the power."""
    difference = excess(pairings, margin=0.0)
    margin = difference.estimate - whole.estimate
    power = whole.power_below(-margin)
    return (
        f"{_points(difference)}, margin {100 * margin:.2f}; p of a loss beyond the margin {whole.p_below():.2g}; power "
        f"if there is none {power:.2f}"
    )


def _points(difference: Contrast) -> str:
    low, high = difference.bounds()
    return (
        f"difference of errors {100 * difference.estimate:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f}, each "
        f"bound 95 %)"
    )


def shrinks(registry: Registry, dataset: str, results: list[Result]) -> Finding:
    """Claim 7: an arm that lost 75 % of its parameters or more and errs no more than its baseline, by claim 1's test.

    Only contradicted where the paper has such an instance and all runs are finished.
    """
    data = registry.datasets[dataset]
    ways = dict.fromkeys(result.run.variant for result in results if result.run.method == "standard")
    pairings = [pairing for way in ways for pairing in _by_depth(data, "standard", way, results)]
    if not pairings:
        return not_run("no finished epsilon_side and standard of the same depth")
    used = [result for pairing in pairings for result in (*pairing.gated, *pairing.baseline)]
    small = [pairing for pairing in pairings if _removed(pairing) >= ABOUT_80_PERCENT and pairing.is_complete]
    ps = holm([excess([pairing]).p_below() for pairing in small])
    lines = [
        f"{pairing.where}{_way(data, pairing)}: {_removed(pairing):.1%} of the parameters, p of a loss beyond the "
        f"margin {p:.2g}"
        for pairing, p in zip(small, ps, strict=True)
    ]
    points = lower_errors(small) if small else None
    most = max(pairings, key=_removed)
    evidence = "; ".join(lines) or f"at most {_removed(most):.1%} of the parameters ({most.where})"
    if any(p < LEVEL for p in ps):
        return Finding("supported", evidence, used)
    if any(not pairing.is_complete for pairing in pairings):
        return Finding("undecided", f"{evidence}; {NOT_ENOUGH}", used, points)
    planned = [key for key, run in registry.runs.items() if run.dataset == dataset and run.method == "epsilon_side"]
    is_finished = len([result for result in results if result.is_gated]) == len(planned)
    if not _paper_has_one(registry, data) or not is_finished:
        why = "the paper shows no such instance here" if is_finished else "not all runs are finished"
        return Finding("undecided", f"{evidence}; {why}", used, points)
    lost = not small or all(judge_excess(excess([pairing])) == "contradicted" for pairing in small)
    return Finding("contradicted" if lost else "undecided", evidence, used, points)


def _removed(pairing: Pairing) -> float:
    removed = [result.metrics.compression.parameters_removed for result in pairing.gated]
    return sum(removed) / len(removed)


def _way(data: DataSet, pairing: Pairing) -> str:
    title = data.variant_title(pairing.baseline[0].run)
    return f" against a baseline with {title}" if title else ""


def _paper_has_one(registry: Registry, data: DataSet) -> bool:
    table = published.of_data(published.read(published.published_csv(), registry), data)
    return bool((table[table["metric"] == "discarded_ratio"]["value"] >= ABOUT_80_PERCENT).any())


def pruned_errs_no_more(results: list[Result]) -> Finding:
    """Claim 8: wrong images batch by batch, as one gate decides for a batch; a sign-flip test for each run, by Holm."""
    ours = [result for result in results if result.is_gated]
    if not ours:
        return not_run("no finished run of epsilon_side")
    more = [_more_wrong(result) for result in ours]
    adjusted = holm([sign_flip(differences) for differences in more])
    lines = [
        f"{result.key} {sum(differences):+d} wrong images, p {p:.2g}"
        for result, differences, p in zip(ours, more, adjusted, strict=True)
        if sum(differences) > 0
    ]
    closing = [result.key for result in ours if result.metrics.agreement.kept_gates_that_closed]
    fine = len(ours) - len(lines)
    premise = (
        f"the premise, that no kept gate closes on test images, holds in {len(ours) - len(closing)} of {len(ours)} runs"
    )
    evidence = "; ".join([f"no more wrong images in {fine} of {len(ours)} runs", *lines, premise])
    if not lines:
        return Finding("supported", evidence, ours)
    judged: Verdict = "contradicted" if min(adjusted) < LEVEL else "undecided"
    sums = [-sum(differences) for differences in more]
    return Finding(judged, evidence, ours, leaning(sum(sums), sums, "runs"))


def _more_wrong(result: Result) -> list[int]:
    wrong = result.metrics.wrong_per_batch
    return [pruned - with_gates for pruned, with_gates in zip(wrong.pruned, wrong.gated, strict=True)]


def errs_no_more_than_shallow(data: DataSet, results: list[Result]) -> Finding:
    """Claim 9: against the least standard network of as many parameters, trained as long with the baselines' decay.

    By claim 1's test without a margin, as nobody calls a loss against the simpler network marginal.
    """
    if data.recipe.network != "cifar":
        return not_run("shallower networks of that family are not trained")
    pairings, missing = [], []
    for at, group in grouped(gated(results), depth, epsilon, decay).items():
        sizes = [result.metrics.after.parameters for result in group]
        shallow, parameters = depth_of_size(data, max(sizes))
        if shallow >= at[0]:
            continue
        where = (
            f"depth {at[0]}, ε {at[1]:g}, decay {at[2]:g} ({min(sizes):,} to {max(sizes):,} parameters) against depth "
            f"{shallow} ({parameters:,})"
        )
        others = [r for r in results if _is_baseline(r, shallow, group[0].experiment.epochs, data.baseline_decay)]
        if others:
            pairings.append(Pairing(where, group, others))
        else:
            missing.append(where)
    if not pairings:
        why = "no pruned network is as small as a shallower one"
        return not_run(f"the shallower one is not trained: {'; '.join(missing)}" if missing else why)
    used = [result for pairing in pairings for result in (*pairing.gated, *pairing.baseline)]
    judged, evidence = _judge_each(pairings)
    if missing:
        evidence = f"{evidence}; not run: {'; '.join(missing)}"
        judged = "undecided" if judged == "supported" else judged
    return Finding(judged, evidence, used, lower_errors(pairings, margin=0.0))


def _is_baseline(result: Result, at: int, epochs: int, wanted: float | None) -> bool:
    run, its_decay = result.run, result.recipe.weight_decay if wanted is None else wanted
    return (run.method, run.depth, result.experiment.epochs, result.decay) == ("standard", at, epochs, its_decay)


def _judge_each(pairings: list[Pairing]) -> tuple[Verdict, str]:
    """Superiority at each place: supported if clear at all of them together, contradicted if the reverse is."""
    if not all(pairing.is_complete for pairing in pairings):
        return "undecided", f"{'; '.join(map(_means, pairings))}. {NOT_ENOUGH}"
    whole = excess(pairings, margin=0.0)
    low, high = whole.bounds()
    judged: Verdict = "supported" if high < 0 else "contradicted" if low > 0 else "undecided"
    return judged, f"{_points(whole)}: {'; '.join(map(_means, pairings))}"


def depth_of_size(data: DataSet, parameters: int) -> tuple[int, int]:
    """Depth and parameters of the smallest standard CIFAR-style network that has `parameters` parameters or more."""
    for layers in itertools.count(8, 6):
        run = Run.model_validate({"dataset": "any", "depth": layers, "method": "standard"})
        experiment = Experiment(run.key, run, data, data.recipe, Layout())
        size = size_of(architecture_of(experiment), data.size).parameters
        if size >= parameters:
            return layers, size
    raise AssertionError("depths have no end")


def errs_more_without_restarts(data: DataSet, results: list[Result]) -> Finding:
    """Claim 10: the same network with a schedule that nothing restarts, all else equal."""
    without = {name for name, variant in data.variants.items() if variant.recipe.get("adaptive_steps", 0) is None}
    others = grouped([r for r in results if r.is_gated and r.run.variant in without], depth, epsilon, decay)
    pairings = [
        Pairing(f"depth {at[0]}, ε {at[1]:g}, decay {at[2]:g}", group, others[at])
        for at, group in grouped(gated(results), depth, epsilon, decay).items()
        if at in others
    ]
    return _compared(pairings, "no finished epsilon_side without the adaptive rate")


def side_head_helps(results: list[Result]) -> Finding:
    """Claim 11: the standard network with side head against the one without, same depth, decay and protocol."""

    def variant(result: Result) -> str:
        return result.run.variant or ""

    groups = {
        method: grouped([r for r in results if r.run.method == method], depth, decay, variant)
        for method in ("standard", "standard_side")
    }
    pairings = [
        Pairing(f"depth {at[0]}, decay {at[1]:g}{f', {at[2]}' if at[2] else ''}", group, groups["standard"][at])
        for at, group in groups["standard_side"].items()
        if at in groups["standard"]
    ]
    return _compared(pairings, "no finished standard and standard_side of the same depth and decay")


def _compared(pairings: list[Pairing], why_not: str) -> Finding:
    if not pairings:
        return not_run(why_not)
    judged, evidence = _judge_each(pairings)
    used = [result for pairing in pairings for result in (*pairing.gated, *pairing.baseline)]
    return Finding(judged, evidence, used, lower_errors(pairings, margin=0.0))
