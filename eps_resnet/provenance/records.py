"""manifest.json and metrics.json of a run: the one definition of what is in them, for who writes and who reads."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eps_resnet.experiments.models import Count, Sha256
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import SEAL, write_sealed

Share = Annotated[float, Field(ge=0, le=1)]
Natural = Annotated[int, Field(ge=0, lt=2**31)]
Seconds = Annotated[float, Field(ge=0, lt=2**31)]
Machine = dict[str, str | int | float | None]

# Of metrics.json, and of what is stored beside weights: which code and which files it is about.
ABOUT = {"made_from", "fingerprint", "model_sha256", "pruned_sha256", SEAL}


class Record(BaseModel):
    """A frozen part of a JSON document; values of another kind are refused, not converted."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, extra="forbid")


class EpochFacts(Record):
    """An epoch after which a network was kept, and what its gates did in that epoch's window."""

    epoch: Count
    epsilon: float
    discarded: list[bool] = Field(description="Per block, input to output: was its gate closed in the whole window?")
    flickered: Natural = Field(description="Gates neither open nor closed throughout the window.")


class NetworkFacts(EpochFacts):
    """What is stored beside the weights of a trained network: of the epoch that is pruned and reported."""

    fingerprint: str
    settled: bool = Field(description="Whether the rate had fallen to a hundredth of its start.")
    latest: EpochFacts | None = Field(
        description="The last epoch at the lowest rate, where it is another; its weights are stored too."
    )


class Manifest(Record):
    """manifest.json: what a training was made from, by what, where and how long it took."""

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


class Errors(Record):
    """Fractions of the test images. Three errors are reported, never one (docs/fidelity.md).

    `settled`: that of the reported epoch, pruned; None if the rate never fell to a hundredth. `final`: of the last
    epoch, gates on. `best`: the lowest of all epochs, gates on, which has looked at the test images.
    """

    gated: Share
    pruned: Share
    gated_top5: Share
    pruned_top5: Share
    settled: Share | None
    final: Share
    best: Share
    best_epoch: Count


class Latest(Record):
    """The last epoch at the lowest rate, which this suite pruned and reported at first; errors are fractions."""

    epoch: Count
    discarded: Natural
    flickered: Natural
    gated: Share
    pruned: Share


class Layers(Record):
    """Layers of the network, as its depth counts them."""

    all: Natural
    kept: Natural
    kept_per_stage: list[Natural]


class Cost(Record):
    """What a network costs; multiply-adds of one image."""

    parameters: Natural
    size_mib: float
    multiply_adds: int


class Compression(Record):
    """Both readings: the paper's bars are the baseline's size x (1 - share of discarded blocks), no parameter count."""

    discarded_ratio: Share
    size_mib_by_block_ratio: float
    parameters_removed: Share


class Agreement(Record):
    """How far the gated and the pruned network agree on the test images, and where a gate was not as pruning has it."""

    images: Count
    equal: Natural
    batches: Count
    batches_with_other_gates: Natural
    kept_gates_that_closed: Natural
    discarded_gates_that_opened: Natural
    flickered_in_training: Natural


class WrongPerBatch(Record):
    """Wrong images in each batch of test images. A gate decides for a whole batch: batches are what is independent."""

    gated: list[Natural]
    pruned: list[Natural]


class Metrics(Record):
    """metrics.json: what came out of a run, from what was measured and what its shape says."""

    key: str
    fingerprint: str
    made_from: dict[str, Any]
    model_sha256: Sha256
    pruned_sha256: Sha256
    data_differs: str | None
    test_images: Count
    epoch: Count
    settled: bool
    error: Errors
    latest: Latest
    wrong_per_batch: WrongPerBatch
    blocks: list[Natural]
    kept: list[Natural]
    discarded: Natural
    discarded_blocks: list[Natural]
    discarded_final: Natural
    layers: Layers
    before: Cost
    after: Cost
    compression: Compression
    agreement: Agreement


Document = TypeVar("Document", Manifest, Metrics)


def parsed(model: type[Document], document: dict[str, Any]) -> Document:
    """The record in a sealed JSON document. Raises ValidationError if a value is missing or of another kind."""
    return model.model_validate({name: value for name, value in document.items() if name != SEAL})


def read(model: type[Document], path: Path) -> Document | None:
    """The record in a file; None if it is missing, damaged or not as it is written here. Its seal is not looked at."""
    document = read_json(path)
    try:
        return parsed(model, document) if isinstance(document, dict) else None
    except ValidationError:
        return None


def write(path: Path, record: Manifest | Metrics) -> None:
    """Writes a record, sealed."""
    unused = {"earlier_machines"} if isinstance(record, Manifest) and not record.earlier_machines else set()
    write_sealed(path, record.model_dump(exclude=unused))
