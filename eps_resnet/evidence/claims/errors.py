"""Claims about errors: 1, 7, 8, 9, 10 and 11. They compare arms, not pairs: seeds of two methods do not correlate."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from eps_resnet.evidence import published
from eps_resnet.evidence.claims.rules import (
    NOT_ENOUGH,
    Case,
    Finding,
    Leaning,
    Verdict,
    claim,
    gated,
    grouped,
    leaning,
    not_run,
    place,
)
from eps_resnet.evidence.finished import Result
from eps_resnet.evidence.inference import LEVEL, Arm, Contrast, contrast, holm, sign_flip
from eps_resnet.evidence.margins import MARGINAL_LOSS
from eps_resnet.evidence.sizes import whole_size
from eps_resnet.evidence.statistics import LEAST_SEEDS
from eps_resnet.experiments.models import DataSet, Method, Run

ABOUT_80_PERCENT = 0.75  # of the parameters; rounds to 80 %
SHALLOWEST = 8  # layers of a CIFAR-style network with one block in each stage; six more with each block more


@dataclass(frozen=True)
class Pairing:
    """A gated arm and the arm it is compared with, at one place such as a depth. Its text: where, and both means."""

    where: str
    gated: list[Result]
    baseline: list[Result]

    @property
    def ours(self) -> Arm:
        """The errors of the gated arm."""
        return Arm("gated", tuple(result.error for result in self.gated))

    @property
    def others(self) -> Arm:
        """The errors of the arm it is compared with."""
        return Arm("baseline", tuple(result.error for result in self.baseline))

    @property
    def is_complete(self) -> bool:
        """Whether both arms have enough seeds for their spread to be known."""
        return min(len(self.gated), len(self.baseline)) >= LEAST_SEEDS

    @property
    def removed(self) -> float:
        """Share of the parameters that pruning removed, on average over the gated arm."""
        return sum(result.metrics.compression.parameters_removed for result in self.gated) / len(self.gated)

    def __str__(self) -> str:
        seeds = f"n {len(self.gated)} and {len(self.baseline)}"
        return f"{self.where}: {self.ours.mean:.2%} against {self.others.mean:.2%} ({seeds})"


def _used(pairings: Sequence[Pairing]) -> list[Result]:
    return [result for pairing in pairings for result in (*pairing.gated, *pairing.baseline)]


def are_complete(pairings: Sequence[Pairing]) -> bool:
    """Whether every arm has enough seeds."""
    return all(pairing.is_complete for pairing in pairings)


def _listed(pairings: Sequence[Pairing]) -> str:
    return "; ".join(map(str, pairings))


def excess(pairings: Sequence[Pairing], margin: float = MARGINAL_LOSS) -> Contrast:
    """By how much gated networks err more than baselines and the margin, on average over the places (stratified).

    A baseline that stands at several places is one arm, with the weight of them all: its seeds are independent once.
    """
    share = 1 / len(pairings)
    ours = [(share, pairing.ours) for pairing in pairings]
    runs = [tuple(result.key for result in pairing.baseline) for pairing in pairings]
    uses = Counter(runs)
    baselines = {keys: pairing.others for keys, pairing in zip(runs, pairings, strict=True)}
    return contrast([*ours, *((-share * (1 + margin) * uses[keys], arm) for keys, arm in baselines.items())])


def judge_excess(found: Contrast) -> Verdict:
    """Non-inferiority: supported if clearly below the margin, contradicted if clearly above (both 95 %, one-sided)."""
    low, high = found.bounds()
    return "supported" if high < 0 else "contradicted" if low > 0 else "undecided"


def lower_errors(pairings: Sequence[Pairing], margin: float = MARGINAL_LOSS) -> Leaning | None:
    """Whether gated networks err less than baselines and the margin on average over the places, and at how many."""
    less = [(1 + margin) * pairing.others.mean - pairing.ours.mean for pairing in pairings]
    return leaning(sum(less), less, "place")


@dataclass(frozen=True)
class Comparison:
    """The recipe's gated networks beside baselines of the decay chosen beforehand, trained in one way; by depth."""

    case: Case
    method: Method
    variant: str | None

    def pairings(self) -> list[Pairing]:
        """At each depth and epsilon where both have finished runs."""
        results = self.case.results
        ours = grouped([r for r in results if self._is_gated(r.run)], "depth", "epsilon")
        others = grouped([r for r in results if self._is_baseline(r.run)], "depth")
        return [
            Pairing(_at(depth, epsilon), group, others[depth,])
            for (depth, epsilon), group in ours.items()
            if (depth,) in others
        ]

    def places(self) -> list[str]:
        """The depths and epsilons at which the registry has both, finished or not."""
        depths = {run.depth for run in self.case.planned if self._is_baseline(run)}
        ours = {(run.depth, run.epsilon or 0.0) for run in self.case.planned if self._is_gated(run)}
        return [_at(*at) for at in sorted(ours) if at[0] in depths]

    def unfinished(self) -> list[str]:
        """The places at which one of both has no finished run: an estimate over all places lacks them."""
        found = {pairing.where for pairing in self.pairings()}
        return [where for where in self.places() if where not in found]

    def is_finished(self) -> bool:
        """Whether all gated runs of the registry are finished, of any recipe, and these baselines."""
        done = {result.key for result in self.case.results}
        needed = [run for run in self.case.planned if run.method == "epsilon_side" or self._is_baseline(run)]
        return all(run.key in done for run in needed)

    def _is_gated(self, run: Run) -> bool:
        recipe, decay = self.case.data.recipe, self.case.decay(run)
        is_recipes = run.variant is None and decay == recipe.weight_decay and run.epsilon in recipe.epsilons
        return run.method == "epsilon_side" and is_recipes

    def _is_baseline(self, run: Run) -> bool:
        data = self.case.data
        wanted = data.baseline_decay if data.baseline_decay is not None else data.recipe.weight_decay
        return (run.method, run.variant, self.case.decay(run)) == (self.method, self.variant, wanted)


