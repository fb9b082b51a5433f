"""What is recorded of a training: one row per epoch (history.csv), one per block and epoch (blocks.parquet).

No torch in here: who reads these files need not wait for it.
"""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from eps_resnet.files.atomic import write_atomically, write_text

if TYPE_CHECKING:
    from torch import Tensor

    from eps_resnet.method.networks.resnet import ResNet

Array = np.ndarray[Any, np.dtype[Any]]

PERCENTILES = (0, 25, 50, 75, 100)  # of all convolution weights of a block, for Fig. 5
MOST_ROWS = 37_500  # of blocks.parquet, about: results are kept in git (docs/workflow.md, "Size")


@dataclass(frozen=True)
class Epoch:
    """One row of history.csv. Errors are fractions; `loss` is the mean over the epoch's training images.

    `test_error` is NaN after an epoch that was not tested (`test_every`).
    """

    epoch: int
    rate: float
    epsilon: float
    loss: float
    train_error: float
    test_error: float
    discarded: int
    flickered: int
    closed_mean: float


@dataclass(frozen=True)
class Gates:
    """The gates' states in the window that decides what is discarded: the last batches of an epoch.

    `closed`: per block, in how many of the window's batches its gate was closed. `least_responses`: per block, the
    smallest of these batches' largest responses, in units of epsilon; NaN where it was not computed. `closed_mean`:
    mean number of closed gates over the whole epoch.
    """

    closed: tuple[int, ...]
    least_responses: tuple[float, ...]
    window: int
    closed_mean: float

    @classmethod
    def of(cls, closed: "Tensor", responses: "Tensor", window: int) -> "Gates":
        """From the decisions and the largest responses (steps, blocks) of one epoch."""
        last = closed[-window:]
        least = responses[-window:].amin(0)
        return cls(tuple(last.sum(0).tolist()), tuple(least.tolist()), len(last), float(closed.sum(1).double().mean()))

    @property
    def discarded(self) -> list[bool]:
        """Per block: was the gate closed in every batch of the window? The one definition (docs/fidelity.md)."""
        return [count == self.window for count in self.closed]

    @property
    def flickered(self) -> int:
        """How many gates were neither open nor closed throughout the window."""
        return sum(0 < count < self.window for count in self.closed)


def weight_percentiles(network: "ResNet") -> Array:
    """Percentiles (blocks, 5) of the convolution weights of each block's residual, in half precision."""
    rows = [np.concatenate([w.detach().cpu().numpy().ravel() for w in block.weights]) for block in network.blocks]
    return np.array([np.percentile(row, PERCENTILES) for row in rows]).astype(np.float16)


def no_percentiles(network: "ResNet") -> Array:
    """NaN in the place of the percentiles of an epoch that blocks.parquet does not record."""
    return np.full((len(network.blocks), len(PERCENTILES)), np.nan, np.float16)


def write_history(path: Path, epochs: list[Epoch]) -> None:
    """Writes history.csv: floats with as many digits as it takes for the same value to come back."""
    names = [field.name for field in fields(Epoch)]
    rows = [",".join(repr(getattr(epoch, name)) for name in names) for epoch in epochs]
    write_text(path, "\n".join([",".join(names), *rows]) + "\n")


def read_history(path: Path) -> pd.DataFrame:
    """history.csv as a table with the columns of Epoch."""
    return pd.read_csv(path)


def recorded_epochs(epochs: int, blocks: int) -> list[int]:
    """The epochs, from 1, that blocks.parquet records: all if that makes up to MOST_ROWS, else every n-th; first, last.

    Of 1000 epochs of 375 blocks 1, 10, 20, ..., 1000.
    """
    every = math.ceil(epochs * blocks / MOST_ROWS)
    return sorted({1, *range(every, epochs + 1, every), epochs})


def write_blocks(path: Path, closed: Array, responses: Array, window: int, percentiles: Array) -> None:
    """Writes blocks.parquet: closed counts and least responses (epochs, blocks), percentiles (epochs, blocks, 5).

    Rows are sorted by block, then epoch, and the bytes of half-precision numbers are stored apart: neighbours are
    alike, which keeps 375 blocks x 1000 epochs below 300 KB.
    """
    epochs = np.array(recorded_epochs(*closed.shape), dtype=np.uint16)
    closed, responses, percentiles = closed[epochs - 1], responses[epochs - 1], percentiles[epochs - 1]
    blocks = closed.shape[1]
    halves = {
        "response": responses.T.astype(np.float16).reshape(-1),
        **{
            f"p{percentile}": percentiles[:, :, i].T.astype(np.float16).reshape(-1)
            for i, percentile in enumerate(PERCENTILES)
        },
    }
    columns = {
        "block": np.repeat(np.arange(blocks, dtype=np.uint16), len(epochs)),
        "epoch": np.tile(epochs, blocks),
        "closed": closed.T.reshape(-1).astype(np.uint16),
        **halves,
    }
    table = pa.table(columns, metadata={"window": str(window)})
    options = {
        "compression": "zstd",
        "compression_level": 19,
        "use_dictionary": ["block", "epoch", "closed"],
        "column_encoding": dict.fromkeys(halves, "BYTE_STREAM_SPLIT"),
    }
    write_atomically(path, lambda temporary: pq.write_table(table, temporary, **options))


def read_blocks(path: Path) -> pd.DataFrame:
    """blocks.parquet: block and recorded epoch, `closed` of `window` batches, `response`, percentiles p0 to p100.

    `response`: the smallest of the window's max |F|, in units of epsilon; NaN where no gate saw it.
    """
    table = pq.read_table(path)
    frame: pd.DataFrame = table.to_pandas()
    return frame.assign(window=int((table.schema.metadata or {})[b"window"]))
