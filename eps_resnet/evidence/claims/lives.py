"""Claims about what happens in the course of a training: 5, 6 and 12. Each run shows it or does not."""

import math

import numpy as np
import pandas as pd

from eps_resnet.data.manifest import read as read_manifest
from eps_resnet.evidence import verdict
from eps_resnet.evidence.claims.results import Finding, Leaning, Result, Verdict, gated, leaning, not_run
from eps_resnet.method.history import read_blocks, read_history
from eps_resnet.method.schedule import weight_decay

COLLAPSED = 0.1  # a block has collapsed if its largest weight fell below this share of its first epoch's ...
E_FOLDS = -math.log(COLLAPSED)  # ... for which a weight that only decays needs this many e-foldings
COLLAPSING = 0.9  # a run supports the claim if this share of the blocks that had the time have collapsed, ...
NOT_COLLAPSING = 0.5  # ... and contradicts it if fewer than this share have
LAST_EPOCHS = 0.2  # share of a training in which a saturated number of discarded blocks no longer changes


def _shared(verdicts: list[Verdict]) -> Verdict:
    """The verdict that all runs share; undecided where they differ."""
    return verdicts[0] if len(set(verdicts)) == 1 else "undecided"


def _leaning(verdicts: list[Verdict]) -> Leaning | None:
    signs = [(verdict == "supported") - (verdict == "contradicted") for verdict in verdicts]
    return leaning(sum(signs), signs, "runs")


def _counted(verdicts: list[Verdict]) -> str:
    return f"so in {verdicts.count('supported')} of {len(verdicts)} runs"


def weights_collapse(results: list[Result]) -> Finding:
    """Claim 5: of the blocks whose weights had the time to decay since their gate closed for good."""
    verdicts: list[Verdict] = []
    evidence, used = [], []
    for result in (r for r in results if r.is_gated and r.share > 0):
        left, folds = _left_of_weights(result), e_folds_since_loss(result)
        judged = [block for block in result.metrics.discarded_blocks if folds[block] >= E_FOLDS]
        if not judged:
            continue
        collapsed = sum(left[block] < COLLAPSED for block in judged)
        share = collapsed / len(judged)
        verdicts.append(
            "supported" if share >= COLLAPSING else "undecided" if share >= NOT_COLLAPSING else "contradicted"
        )
        evidence.append(f"{result.key} {collapsed} of {len(judged)} (of {result.metrics.discarded} discarded)")
        used.append(result)
    if not used:
        return not_run("no finished run discards a block long enough before its end")
    words = f"largest weight below {COLLAPSED:.0%} of the first epoch's, of the blocks with {E_FOLDS:.1f} e-foldings: "
    evidence[0] = words + evidence[0]
    return Finding(_shared(verdicts), "; ".join([_counted(verdicts), *evidence]), used, _leaning(verdicts))


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


def saturates(results: list[Result]) -> Finding:
    """Claim 6: the share never falls by more than the tolerance, nor changes by more in the last fifth.

    Only where that fifth has epochs at the full rate: at a lower one hardly any block can be lost.
    """
    verdicts: list[Verdict] = []
    evidence, used = [], []
    for result in gated(results):
        history = read_history(result.experiment.files.history)
        share = history["discarded"] / result.blocks
        tolerance = verdict.share_scale(result.blocks).margin
        if share.max() <= tolerance:
            continue
        first = len(share) - math.ceil(LAST_EPOCHS * len(share))
        fall, change = float((share.cummax() - share).max()), float(share.iloc[first:].max() - share.iloc[first:].min())
        at_full_rate = int((history["rate"].iloc[first:] >= result.recipe.rate).sum())
        is_so = max(fall, change) <= tolerance
        verdicts.append("undecided" if is_so and not at_full_rate else "supported" if is_so else "contradicted")
        evidence.append(
            f"{result.key} up to {share.max():.1%}, largest fall {fall:.1%}, change in the last fifth {change:.1%} "
            f"({at_full_rate} epochs at the full rate; tolerance {tolerance:.1%})"
        )
        used.append(result)
    if not used:
        return not_run("no finished run discards more blocks than the tolerance")
    return Finding(_shared(verdicts), "; ".join([_counted(verdicts), *evidence]), used, _leaning(verdicts))


def comes_to_rest(results: list[Result]) -> Finding:
    """Claim 12: in trainings whose rate restarts when a block is lost, it has fallen to its lowest at the end."""
    used = [r for r in gated(results) if r.recipe.adaptive_steps is not None and r.share > 0]
    if not used:
        return not_run("no finished run with an adaptive rate discards a block")
    verdicts: list[Verdict] = []
    evidence = []
    for result in used:
        rates = read_history(result.experiment.files.history)["rate"]
        at_rest = int((rates[::-1] <= 0.0101 * result.recipe.rate).cumprod().sum())
        verdicts.append("supported" if at_rest else "contradicted")
        evidence.append(f"{result.key} {at_rest}")
    words = f"{_counted(verdicts)}; last epochs at the lowest rate: {'; '.join(evidence)}"
    return Finding(_shared(verdicts), words, used, _leaning(verdicts))