def _at(depth: int, epsilon: float) -> str:
    return f"depth {depth}, ε {epsilon:g}"


def errs_no_more(case: Case, method: Method, variant: str | None) -> Finding:
    """Claim 1: one estimate over all depths of the registry. Single depths: Holm, those without runs counted."""
    comparison = Comparison(case, method, variant)
    pairings, unfinished = comparison.pairings(), comparison.unfinished()
    if not pairings:
        return not_run(f"no finished epsilon_side and {method} of the same depth")
    used, points = _used(pairings), lower_errors(pairings)
    if not are_complete(pairings):
        return _unless(unfinished, Finding("undecided", f"{_listed(pairings)}. {NOT_ENOUGH}", used, points))
    ps = _single_ps(pairings, len(comparison.places()))
    singles = "; ".join(f"{pairing}, p {p:.2g}" for pairing, p in zip(pairings, ps, strict=True))
    whole = excess(pairings)
    words = f"{against_the_margin(pairings, whole)}. Single depths (p by Holm): {singles}"
    return _unless(unfinished, Finding(judge_excess(whole), words, used, points))


def _single_ps(pairings: Sequence[Pairing], tests: int) -> list[float]:
    """p of a loss beyond the margin at each place alone, by Holm over so many tests: what is not known counts as 1."""
    found = [excess([pairing]).p_below() for pairing in pairings]
    return holm([*found, *[1.0] * (tests - len(found))])[: len(found)]


def _unless(unfinished: list[str], found: Finding) -> Finding:
    """A finding about all places together decides nothing while some of them have no runs: nobody stops early."""
    if not unfinished or found.verdict == "not run":
        return found
    return found._replace(verdict="undecided", evidence=f"{found.evidence}; not run: {' and '.join(unfinished)}")


def _difference(found: Contrast) -> str:
    low, high = found.bounds()
    points = f"{100 * found.estimate:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f}, each bound 95 %)"
    return f"difference of errors {points}"


def against_the_margin(pairings: Sequence[Pairing], whole: Contrast) -> str:
    """The pooled difference with its interval, the margin it is held against, and the power."""
    difference = excess(pairings, margin=0.0)
    margin = difference.estimate - whole.estimate
    return (
        f"{_difference(difference)}, margin {100 * margin:.2f}; p of a loss beyond the margin {whole.p_below():.2g}; "
        f"power if there is none {whole.power_below(-margin):.2f}"
    )


