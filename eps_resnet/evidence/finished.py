"""Finished runs, and what was measured of them."""

from dataclasses import dataclass

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Recipe, Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.provenance import records, state
from eps_resnet.provenance.records import Metrics


@dataclass(frozen=True, eq=False)
class Result:
    """A finished run and what it measured."""

    experiment: Experiment
    metrics: Metrics

    @property
    def key(self) -> str:
        """Its name."""
        return self.experiment.key

    @property
    def run(self) -> Run:
        """What was trained."""
        return self.experiment.run

    @property
    def recipe(self) -> Recipe:
        """How it was trained."""
        return self.experiment.recipe

    @property
    def depth(self) -> int:
        """Its layers."""
        return self.run.depth

    @property
    def epsilon(self) -> float:
        """Its threshold; 0 without gates."""
        return self.run.epsilon or 0.0

    @property
    def variant(self) -> str:
        """The other way in which it was trained; empty if it was trained as the recipe says."""
        return self.run.variant or ""

    @property
    def is_gated(self) -> bool:
        """Whether its network has gates."""
        return self.run.method == "epsilon_side"

    @property
    def decay(self) -> float:
        """Its weight decay."""
        return self.recipe.weight_decay

    @property
    def blocks(self) -> int:
        """Residual blocks of the whole network."""
        return sum(self.metrics.blocks)

    @property
    def share(self) -> float:
        """Share of its blocks that are discarded."""
        return self.metrics.compression.discarded_ratio

    @property
    def error(self) -> float:
        """Error of the pruned network."""
        return self.metrics.error.pruned


def finished(registry: Registry, layout: Layout) -> list[Result]:
    """The finished runs, in the registry's order."""
    done = [e for key in registry.runs if state.state(e := registry.experiment(key, layout)) == "done"]
    return [Result(e, metrics) for e in done if (metrics := records.read(Metrics, e.files.metrics))]
