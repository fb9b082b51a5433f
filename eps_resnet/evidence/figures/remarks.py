"""What must be said beside a figure: seeds, missing runs, altered data, and what is odd about the paper's numbers."""

import pandas as pd

from eps_resnet.evidence.figures.results import ARM
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json

BLOCKS_OF_FIGURE_1 = (
    "Of the paper's 375 blocks 360 are visible; the others lie under the figure's frames (hatched). "
    "Six of them are of stage 1, at its two ends, and how many at which is unknown: the visible ones are drawn in the "
    "middle and may lie up to three blocks to either side."
)
ERRORS_OF_FIGURE_3 = "The paper's points are those of its plot; its text gives 5.96 % at 254 layers and 5.66 % at 200."
DEPTH_OF_FIGURE_8 = (
    "The paper does not print the depth of its Figure 8; its shares fit counts of 99 blocks, so 200 layers."
)
EPOCHS_OF_FIGURE_9 = (
    "Epochs of the paper's curve are read by its grid lines, so that it ends at epoch 1000 as the text says; by its "
    "printed labels it would end at 885. The bars of its points are the uncertainty of reading it."
)
# What must be said of the numbers of a figure of the paper, by its number and the paper's name of the data set.
ABOUT_PUBLISHED = {
    ("1", "CIFAR-100"): BLOCKS_OF_FIGURE_1,
    ("3", "CIFAR-10"): ERRORS_OF_FIGURE_3,
    ("6", "ImageNet"): "The paper's baseline of 152 layers is not its own network but that of fb.resnet.torch.",
    ("7", "SVHN"): "The paper's bars (Figure 7c) are not drawn: at all three depths they are CIFAR-100's of Figure 7b, "
    "the deepest that of 500 layers, so the paper has no size for SVHN.",
    ("7", "ImageNet"): "The paper's bars of all blocks include the side head (exact: 173.8 and 233.5 MiB); ours do not "
    "(169.9 and 229.6 MiB).",
    ("8", "CIFAR-10"): DEPTH_OF_FIGURE_8,
    ("8", "CIFAR-100"): DEPTH_OF_FIGURE_8,
    ("9", "CIFAR-10"): EPOCHS_OF_FIGURE_9,
    ("9", "CIFAR-100"): EPOCHS_OF_FIGURE_9,
    ("10", "CIFAR-10"): "At 200 layers the paper's Figure 10 keeps 41 of 99 blocks, its Figures 6, 7 and 8 keep 51.",
    ("10", "CIFAR-100"): "The paper's Figure 10 keeps one block less than its Figure 6 at 500 layers, two less at 752.",
}
ALIKE = 0.95  # of the images; a pruned and a gated network that agree on fewer are named


def remarks_of(registry: Registry, layout: Layout, name: str, table: pd.DataFrame) -> list[str]:
    """What must be said beside a figure's numbers: seeds, missing runs, how the data differ, what the paper's are."""
    figure = registry.figures[name]
    data = registry.datasets[figure.dataset]
    runs = table.drop_duplicates("run")
    done = runs[runs["state"] == "done"]
    notes = [f"{len(done)} of {len(runs)} runs are done; seeds per point: {_seeds(done)}."]
    if data.remark:
        notes.append(data.remark)
    origin = read_json(layout.data_manifest(figure.dataset))
    if origin and origin["differs"]:
        notes.append(f"Trained on an altered copy of {data.published_name or data.title}: {origin['differs']}.")
    if len(done) and not done["settled"].all():
        unsettled = ", ".join(done.loc[~done["settled"].astype(bool), "run"])
        notes.append(
            f"Never settled (rate above a hundredth), so reported at the lowest rate they reached: {unsettled}."
        )
    if "kept_per_stage" in done and len(empty := done[done["discarded"] == done["blocks"]]):
        notes.append(
            f"Every block is discarded, so that stem and head are all that is left: {', '.join(empty['run'])}."
        )
    if "agreement" in done and len(unlike := done[done["agreement"].astype(float) < ALIKE]):
        told = ", ".join(f"{run.run} ({run.agreement:.1%})" for run in unlike.itertuples())
        notes.append(
            "On test images gates are not always as pruning takes them to be. Of these networks the pruned and the "
            f"gated one agree on less than {ALIKE:.0%} of the images: {told}."
        )
    about = ABOUT_PUBLISHED.get((figure.figure, data.published_name or "")) if data.is_papers else None
    return [*notes, about] if about else notes


def _seeds(done: pd.DataFrame) -> str:
    if done.empty:
        return "none"
    sizes = done.groupby(ARM, dropna=False)["seed"].nunique()
    return str(sizes.min()) if sizes.min() == sizes.max() else f"{sizes.min()} to {sizes.max()}"
