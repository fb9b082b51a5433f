"""What the paper claims in words, checked on every data set with finished runs. The rules are in docs/verdicts.md."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any, Literal

from scipy.stats import binomtest

from eps_resnet.evidence import published, statistics, verdict
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Method, Run
from eps_resnet.experiments.registry import Registry, recipe_of
from eps_resnet.files.atomic import read_json
from eps_resnet.measure.size import size_of
from eps_resnet.method.history import read_blocks, read_history
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.provenance import state

Verdict = Literal["supported", "contradicted", "undecided", "not run"]

COLLAPSED = 0.1  # a block has collapsed if its largest weight fell below this share of its first epoch's ...
COLLAPSING = 0.9  # ... and a run supports the claim if this share of its discarded blocks have, ...
NOT_COLLAPSING = 0.5  # ... contradicts it if fewer than this share have
LAST_EPOCHS = 0.2  # share of a training in which a saturated number of discarded blocks no longer changes
ABOUT_80_PERCENT = 0.75  # rounds to 80 %
SHALLOW = (
    "not the paper's, but what a reader asks: the pruned network errs no more than one that is shallow from the start, "
    "of its size"
)
ROUNDING = 1e-9  # what floating point may add to a difference of exactly one step


@dataclass(frozen=True)
class Claim:
    """One claim on one data set.

    `evidence`: why, in words with numbers. `runs`: the keys of the runs it rests on. `remark`: what must be said beside
    it, such as how a recipe was chosen.
    """

    number: int
    statement: str
    dataset: str
    verdict: Verdict
    evidence: str
    runs: tuple[str, ...]
    remark: str | None


@dataclass(frozen=True)
class Result:
    """A finished run and what it measured."""

    key: str
    run: Run
    metrics: dict[str, Any]

    @property
    def blocks(self) -> int:
        """Residual blocks of the whole network."""
        return sum(self.metrics["blocks"])

    @property
    def share(self) -> float:
        """Share of its blocks that are discarded."""
        return float(self.metrics["compression"]["discarded_ratio"])

    @property
    def error(self) -> float:
        """Error of the pruned network."""
        return float(self.metrics["error"]["pruned"])


Finding = tuple[Verdict, str, list[Result]]  # verdict, evidence, the runs it rests on


def claims(registry: Registry, layout: Layout) -> list[Claim]:
    """Every claim on every data set of the registry."""
    found = []
    for dataset in registry.datasets:
        results = [
            Result(key, run, read_json(layout.run(key).metrics))
            for key, run in registry.runs.items()
            if run.dataset == dataset and state.state(registry.experiment(key, layout)) == "done"
        ]
        for number, statement, rule in rules(registry, layout, dataset):
            judged, evidence, used = rule(results)
            keys = tuple(dict.fromkeys(result.key for result in used))
            remark = _remark(registry, dataset, [result for result in results if result.key in keys])
            found.append(Claim(number, statement, dataset, judged, evidence, keys, remark))
    return found


def rules(registry: Registry, layout: Layout, dataset: str) -> list[tuple[int, str, Callable[[list[Result]], Finding]]]:
    """The claims in the paper's order: number, statement, and what judges it from the finished runs of a data set."""
    epsilons = registry.datasets[dataset].recipe.epsilons
    return [
        (1, "ε-ResNet errs no more than the standard network", partial(_errs_no_more, epsilons, "standard")),
        (
            1,
            "ε-ResNet errs no more than the standard network with side head",
            partial(_errs_no_more, epsilons, "standard_side"),
        ),
        (2, "deeper networks discard a larger share of their blocks", partial(_discards_more, "depth", "epsilon")),
        (3, "a larger ε discards a larger share of the blocks", partial(_discards_more, "epsilon", "depth")),
        (4, "the closer a stage is to the output, the larger the share it discards", _more_near_the_output),
        (5, "the weights of discarded blocks collapse to 0", partial(_weights_collapse, layout)),
        (6, "the discarded share rises, then saturates", partial(_saturates, layout)),
        (7, "about 80 % fewer parameters in some instance", partial(_shrinks, registry, dataset)),
        (8, "the pruned network errs no more than the gated one", _pruned_errs_no_more),
        (9, SHALLOW, partial(_errs_no_more_than_shallow, registry, dataset)),
    ]


