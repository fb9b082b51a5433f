"""The records of a finished run: what must be in them, and whether they can be true together.

For records that others have written. What was measured can only be believed; what follows from it is computed anew.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api.types import is_numeric_dtype
from pydantic import ValidationError

from eps_resnet.data import manifest as data_manifest
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import RunFiles
from eps_resnet.measure.evaluation import Measured
from eps_resnet.measure.metrics import metrics_of
from eps_resnet.method.history import PERCENTILES, Epoch, read_blocks, read_history, recorded_epochs
from eps_resnet.provenance.fingerprints import differences
from eps_resnet.provenance.records import Document, Manifest, Metrics, parsed

LARGEST = 2**24  # bytes of history.csv and of blocks.parquet; real ones: docs/workflow.md, "Size"
BLOCK_COLUMNS = pa.schema(
    {
        **dict.fromkeys(("block", "epoch", "closed"), pa.uint16()),
        "response": pa.float16(),
        **{f"p{percentile}": pa.float16() for percentile in PERCENTILES},
    }
)
SIGNIFICANT = 12  # digits of a float that must agree; those after them may be another processor's


Outcome = Literal["imported", "already here", "refused"]


class NotAccepted(Exception):  # noqa: N818  # no error: the other runs go on
    """A run that is not taken over, with every reason that was found at once."""

    def __init__(self, *reasons: str, outcome: Outcome = "refused") -> None:
        super().__init__(reasons)
        self.reasons, self.outcome = reasons, outcome


def checked(model: type[Document], document: dict[str, Any], key: str) -> Document:
    """The record of a run in a JSON document. Raises NotAccepted if a value is missing or of another kind."""
    name = f"{model.__name__.lower()}.json"
    try:
        record = parsed(model, document)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise NotAccepted(f"{name} is not as it is written here: {place}") from None
    if record.key != key:
        raise NotAccepted(f"{name} is that of another run")
    if isinstance(record, Manifest) and not isinstance(record.machine.get("device"), str):
        raise NotAccepted(f"{name} is not as it is written here: machine.device")  # the lineage is about devices
    return record


def contradictions(experiment: Experiment, there: RunFiles, metrics: Metrics) -> list[str]:
    """What cannot be true in a run's records in the folder `there`; nothing if all of it can.

    How many test images there are, the manifest of the experiment's data set says. Raises NotAccepted if history.csv
    or blocks.parquet is no such table.
    """
    epochs, blocks = experiment.epochs, sum(experiment.blocks)
    history = _history(there.history, epochs)
    gates = _blocks(there.blocks, blocks, recorded_epochs(epochs, blocks))
    if metrics.epoch > epochs:
        return [f"metrics.json is of epoch {metrics.epoch}, and there are {epochs}"]
    data = data_manifest.read(experiment.layout, experiment.run.dataset)
    expected = _computed(experiment, metrics, history, data.differs if data else None)
    found = [f"metrics.json does not follow from what was measured: {line}" for line in _unlike(metrics, expected)]
    row, flickered = history.iloc[metrics.epoch - 1], metrics.agreement.flickered_in_training
    if (row["discarded"], row["flickered"]) != (len(metrics.discarded_blocks), flickered):
        found.append(f"history.csv has other gates at epoch {metrics.epoch} than metrics.json")
    found += _contradicts_latest(metrics, history)
    rows = gates[gates["epoch"] == metrics.epoch]
    if len(rows) and rows["block"][rows["closed"] == rows["window"]].tolist() != metrics.discarded_blocks:
        found.append(f"blocks.parquet has other gates at epoch {metrics.epoch} than metrics.json")
    return found + _miscounts(metrics, data)


def _contradicts_latest(metrics: Metrics, history: pd.DataFrame) -> list[str]:
    """Whether what is recorded of the last epoch at the lowest rate can be that of another epoch."""
    latest, lowest = metrics.latest, history.loc[history["rate"] <= history["rate"].iloc[metrics.epoch - 1], "epoch"]
    row = history[history["epoch"] == lowest.iloc[-1]].iloc[0]
    if (latest.epoch, latest.discarded, latest.flickered) != (row["epoch"], row["discarded"], row["flickered"]):
        return [f"metrics.json has another last epoch at the lowest rate ({latest.epoch}) than history.csv"]
    if latest.epoch == metrics.epoch and (latest.gated, latest.pruned) != (metrics.error.gated, metrics.error.pruned):
        return ["metrics.json has two errors for one epoch"]
    return []


def _history(path: Path, epochs: int) -> pd.DataFrame:
    """history.csv: finite numbers for each epoch; test errors of some, the last among them."""
    try:
        table = read_history(path) if path.stat().st_size <= LARGEST else pd.DataFrame()
    except ValueError:  # pandas' own errors among them
        table = pd.DataFrame()
    is_table = list(table) == [field.name for field in fields(Epoch)] and all(map(is_numeric_dtype, table.dtypes))
    if not is_table or table["epoch"].tolist() != list(range(1, epochs + 1)):
        raise NotAccepted("history.csv is not as it is written here")
    errors = table["test_error"].dropna()
    is_finite = np.isfinite(table.drop(columns="test_error").to_numpy(float)).all()
    if not is_finite or not errors.between(0, 1).all() or epochs - 1 not in errors.index:
        raise NotAccepted("history.csv has numbers that cannot be")
    return table


def _blocks(path: Path, blocks: int, epochs: list[int]) -> pd.DataFrame:
    """blocks.parquet, with a row for each block and recorded epoch."""
    try:
        # How many rows it has is asked before they are read: a small file can unfold to a large table.
        is_sound = path.stat().st_size <= LARGEST and pq.read_metadata(path).num_rows == blocks * len(epochs)
        if is_sound and pq.read_schema(path).equals(BLOCK_COLUMNS):
            table = read_blocks(path)
            if [*zip(table["block"], table["epoch"], strict=True)] == [(b, e) for b in range(blocks) for e in epochs]:
                return table
    except (ValueError, KeyError, OSError, NotImplementedError):  # pyarrow's own errors among them
        pass
    raise NotAccepted("blocks.parquet is not as it is written here")


def _computed(experiment: Experiment, metrics: Metrics, history: pd.DataFrame, differs: str | None) -> Metrics:
    """The metrics that follow from what was measured, and from the history."""
    gone, error = set(metrics.discarded_blocks), metrics.error
    errors = error.gated, error.pruned, error.gated_top5, error.pruned_top5
    measured = Measured(*errors, metrics.agreement, metrics.wrong_per_batch)
    discarded = [block in gone for block in range(sum(experiment.blocks))]
    digests = {"model_sha256": metrics.model_sha256, "pruned_sha256": metrics.pruned_sha256}
    return metrics_of(
        experiment,
        metrics.epoch,
        metrics.settled,
        discarded,
        measured,
        metrics.latest,
        history,
        differs,
        metrics.made_from,
        digests,
    )


def _unlike(then: Metrics, now: Metrics) -> list[str]:
    """In what metrics differ from others, but in the last digits of floats."""
    return list(map(str, differences(_rounded(then.model_dump()), _rounded(now.model_dump()))))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return float(f"{value:.{SIGNIFICANT}g}") if isinstance(value, float) else value


def _miscounts(metrics: Metrics, data: data_manifest.DataManifest | None) -> list[str]:
    images, agreement = metrics.test_images, metrics.agreement
    if data is None or not data.test_images == images == agreement.images >= agreement.equal:
        return ["metrics.json counts other test images than the data set has"]
    error = metrics.error
    counts = [share * images for share in (error.gated, error.pruned, error.gated_top5, error.pruned_top5)]
    if any(abs(count - round(count)) > 1e-6 for count in counts):
        return ["metrics.json has an error that is no whole number of test images"]
    batches = metrics.wrong_per_batch
    if [sum(batches.gated), sum(batches.pruned)] != [round(count) for count in counts[:2]]:
        return ["metrics.json counts other errors in its batches than in all"]
    return []
