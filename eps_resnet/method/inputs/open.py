"""Opens the batches of a run: from stored tensors, or from JPEG files."""

import torch

from eps_resnet.data import store
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.method.inputs.batches import Batches, TensorBatches
from eps_resnet.method.parallel import Share


def open_batches(
    experiment: Experiment, device: torch.device, share: Share = Share(), workers: int | None = None
) -> Batches:
    """The batches of a run. `workers`: processes that decode images, where there are any; None for one on each core.

    Raises UserError if the data set is missing or altered, or smaller than a mini-batch.
    """
    if experiment.data.format == "imagenet":
        from eps_resnet.method.inputs.jpeg import JpegBatches  # its libraries need a second, which other data sets save

        return JpegBatches(experiment, device, share, workers)
    images = store.load(experiment.layout, experiment.run.dataset)
    return TensorBatches(images, experiment.recipe, experiment.run.seed, device, share)