def _remark(registry: Registry, dataset: str, used: list[Result]) -> str | None:
    data = registry.datasets[dataset]
    remarks = [data.remark] if data.remark else []
    remarks += sorted({f"An altered copy of the data: {d}." for r in used if (d := r.metrics["data_differs"])})
    found = [published.recipe_differences(data, recipe_of(registry, result.run), result.run) for result in used]
    if differences := sorted({words for keys in found for words in keys.values()}):
        remarks.append(f"Another recipe than the paper's: {'; '.join(differences)}.")
    if unsettled := [result.key for result in used if not result.metrics["settled"]]:
        remarks.append(f"Never settled (the rate did not fall to a hundredth): {', '.join(unsettled)}.")
    return " ".join(remarks) or None


# Claims about differences: each point (a depth, a step from one epsilon to the next) has a mean difference over paired
# seeds, positive where the claim holds, and what it may be off by at 95 %.


@dataclass(frozen=True)
class Point:
    """One difference: where, its value for each paired seed, its grain (one block, one image)."""

    where: str
    differences: list[float]
    step: float

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return fmean(self.differences)

    def half_width(self, points: int) -> float | None:
        """Half of the mean's 95 % interval, for so many points at once; None for too few seeds to know their spread.

        Student's t of the paired differences, and half a step.
        """
        seeds = len(self.differences)
        if seeds < statistics.LEAST_SEEDS:
            return None
        return statistics.student_quantile(seeds, points) * stdev(self.differences) / math.sqrt(seeds) + self.step / 2


def judge_points(points: list[Point]) -> tuple[Verdict, str]:
    """Supported if the difference is clearly positive at every point, contradicted if clearly negative at any.

    The intervals hold for all points at once (Bonferroni), so that many points do not bring forth a contradiction.
    Undecided as long as any point has too few seeds for an interval.
    """
    halves = [point.half_width(len(points)) for point in points]
    evidence = "; ".join(
        f"{point.where} {100 * point.mean:+.2f}{'' if half is None else f' ± {100 * half:.2f}'} "
        f"(n {len(point.differences)})"
        for point, half in zip(points, halves, strict=True)
    )
    evidence = f"{evidence}. {_counts(points)}"
    intervals = [(point.mean, half) for point, half in zip(points, halves, strict=True) if half is not None]
    if len(intervals) < len(points):
        return "undecided", f"{evidence}; a verdict needs {statistics.LEAST_SEEDS} paired seeds for each difference"
    if all(mean - half > ROUNDING for mean, half in intervals):
        return "supported", evidence
    return ("contradicted" if any(mean + half < -ROUNDING for mean, half in intervals) else "undecided"), evidence


def _counts(points: list[Point]) -> str:
    """How many differences and how many pairs point which way, as an interval over few seeds says little."""
    means = [point.mean for point in points]
    pairs = [difference for point in points for difference in point.differences]
    pro, contra = ([sum(sign * value > ROUNDING for value in values) for values in (means, pairs)] for sign in (1, -1))
    return (
        f"For the claim {pro[0]} of {len(means)} differences and {pro[1]} of {len(pairs)} pairs of runs, "
        f"against it {contra[0]} and {contra[1]}"
    )


def _nothing(why: str) -> Finding:
    return "not run", why, []


def _gated(results: Iterable[Result]) -> list[Result]:
    return [result for result in results if result.run.method == "epsilon_side"]


def _plain(results: Iterable[Result]) -> list[Result]:
    return [result for result in results if result.run.method != "epsilon_side"]


