"""Takes finished runs over from another clone or a cluster's folder, each once, if they were made from what is here.

A run counts if training and evaluation have the fingerprints that this project would give them: same recipe, code,
images. Which machine made it, its manifest says. What others have written is only believed as far as it can be checked.
"""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eps_resnet import provenance
from eps_resnet.data import manifest as data_manifest
from eps_resnet.data.manifest import DataManifest
from eps_resnet.errors import UserError
from eps_resnet.files import digest, is_sealed, read_json, sha256, write_atomically
from eps_resnet.further_runs import add_runs, configuration
from eps_resnet.layout import Layout
from eps_resnet.registry import Registry, Run, load
from eps_resnet.simulation import MARK

LARGEST_DOCUMENT = 2**20  # bytes of a manifest or of metrics; a real one has 3,000

Outcome = Literal["imported", "already here", "refused"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Imported:
    """What became of a folder of results, and why."""

    key: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Manifest(_Strict):
    """What is asked of a manifest.json."""

    key: str
    fingerprint: str
    model_sha256: Sha256
    history_sha256: Sha256
    blocks_sha256: Sha256
    made_from: dict[str, Any]


class _Errors(_Strict):
    gated: Share
    pruned: Share
    gated_top5: Share
    pruned_top5: Share
    settled: Share | None
    final: Share
    best: Share


class _Metrics(_Strict):
    """What is asked of a metrics.json."""

    key: str
    fingerprint: str
    model_sha256: Sha256
    pruned_sha256: Sha256
    made_from: dict[str, Any]
    test_images: Annotated[int, Field(gt=0)]
    error: _Errors
    blocks: list[int]
    kept: list[int]
    discarded: int
    compression: dict[str, float]
    agreement: dict[str, int]


Document = TypeVar("Document", _Manifest, _Metrics)


@dataclass(frozen=True)
class _Candidate:
    """A run that may be taken over: its files here and there, with the SHA-256 that each must have."""

    run: Run
    history_sha256: str
    files: dict[Path, tuple[Path, str]]  # here: there, SHA-256; the manifest last


class _NotAccepted(Exception):  # noqa: N818  # no error: the other runs go on
    def __init__(self, outcome: Outcome, *reasons: str) -> None:
        super().__init__(reasons)
        self.outcome, self.reasons = outcome, reasons


def import_results(registry_file: Path, layout: Layout, source: Path) -> list[Imported]:
    """Takes over every finished run below `source` (a project's folder) and says what became of each.

    Further seeds of what the registry has are added to its file. Raises UserError if there are no results, or
    if the registry's file cannot be added to: then nothing is taken over.
    """
    registry, there = load(registry_file), Layout(source)
    folders = sorted(there.result("").iterdir()) if there.result("").is_dir() else []
    if not folders or source.resolve() == layout.root.resolve():
        raise UserError(f"{source} is no other project with results: expected {there.result('')}/RUN/manifest.json.")
    outcomes: dict[str, Imported] = {}
    candidates: dict[str, _Candidate] = {}
    trainings = _trainings_here(registry, layout)
    new_data = _take_over_data(registry, layout, there)
    try:
        for folder in folders:
            try:
                candidate = _candidate(registry, layout, there, folder)
                _require_own_training(candidate, trainings)
                candidates[folder.name] = candidate
            except _NotAccepted as refusal:
                outcomes[folder.name] = Imported(folder.name, refusal.outcome, refusal.reasons)
            except OSError as error:
                outcomes[folder.name] = Imported(folder.name, "refused", (f"it cannot be read: {error.strerror}",))
        further = [candidate.run for key, candidate in candidates.items() if key not in registry.runs]
        if further:
            add_runs(registry_file, further)
        for key, candidate in candidates.items():
            outcomes[key] = _copied(layout, key, candidate)
    finally:
        used = {candidate.run.dataset for key, candidate in candidates.items() if key in outcomes}
        for name in new_data - used:
            layout.data_manifest(name).unlink()
    return [outcomes[folder.name] for folder in folders]


def _read(path: Path) -> bytes | None:
    """The content of a file that may be anything; None if it is no file of the size of a document."""
    return path.read_bytes() if path.is_file() and path.stat().st_size <= LARGEST_DOCUMENT else None


def _parsed(content: bytes | None) -> dict[str, Any]:
    """The JSON document in a file; an empty one if it is none."""
    try:
        document = json.loads(content or b"")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _take_over_data(registry: Registry, layout: Layout, there: Layout) -> set[str]:
    """Takes over which copy of a data set the others had, where nothing of it is here: fingerprints are about it.

    Returns the data sets. Their images are not here to be compared: they are when they are fetched.
    """
    taken = set()
    for name, data in registry.datasets.items():
        try:
            manifest = DataManifest(**_parsed(_read(there.data_manifest(name))))
        except (TypeError, OSError):
            continue
        is_known = layout.data_manifest(name).exists() or layout.store(name).exists()
        digests = (manifest.sha256, manifest.sample_sha256 or "0" * 64)
        is_sound = manifest.dataset == name and all(re.fullmatch("[0-9a-f]{64}", str(found)) for found in digests)
        if is_sound and not is_known and data_manifest.is_accepted(manifest, data) and not registry.simulated:
            data_manifest.write(layout, manifest)
            taken.add(name)
    return taken


def _trainings_here(registry: Registry, layout: Layout) -> dict[str, str]:
    """The runs that are done here, by the digest of their history: no two trainings have the same."""
    done = [key for key in registry.runs if provenance.state(registry, layout, key) == "done"]
    return {read_json(layout.manifest(key)).get("history_sha256"): key for key in done}


def _require_own_training(candidate: _Candidate, trainings: dict[str, str]) -> None:
    """Refuses a copy of another run under the name of a further seed."""
    other = trainings.setdefault(candidate.history_sha256, candidate.run.key)
    if other != candidate.run.key:
        raise _NotAccepted("refused", f"its history is that of {other}: one training under two names")


def _candidate(registry: Registry, layout: Layout, there: Layout, folder: Path) -> _Candidate:
    """The run in a folder. Raises _NotAccepted, with every reason that was found at once, if it is not taken over."""
    key = folder.name
    if folder.is_symlink() or not folder.is_dir():
        raise _NotAccepted("refused", "it is no folder")
    manifest_content, manifest = _document(there.manifest(key))
    metrics_content, metrics = _document(there.metrics(key))
    run = _run_of(manifest, key)
    if key in registry.runs and provenance.state(registry, layout, key) == "done":
        is_same = read_json(layout.metrics(key)) == metrics
        raise _NotAccepted("already here", *(() if is_same else ("with other results; the ones here are kept",)))
    if configuration(run) not in {configuration(other) for other in registry.runs.values()}:
        raise _NotAccepted("refused", "it belongs to no configuration of the registry, whatever the seed")
    facts, numbers = _checked(_Manifest, manifest, key), _checked(_Metrics, metrics, key)
    ours = registry.model_copy(update={"runs": {**registry.runs, key: run}})
    reasons = [
        *_differences(facts, provenance.training_parts(ours, layout, key)),
        *_differences(numbers, provenance.evaluation_parts(ours, layout, key)),
    ]
    if numbers.model_sha256 != facts.model_sha256:
        reasons.append("metrics.json was measured on another network than manifest.json names")
    networks = {
        layout.model(key): (there.model(key), facts.model_sha256),
        layout.pruned(key): (there.pruned(key), numbers.pruned_sha256),
    }
    records = {
        layout.history(key): (there.history(key), facts.history_sha256),
        layout.blocks(key): (there.blocks(key), facts.blocks_sha256),
    }
    present = {here: other for here, other in networks.items() if other[0].exists()}  # the tables need none
    for path, expected in {**present, **records}.values():
        if not path.is_file():
            reasons.append(f"{path.name} is missing")
        elif sha256(path) != expected:
            reasons.append(f"{path.name} was altered")
    if reasons:
        raise _NotAccepted("refused", *reasons)
    documents = {
        layout.metrics(key): (there.metrics(key), hashlib.sha256(metrics_content).hexdigest()),
        layout.manifest(key): (there.manifest(key), hashlib.sha256(manifest_content).hexdigest()),
    }
    return _Candidate(run, facts.history_sha256, {**present, **records, **documents})


def _document(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The content of a sealed document, and what is in it."""
    content = _read(path)
    if content is None:
        raise _NotAccepted("refused", f"it is not finished: there is no {path.name}")
    document = _parsed(content)
    try:
        is_whole = is_sealed(document)
    except RecursionError:
        is_whole = False
    if not is_whole:
        raise _NotAccepted("refused", f"{path.name} was altered")
    if MARK in document:
        raise _NotAccepted("refused", "it is simulated: its numbers are invented")
    return content, document


def _run_of(manifest: dict[str, Any], key: str) -> Run:
    try:
        run = Run.model_validate(manifest["made_from"]["run"])
    except (KeyError, TypeError, ValidationError):
        raise _NotAccepted("refused", "manifest.json names no run") from None
    if run.key != key:
        raise _NotAccepted("refused", f"its manifest is that of {run.key}")
    return run


def _checked(model: type[Document], document: dict[str, Any], key: str) -> Document:
    name = "manifest.json" if model is _Manifest else "metrics.json"
    try:
        found = model.model_validate(document)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise _NotAccepted("refused", f"{name} is not as it is written here: {where}") from None
    if found.key != key:
        raise _NotAccepted("refused", f"{name} is that of another run")
    return found


def _differences(document: _Manifest | _Metrics, now: dict[str, Any]) -> list[str]:
    """Why something was not made from what is here; nothing if its fingerprint is the present one."""
    try:
        reasons = provenance.reasons(document.made_from, now)
    except RecursionError:
        reasons = ["what it was made from cannot be read"]
    return reasons or ([] if document.fingerprint == digest(now) else ["its fingerprint is not of what it says"])


def _copied(layout: Layout, key: str, candidate: _Candidate) -> Imported:
    """Copies the files of a run, all compared once more; without its manifest, the last one, it does not count."""
    for network in (layout.model(key), layout.pruned(key)):
        if network not in candidate.files:
            network.unlink(missing_ok=True)  # of a former training
    for here, (there, expected) in candidate.files.items():

        def copy(temporary: Path, there: Path = there, expected: str = expected) -> None:
            shutil.copyfile(there, temporary)
            if sha256(temporary) != expected:
                raise UserError(f"{there} changed while it was read; import again when nothing writes there.")

        write_atomically(here, copy)
    return Imported(key, "imported")
