"""The records of a finished run: what must be in them, and whether they can be true together.

For records that others have written. What was measured can only be believed; what follows from it is reckoned anew.
"""

import json
import shutil
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api.types import is_numeric_dtype
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eps_resnet.data import manifest as data_manifest
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Count, Sha256
from eps_resnet.experiments.registry import Registry, recipe_of
from eps_resnet.files.digests import SEAL, digest
from eps_resnet.measure.metrics import write_metrics
from eps_resnet.method.history import PERCENTILES, Epoch, read_blocks, read_history, recorded_epochs
from eps_resnet.method.networks.architecture import blocks_of
from eps_resnet.method.schedule import epochs_of
from eps_resnet.provenance.fingerprints import differences

LARGEST = 2**24  # bytes of history.csv and of blocks.parquet; real ones: docs/workflow.md, "Size"
BLOCK_COLUMNS = pa.schema(
    {
        **dict.fromkeys(("block", "epoch", "closed"), pa.uint16()),
        **{f"p{percentile}": pa.float16() for percentile in PERCENTILES},
    }
)
UNCOMPARED = ("model_sha256", "pruned_sha256", "made_from", "fingerprint", SEAL)  # what is compared elsewhere
SIGNIFICANT = 12  # digits of a float that must agree; those after them may be another processor's

Share = Annotated[float, Field(ge=0, le=1)]
Natural = Annotated[int, Field(ge=0, lt=2**31)]
Seconds = Annotated[float, Field(ge=0, lt=2**31)]
Machine = dict[str, str | int | float | None]


class Unbelievable(Exception):  # noqa: N818  # no error of this program
    """Records that lack something or are of another kind. Its text says where."""


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class Manifest(_Record):
    """A manifest.json."""

    model_config = ConfigDict(extra="forbid")

    key: str
    fingerprint: str
    model_sha256: Sha256
    history_sha256: Sha256
    blocks_sha256: Sha256
    made_from: dict[str, Any]
    git_commit: str | None = None
    machine: Machine
    earlier_machines: list[Machine] = []
    seconds: dict[str, Seconds]
    finished: str
    seal: str


class Errors(_Record):
    """Fractions of the test images."""

    gated: Share
    pruned: Share
    gated_top5: Share
    pruned_top5: Share


class Agreement(_Record):
    """How far the gated and the pruned network agree."""

    images: Count
    equal: Natural
    batches: Count
    batches_with_other_gates: Natural
    kept_gates_that_closed: Natural
    discarded_gates_that_opened: Natural
    flickered_in_training: Natural


class Metrics(_Record):
    """What was measured, in a metrics.json. The rest of it follows."""

    key: str
    fingerprint: str
    made_from: dict[str, Any]
    model_sha256: Sha256
    pruned_sha256: Sha256
    test_images: Count
    epoch: Count
    settled: bool
    error: Errors
    discarded_blocks: list[Natural]
    agreement: Agreement


Record = TypeVar("Record", Manifest, Metrics)


def checked(model: type[Record], document: dict[str, Any], key: str) -> Record:
    """The record of a run in a JSON document. Raises Unbelievable if a value is missing or of another kind."""
    name = f"{model.__name__.lower()}.json"
    try:
        record = model.model_validate(document)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise Unbelievable(f"{name} is not as it is written here: {place}") from None
    if record.key != key:
        raise Unbelievable(f"{name} is that of another run")
    return record