def _groups(results: Iterable[Result], *fields: str) -> dict[tuple[Any, ...], list[Result]]:
    """Results by the values of these fields of their runs, in ascending order."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(getattr(result.run, field) for field in fields), []).append(result)
    # No weight decay of its own comes first; None alone cannot be compared.
    return dict(sorted(groups.items(), key=lambda group: [(value is not None, value or 0) for value in group[0]]))


def _with_decay(where: str, decay: float | None) -> str:
    return where if decay is None else f"{where}, decay {decay:g}"


def _pairs(first: list[Result], second: list[Result], whatever_decay: bool = False) -> list[tuple[Result, Result]]:
    """Results of the same seed and, unless its decay does not matter, decay. `second` has one of each."""

    def place(result: Result) -> tuple[int, float | None]:
        return result.run.seed, None if whatever_decay else result.run.weight_decay

    others = {place(result): result for result in second}
    return [(result, others[place(result)]) for result in first if place(result) in others]


def _errs_no_more(epsilons: tuple[float, ...], baseline: Method, results: list[Result]) -> Finding:
    """Networks of the recipe's decay are compared with baselines of any decay, others with those of their own."""
    points, used = [], []
    plain = [result for result in results if result.run.method == baseline]
    for (depth, epsilon, decay), gated in _groups(_gated(results), "depth", "epsilon", "weight_decay").items():
        for (its_decay,), others in _groups((r for r in plain if r.run.depth == depth), "weight_decay").items():
            pairs = _pairs(gated, others, whatever_decay=True)
            if epsilon not in epsilons or not pairs or decay not in (None, its_decay):
                continue
            where = _with_decay(f"depth {depth}, ε {epsilon:g}", its_decay)
            points.append(_error_point(where, pairs))
            used += [result for pair in pairs for result in pair]
    if not points:
        return _nothing(f"no finished pair of epsilon_side and {baseline} with the same depth and seed")
    judged, evidence = judge_points(points)
    return judged, f"error of {baseline} minus that of epsilon_side, in percentage points: {evidence}", used


def _error_point(where: str, pairs: list[tuple[Result, Result]]) -> Point:
    """By how much the second of each pair errs more than the first."""
    return Point(where, [b.error - a.error for a, b in pairs], 1 / pairs[0][0].metrics["test_images"])


def _errs_no_more_than_shallow(registry: Registry, dataset: str, results: list[Result]) -> Finding:
    """Whether a pruned network errs no more than a shallower one of as many parameters or a few more, trained as long.

    All seeds of a configuration are compared with networks of one depth, the least that is as large as each of them.
    """
    data = registry.datasets[dataset]
    if data.recipe.network != "cifar" or data.recipe.epochs.standard != data.recipe.epochs.epsilon:
        return _nothing("no standard network of that size is trained as long")
    points, used, missing = [], [], []
    for (depth, epsilon, decay), gated in _groups(_gated(results), "depth", "epsilon", "weight_decay").items():
        sizes = [result.metrics["after"]["parameters"] for result in gated]
        shallow, parameters = depth_of_size(registry, dataset, max(sizes))
        if shallow >= depth:
            continue
        where = (
            f"{_with_decay(f'depth {depth}, ε {epsilon:g}', decay)} ({min(sizes):,} to {max(sizes):,} parameters) "
            f"against depth {shallow} ({parameters:,})"
        )
        plain = [result for result in results if (result.run.method, result.run.depth) == ("standard", shallow)]
        found = {
            d: pairs for (d,), own in _groups(plain, "weight_decay").items() if (pairs := _pairs(gated, own, True))
        }
        points += [_error_point(_with_decay(where, its_decay), pairs) for its_decay, pairs in found.items()]
        used += [result for pairs in found.values() for pair in pairs for result in pair]
        missing += [] if found else [where]
    if not points and not missing:
        return _nothing("no pruned network is as small as a shallower one")
    judged, evidence = judge_points(points) if points else ("not run", "no finished pair")
    words = f"error of the shallow network minus that of the pruned one, in percentage points: {evidence}"
    if missing:
        judged = "undecided" if judged == "supported" else judged
        words = f"{words}; not run: {', '.join(missing)}"
    return judged, words, used


def depth_of_size(registry: Registry, dataset: str, parameters: int) -> tuple[int, int]:
    """Depth and parameters of the smallest standard CIFAR-style network that has at least so many parameters."""
    for depth in itertools.count(8, 6):
        run = Run.model_validate({"dataset": dataset, "depth": depth, "method": "standard"})
        experiment = registry.experiment_of(run, Layout())
        size = size_of(architecture_of(experiment), experiment.data.size).parameters
        if size >= parameters:
            return depth, size
    raise AssertionError("depths have no end")


