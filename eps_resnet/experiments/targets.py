"""What people name to be made: everything, the demo, a data set, a figure or a run, as Snakemake's targets are."""

from collections.abc import Iterable

from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry, suggestion
from eps_resnet.files.errors import UserError

ALL, DEMO = "all", "demo"  # Snakemake's targets beside those that the registry names


def runs_of(registry: Registry, targets: Iterable[str]) -> list[str]:
    """The keys of the runs that targets need, each once, in the registry's order.

    A target is `all` (the paper), `demo`, a data set, a figure or a run, as Snakemake's are. Raises UserError for
    anything else.
    """
    needed: set[str] = set()
    for target in targets:
        needed |= set(_runs_of(registry, target))
    return [key for key in registry.runs if key in needed]


def kept_in_git(registry: Registry) -> list[str]:
    """The runs whose pruned network lies in git beside its record, so that whoever has a clone can measure it again.

    The gated ones with the first seed, trained on a CPU as their data set's recipe says. With more a clone would be too
    large: a network that lost no block has up to 7 MB (docs/workflow.md, "Size").
    """
    return [key for key, run in registry.runs.items() if _is_kept_in_git(registry, run)]


def _is_kept_in_git(registry: Registry, run: Run) -> bool:
    is_first = run.method == "epsilon_side" and run.seed == 0
    changes_recipe = run.variant is not None or run.weight_decay is not None
    return is_first and not changes_recipe and registry.datasets[run.dataset].recipe.device == "cpu"


def _runs_of(registry: Registry, target: str) -> Iterable[str]:
    if target in (ALL, DEMO):
        wanted = {n for n, data in registry.datasets.items() if (data.is_papers if target == ALL else data.demo)}
        return [key for key, run in registry.runs.items() if run.dataset in wanted]
    if target in registry.datasets:
        return [key for key, run in registry.runs.items() if run.dataset == target]
    if target in registry.figures:
        return registry.runs_of(target)
    if target in registry.runs:
        return [target]
    near = suggestion(target, [ALL, DEMO, *registry.datasets, *registry.figures, *registry.runs])
    hint = f"; {near}" if near else "."
    raise UserError(f"No target is called {target!r}. There are {ALL}, {DEMO}, the data sets, figures and runs{hint}")