def contradictions(registry: Registry, layout: Layout, there: Layout, metrics: Metrics, text: bytes) -> list[str]:
    """What cannot be true in a run's records below `there`, whose metrics.json is `text`; nothing if all of it can.

    How many test images there are, the manifest of the data set below `layout` says. Raises Unbelievable if
    history.csv or blocks.parquet is no such table.
    """
    run = registry.run(metrics.key)
    recipe = recipe_of(registry, run)
    epochs, blocks = epochs_of(recipe, run), sum(blocks_of(run.depth, recipe))
    history = _history(there.history(run.key), epochs)
    gates = _blocks(there.blocks(run.key), blocks, recorded_epochs(epochs))
    if metrics.epoch > epochs:
        return [f"metrics.json is of epoch {metrics.epoch}, and there are {epochs}"]
    expected = _rewritten(registry, layout, there, metrics, blocks)
    found = [f"metrics.json does not follow from what was measured: {line}" for line in _unlike(text, expected)]
    row, flickered = history.iloc[metrics.epoch - 1], metrics.agreement.flickered_in_training
    if (row["discarded"], row["flickered"]) != (len(metrics.discarded_blocks), flickered):
        found.append(f"history.csv has other gates at epoch {metrics.epoch} than metrics.json")
    rows = gates[gates["epoch"] == metrics.epoch]
    if len(rows) and rows["block"][rows["closed"] == rows["window"]].tolist() != metrics.discarded_blocks:
        found.append(f"blocks.parquet has other gates at epoch {metrics.epoch} than metrics.json")
    return found + _miscounts(metrics, data_manifest.read(layout, run.dataset))


def _history(path: Path, epochs: int) -> pd.DataFrame:
    """history.csv: finite numbers for each epoch; test errors of some, the last among them."""
    try:
        table = read_history(path) if path.stat().st_size <= LARGEST else pd.DataFrame()
    except ValueError:  # pandas' own errors among them
        table = pd.DataFrame()
    is_table = list(table) == [field.name for field in fields(Epoch)] and all(map(is_numeric_dtype, table.dtypes))
    if not is_table or table["epoch"].tolist() != list(range(1, epochs + 1)):
        raise Unbelievable("history.csv is not as it is written here")
    errors = table["test_error"].dropna()
    is_finite = np.isfinite(table.drop(columns="test_error").to_numpy(float)).all()
    if not is_finite or not errors.between(0, 1).all() or epochs - 1 not in errors.index:
        raise Unbelievable("history.csv has numbers that cannot be")
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
    raise Unbelievable("blocks.parquet is not as it is written here")


def _rewritten(registry: Registry, layout: Layout, there: Layout, metrics: Metrics, blocks: int) -> bytes:
    """metrics.json as it is written of these measurements and of the history below `there`."""
    key, dataset = metrics.key, registry.run(metrics.key).dataset
    gone = set(metrics.discarded_blocks)
    facts = {"epoch": metrics.epoch, "settled": metrics.settled, "discarded": [b in gone for b in range(blocks)]}
    errors, agreement = metrics.error.model_dump(), metrics.agreement.model_dump()
    with TemporaryDirectory() as folder:
        scratch = Layout(Path(folder))
        for path in (scratch.data_manifest(dataset), scratch.model(key), scratch.pruned(key)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()  # networks are compared by their digests
        shutil.copyfile(layout.data_manifest(dataset), scratch.data_manifest(dataset))
        shutil.copyfile(there.history(key), scratch.history(key))
        write_metrics(registry, scratch, key, facts, errors, metrics.test_images, agreement)
        return scratch.metrics(key).read_bytes()


def _unlike(text: bytes, expected: bytes) -> list[str]:
    """In what one metrics.json differs from another but in the networks' digests and the last digits of floats."""
    then, now = _comparable(text), _comparable(expected)
    return differences(then, now) or ([] if digest(then) == digest(now) else ["a value is of another kind"])


def _comparable(text: bytes) -> dict[str, Any]:
    document = json.loads(text, parse_float=lambda digits: float(f"{float(digits):.{SIGNIFICANT}g}"))
    return {name: value for name, value in document.items() if name not in UNCOMPARED}


def _miscounts(metrics: Metrics, data: data_manifest.DataManifest | None) -> list[str]:
    images, agreement = metrics.test_images, metrics.agreement
    if data is None or not data.test_images == images == agreement.images >= agreement.equal:
        return ["metrics.json counts other test images than the data set has"]
    counts = [error * images for error in metrics.error.model_dump().values()]
    is_whole = all(abs(count - round(count)) < 1e-6 for count in counts)
    return [] if is_whole else ["metrics.json has an error that is no whole number of test images"]
