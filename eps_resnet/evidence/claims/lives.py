"""Claims about what happens in the course of a training: 5, 6 and 12. Each run shows it or does not."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from eps_resnet.data.manifest import read as read_manifest
from eps_resnet.evidence.claims.rules import Case, Finding, Verdict, claim, gated, leaning, not_run
from eps_resnet.evidence.finished import Result
from eps_resnet.evidence.verdict import share_scale
from eps_resnet.method.history import read_blocks, read_history
from eps_resnet.method.schedule import weight_decay

COLLAPSED = 0.1  # a block has collapsed if its largest weight fell below this share of its first epoch's ...
E_FOLDS = -math.log(COLLAPSED)  # ... for which a weight that only decays needs this many e-foldings
COLLAPSING = 0.9  # a run supports the claim if this share of the blocks that had the time have collapsed, ...
NOT_COLLAPSING = 0.5  # ... and contradicts it if fewer than this share have
LAST_EPOCHS = 0.2  # share of a training in which a saturated number of discarded blocks no longer changes


def _run_by_run(
    results: list[Result], judge: Callable[[Result], tuple[Verdict, str] | None], why_not: str, heading: str = ""
) -> Finding:
    """The verdict that all runs share which `judge` has one for, undecided where they differ; `why_not`: there is none.

    `heading` stands before what `judge` says of each run.
    """
    judged = {result: found for result in results if (found := judge(result))}
    if not judged:
        return not_run(why_not)
    verdicts = [verdict for verdict, _ in judged.values()]
    signs = [(verdict == "supported") - (verdict == "contradicted") for verdict in verdicts]
    evidence = "; ".join(f"{result.key} {words}" for result, (_, words) in judged.items())
    return Finding(
        verdicts[0] if len(set(verdicts)) == 1 else "undecided",
        f"so in {verdicts.count('supported')} of {len(verdicts)} runs; {heading}{evidence}",
        list(judged),
        leaning(sum(signs), signs, "run"),
    )


@claim(5, "discarded weights go to 0", "the weights of discarded blocks collapse to 0", "Fig. 5")
def weights_collapse(case: Case) -> Finding:
    """Claim 5: of the blocks whose weights had the time to decay since their gate closed for good."""
    return _run_by_run(
        [result for result in gated(case.results) if result.share > 0],
        _collapse,
        "no finished run discards a block long enough before its end",
        f"largest weight below {COLLAPSED:.0%} of the first epoch's, of the blocks with {E_FOLDS:.1f} e-foldings: ",
    )


def _collapse(result: Result) -> tuple[Verdict, str] | None:
    left, folds = _left_of_weights(result), e_folds_since_loss(result)
    judged = [block for block in result.metrics.discarded_blocks if folds[block] >= E_FOLDS]
    if not judged:
        return None
    collapsed = sum(left[block] < COLLAPSED for block in judged)
    words = f"{collapsed} of {len(judged)} (of {result.metrics.discarded} discarded)"
    share = collapsed / len(judged)
    if share >= COLLAPSING:
        return "supported", words
    return ("undecided" if share >= NOT_COLLAPSING else "contradicted"), words


def _left_of_weights(result: Result) -> pd.Series:
    """Of each block, the largest weight of the last epoch as a share of the first's."""
    blocks = read_blocks(result.experiment.files.blocks)
    largest = blocks[["p0", "p100"]].astype("float32").abs().max(axis=1)
    weights = blocks.assign(largest=largest).pivot(index="epoch", columns="block", values="largest")
    return weights.iloc[-1] / weights.iloc[0]


def e_folds_since_loss(result: Result) -> list[float]:
    """Per block, sum of rate x decay / (1 - momentum) over the steps since its gate closed for good, as recorded."""
    blocks = read_blocks(result.experiment.files.blocks)
    closed = blocks.pivot(index="epoch", columns="block", values="closed") == blocks["window"].iloc[0]
    rates = read_history(result.experiment.files.history)["rate"].to_numpy()
    steps, recipe = _steps_per_epoch(result), result.recipe
    decays = np.array([weight_decay(recipe, steps * epoch) for epoch in range(len(rates))])
    per_epoch = steps * rates * decays / (1 - recipe.momentum)
    ahead = np.append(np.cumsum(per_epoch[::-1])[::-1], 0.0)  # from an epoch, counted from 0, to the end
    return [float(ahead[_closed_since(closed[block])]) for block in closed]


def _closed_since(closed: pd.Series) -> int:
    """After how many epochs a gate was last open in a recorded one."""
    opened = closed.index[~closed]
    return int(opened[-1]) if len(opened) else 0


def _steps_per_epoch(result: Result) -> int:
    recipe, data = result.recipe, result.experiment.data
    manifest = read_manifest(result.experiment.layout, result.run.dataset)
    images = manifest.train_images if manifest else max(archive.train_images for archive in data.archives)
    return recipe.epoch_steps or images // recipe.batch


@claim(6, "the share rises, then saturates", "the discarded share rises, then saturates", "Fig. 9")
def saturates(case: Case) -> Finding:
    """Claim 6: the share never falls by more than the tolerance, nor changes by more in the last fifth.

    Only where that fifth has epochs at the full rate: at a lower one hardly any block can be lost.
    """
    return _run_by_run(gated(case.results), _saturation, "no finished run discards more blocks than the tolerance")


def _saturation(result: Result) -> tuple[Verdict, str] | None:
    history = read_history(result.experiment.files.history)
    share = history["discarded"] / result.blocks
    tolerance = share_scale(result.blocks).margin
    if share.max() <= tolerance:
        return None
    last = history.index[-math.ceil(LAST_EPOCHS * len(history)) :]
    fall, change = float((share.cummax() - share).max()), float(share[last].max() - share[last].min())
    at_full_rate = int((history["rate"][last] >= result.recipe.rate).sum())
    words = (
        f"up to {share.max():.1%}, largest fall {fall:.1%}, change in the last fifth {change:.1%} "
        f"({at_full_rate} epochs at the full rate, tolerance {tolerance:.1%})"
    )
    if max(fall, change) > tolerance:
        return "contradicted", words
    return ("supported" if at_full_rate else "undecided"), words


@claim(
    12,
    "discarding ends in time",
    "discarding ends, and the rate comes to rest, before the training ends",
    "Fig. 9",
)
def comes_to_rest(case: Case) -> Finding:
    """Claim 12: in trainings whose rate restarts when a block is lost, it has fallen to its lowest at the end."""
    return _run_by_run(
        [result for result in gated(case.results) if result.recipe.adaptive_steps is not None and result.share > 0],
        _rest,
        "no finished run with an adaptive rate discards a block",
        "last epochs at the lowest rate: ",
    )


def _rest(result: Result) -> tuple[Verdict, str]:
    rates = read_history(result.experiment.files.history)["rate"]
    at_rest = int((rates[::-1] <= 0.0101 * result.recipe.rate).cumprod().sum())
    return ("supported" if at_rest else "contradicted"), f"{at_rest}"