def shrinks(case: Case, variant: str | None, ways: Sequence[str | None]) -> Finding:
    """Claim 7: an arm that lost 75 % of its parameters or more and errs no more than its baseline, by claim 1's test.

    Holm over all places of the registry in all `ways` to train the baseline, as one success is enough. Only
    contradicted where the paper has such an instance, all runs are finished, and each such arm is clearly worse.
    """
    comparison = Comparison(case, "standard", variant)
    pairings = comparison.pairings()
    if not pairings:
        return not_run("no finished epsilon_side and standard of the same depth")
    small = [pairing for pairing in pairings if pairing.removed >= ABOUT_80_PERCENT and pairing.is_complete]
    ps = _single_ps(small, sum(len(Comparison(case, "standard", way).places()) for way in ways))
    evidence = _about_small(pairings, small, ps)
    if any(p < LEVEL for p in ps):
        return Finding("supported", evidence, _used(pairings))
    why = NOT_ENOUGH if not are_complete(pairings) else _not_to_be_refuted(comparison)
    is_lost = why is None and all(judge_excess(excess([pairing])) == "contradicted" for pairing in small)
    return Finding(
        "contradicted" if is_lost else "undecided",
        f"{evidence}; {why}" if why else evidence,
        _used(pairings),
        lower_errors(small) if small else None,
    )


def _about_small(pairings: list[Pairing], small: list[Pairing], ps: list[float]) -> str:
    if not small:
        most = max(pairings, key=lambda pairing: pairing.removed)
        return f"at most {most.removed:.1%} of the parameters ({most.where})"
    return "; ".join(
        f"{pairing}, {pairing.removed:.1%} of the parameters, p of a loss beyond the margin {p:.2g}"
        for pairing, p in zip(small, ps, strict=True)
    )


def _not_to_be_refuted(comparison: Comparison) -> str | None:
    """Why runs without such an instance do not contradict claim 7; None if they do."""
    if not comparison.is_finished():
        return "not all runs are finished"
    shares = published.matching(published.of_data(comparison.case.data), metric="discarded_ratio")
    has_one = any(number.value >= ABOUT_80_PERCENT for number in shares)
    return None if has_one else "the paper shows no such instance here"


@claim(
    8,
    "pruned no worse than gated",
    "the pruned network's error is no higher than the gated one's",
    "the text: discarded layers are removed",
)
def pruned_errs_no_more(case: Case) -> Finding:
    """Claim 8: wrong images batch by batch, as one gate decides for a batch; a sign-flip test for each run, by Holm."""
    ours = gated(case.results)
    if not ours:
        return not_run("no finished run of epsilon_side")
    more = [_more_wrong(result) for result in ours]
    ps = holm([sign_flip(differences) for differences in more])
    lines = [
        f"{result.key} {sum(differences):+d} wrong images, p {p:.2g}"
        for result, differences, p in zip(ours, more, ps, strict=True)
        if sum(differences) > 0
    ]
    sound = sum(result.metrics.agreement.kept_gates_that_closed == 0 for result in ours)
    premise = f"the premise, that no kept gate closes on test images, holds in {sound} of {len(ours)} runs"
    fine = f"no more wrong images in {len(ours) - len(lines)} of {len(ours)} runs"
    evidence = "; ".join([fine, *lines, premise])
    if not lines:
        return Finding("supported", evidence, ours)
    less = [-sum(differences) for differences in more]
    return Finding("contradicted" if min(ps) < LEVEL else "undecided", evidence, ours, leaning(sum(less), less, "run"))


def _more_wrong(result: Result) -> list[int]:
    wrong = result.metrics.wrong_per_batch
    return [pruned - with_gates for pruned, with_gates in zip(wrong.pruned, wrong.gated, strict=True)]