def _discards_more(along: str, fixed: str, results: list[Result]) -> Finding:
    """Whether the share of discarded blocks rises from each depth (or epsilon) to the next, all else equal."""
    points, used = [], []
    for (place, decay), group in _groups(_gated(results), fixed, "weight_decay").items():
        for ((low,), lower), ((high,), upper) in pairwise(_groups(group, along).items()):
            if not (pairs := _pairs(lower, upper)):
                continue
            step = max(1 / result.blocks for result in pairs[0])
            where = _with_decay(f"{along} {low:g} to {high:g} at {fixed} {place:g}", decay)
            points.append(Point(where, [b.share - a.share for a, b in pairs], step))
            used += [result for pair in pairs for result in pair]
    if not points:
        return _nothing(f"no two finished runs that differ in {along} alone")
    judged, evidence = judge_points(points)
    return judged, f"rise of the discarded share, in percentage points: {evidence}", used


def stage_rises(kept: Sequence[int], blocks: Sequence[int]) -> list[float]:
    """Rise of the discarded share from each stage to the next, given the blocks kept in each and all of them."""
    discarded = [1 - some / whole for some, whole in zip(kept, blocks, strict=True)]
    return [later - earlier for earlier, later in pairwise(discarded)]


def _more_near_the_output(results: list[Result]) -> Finding:
    if not (gated := _gated(results)):
        return _nothing("no finished run of epsilon_side")
    points = []
    for (depth, epsilon, decay), group in _groups(gated, "depth", "epsilon", "weight_decay").items():
        rises = [stage_rises(result.metrics["kept"], result.metrics["blocks"]) for result in group]
        steps = [1 / min(stages) for stages in pairwise(group[0].metrics["blocks"])]
        for stage, (step, differences) in enumerate(zip(steps, zip(*rises, strict=True), strict=True), start=1):
            where = _with_decay(f"depth {depth}, ε {epsilon:g}", decay)
            points.append(Point(f"{where}, stage {stage} to {stage + 1}", list(differences), step))
    judged, evidence = judge_points(points)
    return judged, f"rise of the discarded share from stage to stage, in percentage points: {evidence}", gated


# Claims that each run shows or does not: they speak of every run that there is, however few.


def judge_runs(verdicts: list[Verdict]) -> Verdict:
    """The verdict that all runs share; undecided where they differ."""
    return verdicts[0] if len(set(verdicts)) == 1 else "undecided"


def _so_many(verdicts: list[Verdict]) -> str:
    return f"so in {verdicts.count('supported')} of {len(verdicts)} runs"


def _weights_collapse(layout: Layout, results: list[Result]) -> Finding:
    used = [result for result in _gated(results) if result.share > 0]
    if not used:
        return _nothing("no finished run discards a block")
    verdicts: list[Verdict] = []
    evidence = []
    for result in used:
        blocks = read_blocks(layout.run(result.key).blocks)
        largest = blocks[["p0", "p100"]].astype("float32").abs().max(axis=1)
        weights = blocks.assign(largest=largest).pivot(index="epoch", columns="block", values="largest")
        left = weights.iloc[-1] / weights.iloc[0]
        is_gone = left.index.isin(result.metrics["discarded_blocks"])
        collapsed = int((left[is_gone] < COLLAPSED).sum())
        share = collapsed / is_gone.sum()
        verdicts.append(
            "supported" if share >= COLLAPSING else "contradicted" if share < NOT_COLLAPSING else "undecided"
        )
        kept = f", of the kept {left[~is_gone].median():.2g}" if not is_gone.all() else ""
        evidence.append(f"{result.key} {collapsed} of {is_gone.sum()} (median left {left[is_gone].median():.2g}{kept})")
    words = f"discarded blocks whose largest weight fell below {COLLAPSED:.0%} of the first epoch's: "
    return judge_runs(verdicts), f"{_so_many(verdicts)}; {words}{'; '.join(evidence)}", used


