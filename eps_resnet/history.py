"""What is recorded of a training: one row per epoch (history.csv), one per block and epoch (blocks.parquet)."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from eps_resnet.files import write_atomically, write_text
from eps_resnet.networks.resnet import ResNet

PERCENTILES = (0, 25, 50, 75, 100)  # of all convolution weights of a block, for Fig. 5


@dataclass(frozen=True)
class Epoch:
    """One row of history.csv. Errors are fractions; `loss` is the mean over the epoch's training images."""

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

    `closed`: per block, in how many of the window's batches its gate was closed. `closed_mean`: mean number of closed
    gates over the whole epoch.
    """

    closed: tuple[int, ...]
    window: int
    closed_mean: float

    @classmethod
    def of(cls, closed: Tensor, window: int) -> "Gates":
        """From the decisions (steps, blocks) of one epoch."""
        last = closed[-window:]
        return cls(tuple(last.sum(0).tolist()), len(last), float(closed.sum(1).double().mean()))

    @property
    def discarded(self) -> list[bool]:
        """Per block: was the gate closed in every batch of the window? The one definition (docs/fidelity.md)."""
        return [count == self.window for count in self.closed]

    @property
    def flickered(self) -> int:
        """How many gates were neither open nor closed throughout the window."""
        return sum(0 < count < self.window for count in self.closed)


def weight_percentiles(network: ResNet) -> np.ndarray[Any, np.dtype[np.float16]]:
    """Percentiles (blocks, 5) of the convolution weights of each block's residual, in half precision."""
    rows = [torch.cat([weight.flatten() for weight in block.weights]) for block in network.blocks]
    return np.array([np.percentile(row.detach().cpu().numpy(), PERCENTILES) for row in rows]).astype(np.float16)


def write_history(path: Path, epochs: list[Epoch]) -> None:
    """Writes history.csv: floats with as many digits as it takes for the same value to come back."""
    names = [field.name for field in fields(Epoch)]
    rows = [",".join(repr(getattr(epoch, name)) for name in names) for epoch in epochs]
    write_text(path, "\n".join([",".join(names), *rows]) + "\n")


def read_history(path: Path) -> pd.DataFrame:
    """history.csv as a table with the columns of Epoch."""
    return pd.read_csv(path)


def write_blocks(path: Path, closed: Tensor, window: int, percentiles: Tensor) -> None:
    """Writes blocks.parquet from closed counts (epochs, blocks) and weight percentiles (epochs, blocks, 5).

    Rows are sorted by block, then epoch: neighbours are alike, which keeps 375 blocks x 1000 epochs at a few MB.
    """
    epochs, blocks = closed.shape
    columns = {
        "block": np.repeat(np.arange(blocks, dtype=np.uint16), epochs),
        "epoch": np.tile(np.arange(1, epochs + 1, dtype=np.uint16), blocks),
        "closed": closed.T.numpy().reshape(-1).astype(np.uint16),
        **{
            f"p{percentile}": percentiles[:, :, i].T.numpy().astype(np.float16).reshape(-1)
            for i, percentile in enumerate(PERCENTILES)
        },
    }
    table = pa.table(columns, metadata={"window": str(window)})
    write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd", compression_level=9))


def read_blocks(path: Path) -> pd.DataFrame:
    """blocks.parquet: block and epoch, `closed` of `window` batches, and weight percentiles p0 to p100."""
    table = pq.read_table(path)
    frame: pd.DataFrame = table.to_pandas()
    return frame.assign(window=int((table.schema.metadata or {})[b"window"]))
