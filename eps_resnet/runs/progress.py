"""Progress of a training: a live bar when a person watches, one plain line an epoch in a log."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eps_resnet.method.history import Epoch
from eps_resnet.method.state import Training


@contextmanager
def reporting(training: Training) -> Iterator[Callable[[Epoch], None]]:
    """Reports finished epochs on standard error, live or line by line, depending on who reads it; process 0 alone."""
    key, epochs = training.experiment.key, training.experiment.epochs
    completed, blocks = training.epoch, len(training.network.blocks)
    if training.share.index > 0:
        yield lambda e: None
        return

    def text(e: Epoch) -> str:
        tested = "" if math.isnan(e.test_error) else f" test {e.test_error:.1%}"
        return f"loss {e.loss:.3f} train {e.train_error:.1%}{tested} discarded {e.discarded}/{blocks} rate {e.rate:g}"

    if not sys.stderr.isatty():
        yield lambda e: print(f"{key}  epoch {e.epoch}/{epochs}  {text(e)}", file=sys.stderr, flush=True)
        return
    columns = (TextColumn("{task.description}"), BarColumn(8), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(f"{key}\n", total=epochs, completed=completed)
        yield lambda e: bar.update(task, completed=e.epoch, description=f"{key}\n{text(e)}")
