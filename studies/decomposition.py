"""What each step from the standard network to the pruned one adds to the test error.

    python -m studies.decomposition DATASET DEPTH

One thing changes from a row to the next: the weight decay, the side head, the gates, the discarded blocks, and last the
batch-norm statistics, if `python -m studies.recalibration` took them anew (ours, not the paper's). All networks have as
many epochs. A difference between arms of different networks has the arms' pooled spread, one within the same networks
the spread of their own differences; each interval is 95 %, two-sided. A row without finished runs is "not run".
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.trainings import REGISTRY
from eps_resnet.evidence.finished import Result, finished
from eps_resnet.evidence.inference import Arm, contrast
from eps_resnet.evidence.statistics import LEAST_SEEDS
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import DataSet, Method
from eps_resnet.files.atomic import read_json
from studies.recalibration import RESULTS as RECALIBRATED


@dataclass(frozen=True)
class Step:
    """Test errors of some runs, by key, and what sets them apart from the step before."""

    name: str
    errors: dict[str, float]

    @property
    def arm(self) -> Arm:
        """The errors as inference sees them."""
        return Arm("", tuple(self.errors.values()))


def main() -> None:
    """Prints the table of one data set and depth."""
    dataset, depth = sys.argv[1], int(sys.argv[2])
    results = [r for r in finished(REGISTRY, Layout()) if (r.run.dataset, r.run.depth) == (dataset, depth)]
    print(table(list(steps(REGISTRY.datasets[dataset], results))))


def steps(data: DataSet, results: list[Result]) -> Iterator[Step]:
    """The steps from the standard network, with the decay chosen for baselines, to the pruned one."""
    decay = data.recipe.weight_decay
    if data.baseline_decay not in (None, decay):
        yield Step("standard", _of(results, data, "standard", data.baseline_decay or decay))
        yield Step("+ the gated networks' weight decay", _of(results, data, "standard", decay))
    else:
        yield Step("standard", _of(results, data, "standard", decay))
    yield Step("+ side head", _of(results, data, "standard_side", decay))
    gated = [r for r in results if r.is_gated and r.run.variant is None and _has_recipe(r, data, decay)]
    yield Step("+ gates", {r.key: r.metrics.error.gated for r in gated})
    yield Step("- discarded blocks", {r.key: r.metrics.error.pruned for r in gated})
    anew = {row["pruned_sha256"]: row["recalibrated"] for row in (read_json(RECALIBRATED) or {}).values()}
    recalibrated = {r.key: anew[sha] for r in gated if (sha := r.metrics.pruned_sha256) in anew}
    if gated and len(recalibrated) == len(gated):
        yield Step("batch-norm statistics taken anew", recalibrated)


def _of(results: list[Result], data: DataSet, method: Method, decay: float) -> dict[str, float]:
    return {r.key: r.error for r in results if r.run.method == method and _has_recipe(r, data, decay)}


def _has_recipe(result: Result, data: DataSet, decay: float) -> bool:
    is_as_long = result.experiment.epochs == data.recipe.epochs.epsilon
    return is_as_long and result.decay == decay and result.run.epsilon in (None, *data.recipe.epsilons)


def table(found: list[Step]) -> str:
    """The steps in Markdown: errors in percent, differences from the row before in points."""
    lines = ["| network | seeds | test error | change, 95 % interval |", "|---|---|---|---|"]
    for before, step in zip([None, *found], found, strict=False):
        if step.errors:
            cells = [str(len(step.errors)), f"{step.arm.mean:.2%}", _change(before, step) if before else "–"]
        else:
            cells = ["0", "not run", "–"]
        lines.append(f"| {' | '.join([step.name, *cells])} |")
    return "\n".join(lines)


def _change(before: Step, step: Step) -> str:
    if not before.errors:
        return "–"
    difference = f"{100 * (step.arm.mean - before.arm.mean):+.2f}"
    if min(len(before.errors), len(step.errors)) < LEAST_SEEDS:
        return difference
    if before.errors.keys() == step.errors.keys():
        parts = [(1.0, Arm("", tuple(error - before.errors[key] for key, error in step.errors.items())))]
    else:
        parts = [(1.0, step.arm), (-1.0, before.arm)]
    low, high = contrast(parts).bounds(0.025)
    return f"{difference} ({100 * low:+.2f} to {100 * high:+.2f})"


if __name__ == "__main__":
    main()
