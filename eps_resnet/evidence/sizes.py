"""Exact sizes of networks that need not be trained for it."""

from functools import cache

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import DataSet, Method, Run
from eps_resnet.measure.size import Size, size_of
from eps_resnet.method.networks.architecture import architecture_of

_size_of = cache(size_of)


def whole_size(data: DataSet, depth: int, method: Method) -> Size:
    """The size of a data set's network without gates that has all its blocks."""
    run = Run.model_validate({"dataset": "any", "depth": depth, "method": method})
    return _size_of(architecture_of(Experiment(run.key, run, data, data.recipe, Layout())), data.size)