@claim(
    9,
    "pruned no worse than shallow",
    "the pruned network's error is no higher than that of one its size, shallow from the start",
    "not the paper's: a reader's question",
)
def errs_no_more_than_shallow(case: Case) -> Finding:
    """Claim 9: against the least standard network of as many parameters, trained as long with the baselines' decay.

    By claim 1's test without a margin, as nobody calls a loss against the simpler network marginal.
    """
    if case.data.recipe.network != "cifar":
        return not_run("shallower networks of that family are not trained")
    pairings, missing = [], []
    ours = grouped(gated(case.results), "depth", "epsilon", "decay")
    for at, group in ours.items():
        sizes = [result.metrics.after.parameters for result in group]
        shallow, parameters = depth_of_size(case.data, max(sizes))
        if shallow >= group[0].depth:
            continue
        size = f"{min(sizes):,} to {max(sizes):,} parameters"
        where = f"{place(*at)} ({size}) against depth {shallow} ({parameters:,})"
        if others := _baselines(case, shallow, group[0].experiment.epochs):
            pairings.append(Pairing(where, group, others))
        else:
            missing.append(where)
    if missing and not pairings:
        return not_run(f"the shallower one is not trained: {'; '.join(missing)}")
    planned = [run for run in case.planned if run.epsilon is not None and run.variant is None]
    places = dict.fromkeys((run.depth, run.epsilon or 0.0, case.decay(run)) for run in planned)
    missing += [place(*at) for at in sorted(places) if at not in ours]
    return _unless(missing, _compared(pairings, "no pruned network is as small as a shallower one"))


def _baselines(case: Case, depth: int, epochs: int) -> list[Result]:
    """The standard networks of a depth that are trained so long, with the baselines' decay."""
    wanted = case.data.baseline_decay
    return [
        result
        for result in case.results
        if (result.run.method, result.depth, result.experiment.epochs) == ("standard", depth, epochs)
        and result.decay == (result.recipe.weight_decay if wanted is None else wanted)
    ]


def depth_of_size(data: DataSet, parameters: int) -> tuple[int, int]:
    """Depth and parameters of the smallest standard CIFAR-style network that has `parameters` parameters or more."""
    depth = SHALLOWEST
    while (size := whole_size(data, depth, "standard").parameters) < parameters:
        depth += 6
    return depth, size


@claim(
    10,
    "higher error without adaptive rate",
    "without the adaptive rate the error is higher",
    "the authors' scripts/README.md: it is required on CIFAR and SVHN",
)
def errs_more_without_restarts(case: Case) -> Finding:
    """Claim 10: the same network with a schedule that nothing restarts, all else equal."""
    without = {name for name, variant in case.data.variants.items() if variant.recipe.get("adaptive_steps", 0) is None}
    others = grouped([r for r in case.results if r.is_gated and r.run.variant in without], "depth", "epsilon", "decay")
    ours = grouped(gated(case.results), "depth", "epsilon", "decay")
    pairings = [Pairing(place(*at), group, others[at]) for at, group in ours.items() if at in others]
    return _compared(pairings, "no finished epsilon_side without the adaptive rate")


@claim(
    11,
    "a side head lowers the error",
    "a side head lowers the standard network's error",
    "Fig. 6, whose second baseline has one",
)
def side_head_helps(case: Case) -> Finding:
    """Claim 11: the standard network with side head against the one without, same depth, decay and protocol."""
    plain, with_side = (
        grouped([r for r in case.results if r.run.method == method], "depth", "decay", "variant")
        for method in ("standard", "standard_side")
    )
    planned, planned_with_side = (
        {(run.depth, case.decay(run), run.variant or "") for run in case.planned if run.method == method}
        for method in ("standard", "standard_side")
    )
    both = plain.keys() & with_side.keys()
    pairings = [Pairing(_protocol(*at), group, plain[at]) for at, group in with_side.items() if at in both]
    unfinished = [_protocol(*at) for at in sorted((planned & planned_with_side) - both)]
    return _unless(
        unfinished, _compared(pairings, "no finished standard and standard_side of the same depth and decay")
    )


def _protocol(depth: int, decay: float, variant: str) -> str:
    return f"depth {depth}, decay {decay:g}{f', {variant}' if variant else ''}"


def _compared(pairings: list[Pairing], why_not: str) -> Finding:
    """Superiority: supported if clear at all places together, contradicted if the reverse is."""
    if not pairings:
        return not_run(why_not)
    used, points = _used(pairings), lower_errors(pairings, margin=0.0)
    if not are_complete(pairings):
        return Finding("undecided", f"{_listed(pairings)}. {NOT_ENOUGH}", used, points)
    whole = excess(pairings, margin=0.0)
    return Finding(judge_excess(whole), f"{_difference(whole)}: {_listed(pairings)}", used, points)