def _saturates(layout: Layout, results: list[Result]) -> Finding:
    verdicts: list[Verdict] = []
    evidence, used = [], []
    for result in _gated(results):
        share = read_history(layout.run(result.key).history)["discarded"] / result.blocks
        tolerance = verdict.share_scale(result.blocks).margin
        if share.max() <= tolerance:
            continue
        last = share.iloc[-math.ceil(LAST_EPOCHS * len(share)) :]
        fall, change = float((share.cummax() - share).max()), float(last.max() - last.min())
        verdicts.append("supported" if max(fall, change) <= tolerance else "contradicted")
        evidence.append(
            f"{result.key} up to {share.max():.1%}, largest fall {fall:.1%}, change in the last fifth {change:.1%} "
            f"(tolerance {tolerance:.1%})"
        )
        used.append(result)
    if not used:
        return _nothing("no finished run discards more blocks than the tolerance")
    return judge_runs(verdicts), "; ".join([_so_many(verdicts), *evidence]), used


def _shrinks(registry: Registry, dataset: str, results: list[Result]) -> Finding:
    """The claim is about some instance that errs no more than all baselines of its depth.

    It is only contradicted where the paper has one and all runs are finished.
    """
    if not (gated := _gated(results)):
        return _nothing("no finished run of epsilon_side")
    worst = {depth: max(r.error for r in group) for (depth,), group in _groups(_plain(results), "depth").items()}
    without_loss = [result for result in gated if result.error <= worst.get(result.run.depth, 1)]
    if not without_loss:
        return "undecided", "every gated network errs more than the worst baseline of its depth", gated
    best = max(without_loss, key=lambda result: result.metrics["compression"]["parameters_removed"])
    removed = best.metrics["compression"]["parameters_removed"]
    share = max(result.share for result in without_loss)
    evidence = (
        f"at most {removed:.1%} of the parameters ({best.key}, whose pruned network errs {best.error:.2%}), "
        f"{share:.1%} of the blocks (the paper's reading)"
    )
    planned = [key for key, run in registry.runs.items() if run.dataset == dataset and run.method == "epsilon_side"]
    table = published.read(published.published_csv(), registry)
    ratios = table[(table["dataset"] == dataset) & (table["metric"] == "discarded_ratio")]["value"]
    if removed >= ABOUT_80_PERCENT:
        return "supported", evidence, gated
    if share >= ABOUT_80_PERCENT or not (ratios >= ABOUT_80_PERCENT).any():
        why = "by the paper's reading alone" if share >= ABOUT_80_PERCENT else "the paper shows no such instance here"
        return "undecided", f"{evidence}; {why}", gated
    if len(gated) < len(planned):
        return "undecided", f"{evidence}; {len(gated)} of {len(planned)} runs are finished", gated
    return "contradicted", evidence, gated


def _pruned_errs_no_more(results: list[Result]) -> Finding:
    """Both networks see the same images, so only the images on which they disagree can make a difference."""
    if not (gated := _gated(results)):
        return _nothing("no finished run of epsilon_side")
    evidence, verdicts = [], []
    for result in gated:
        error, agreement = result.metrics["error"], result.metrics["agreement"]
        images, batches = agreement["images"], agreement["batches_with_other_gates"]
        more = round((error["pruned"] - error["gated"]) * images)
        disagree = images - agreement["equal"]
        verdicts.append(judge_disagreement(more, disagree, batches))
        evidence.append(
            f"{result.key} {more:+d} wrong images, {disagree} of {images} predicted otherwise, "
            f"other gates in {batches} of {agreement['batches']} batches"
        )
    judged: Verdict = "supported" if set(verdicts) == {"supported"} else "undecided"
    judged = "contradicted" if "contradicted" in verdicts else judged
    return judged, "; ".join([_so_many(verdicts), *evidence]), gated


def judge_disagreement(more: int, disagree: int, batches: int) -> Verdict:
    """Sign test of `more` wrong images among `disagree` predictions, all taken to be right in one of the networks.

    That they all are is the case in which a difference means least. A gate decides for a whole batch, so the test's
    images are no more independent than the `batches` in which any gate was not as pruning takes it to be: they must be
    enough for a sign test over batches, if all of them went one way.
    """
    if more <= 0:
        return "supported"
    level = 1 - statistics.CONFIDENCE
    if 2 * 0.5**batches >= level:
        return "undecided"
    p = binomtest((disagree + more) // 2, disagree, 0.5).pvalue
    return "contradicted" if p < level else "undecided"
