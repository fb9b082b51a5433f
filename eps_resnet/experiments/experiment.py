"""One run with all that belongs to it: its data set, its recipe and where its files lie."""

from dataclasses import dataclass

from eps_resnet.experiments.layout import Layout, RunFiles
from eps_resnet.experiments.models import IMAGENET_BLOCKS, DataSet, Recipe, Run


@dataclass(frozen=True, eq=False)  # compared by identity: what is computed for one can be kept for as long as it lives
class Experiment:
    """One run of the registry below one root (`Registry.experiment` makes it).

    `recipe` is its data set's, with what its depth, its variant and its own weight decay change.
    """

    key: str
    run: Run
    data: DataSet
    recipe: Recipe
    layout: Layout

    @property
    def files(self) -> RunFiles:
        """The files of its results."""
        return self.layout.run(self.key)

    @property
    def epochs(self) -> int:
        """How many epochs it trains."""
        return self.recipe.epochs_of(self.run.method)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Residual blocks per stage of the whole network."""
        return blocks_of(self.run.depth, self.recipe)


def blocks_of(depth: int, recipe: Recipe) -> tuple[int, ...]:
    """Residual blocks per stage of a network of `depth` layers (Sec. 4): 6n+2 for CIFAR-style networks."""
    return IMAGENET_BLOCKS[depth] if recipe.network == "imagenet" else ((depth - 2) // 6,) * 3
