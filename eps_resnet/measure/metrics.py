"""The metrics of a run, from what was measured, its history and its network's shape. No torch in here."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.files.digests import digest
from eps_resnet.measure.size import Size, size_of
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.provenance.records import Compression, Cost, Errors, Latest, Layers, Metrics

if TYPE_CHECKING:
    from eps_resnet.measure.evaluation import Measured


def metrics_of(
    experiment: Experiment,
    epoch: int,
    settled: bool,
    discarded: list[bool],
    measured: "Measured",
    latest: Latest,
    history: pd.DataFrame,
    data_differs: str | None,
    made_from: dict[str, Any],
    digests: dict[str, str],
) -> Metrics:
    """The metrics of a run.

    `epoch`, `settled`, `discarded` (per block) and `measured` are those of the reported network, `latest` of the last
    one at the lowest rate; `history` as history.csv has it; `digests`: model_sha256 and pruned_sha256.
    """
    whole = architecture_of(experiment)
    before = size_of(whole.plain(), experiment.data.size)
    after = size_of(whole.without(discarded), experiment.data.size)
    return Metrics(
        key=experiment.key,
        fingerprint=digest(made_from),
        made_from=made_from,
        **digests,
        data_differs=data_differs,
        test_images=measured.agreement.images,
        epoch=epoch,
        settled=settled,
        error=_errors(measured, settled, history),
        latest=latest,
        wrong_per_batch=measured.wrong_per_batch,
        blocks=list(before.blocks),
        kept=list(after.blocks),
        discarded=sum(discarded),
        discarded_blocks=[index for index, gone in enumerate(discarded) if gone],
        discarded_final=int(history["discarded"].iloc[-1]),
        layers=Layers(
            all=experiment.run.depth,
            kept=2 + whole.layers_per_block * sum(after.blocks),
            kept_per_stage=[whole.layers_per_block * blocks for blocks in after.blocks],
        ),
        before=_cost(before),
        after=_cost(after),
        compression=_compression(before, after),
        agreement=measured.agreement,
    )


def _errors(measured: "Measured", settled: bool, history: pd.DataFrame) -> Errors:
    best = history.iloc[int(np.nanargmin(history["test_error"]))]
    return Errors(
        gated=measured.gated,
        pruned=measured.pruned,
        gated_top5=measured.gated_top5,
        pruned_top5=measured.pruned_top5,
        settled=measured.pruned if settled else None,
        final=float(history["test_error"].iloc[-1]),
        best=float(best["test_error"]),
        best_epoch=int(best["epoch"]),
    )


def _cost(size: Size) -> Cost:
    return Cost(parameters=size.parameters, size_mib=size.mib, multiply_adds=size.multiply_adds)


def _compression(before: Size, after: Size) -> Compression:
    ratio = 1 - sum(after.blocks) / sum(before.blocks)
    return Compression(
        discarded_ratio=ratio,
        size_mib_by_block_ratio=before.mib * (1 - ratio),
        parameters_removed=1 - after.parameters / before.parameters,
    )
