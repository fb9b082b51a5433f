"""Takes finished runs over from another clone or a cluster's folder, each once, if they were made from what is here.

A run counts if training and evaluation have the fingerprints that this project would give them: same recipe, code,
images. Which machine made it, its manifest says. What others have written is only believed as far as it can be checked.
"""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from eps_resnet.data import manifest as data_manifest
from eps_resnet.data.manifest import DataManifest
from eps_resnet.exchange.contradictions import NotAccepted, Outcome, checked, contradictions
from eps_resnet.exchange.further_runs import add_runs, configuration
from eps_resnet.experiments.layout import Layout, RunFiles
from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry, load
from eps_resnet.experiments.yaml_file import shown
from eps_resnet.files.atomic import read_json, write_atomically
from eps_resnet.files.digests import digest, is_sealed, sha256
from eps_resnet.files.errors import UserError
from eps_resnet.files.lock import held_if_free, owner_of
from eps_resnet.provenance import fingerprints, state
from eps_resnet.provenance.code import Layer
from eps_resnet.provenance.records import Manifest, Metrics

LARGEST_DOCUMENT = 2**20  # bytes of a manifest or of metrics; a real one has 3,000
MOST_REASONS = 20  # that are named of one run


@dataclass(frozen=True)
class Imported:
    """What became of a folder of results, and why."""

    key: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    """A run that may be taken over: its files here and there, with the SHA-256 that each must have."""

    run: Run
    history_sha256: str
    lock: Path  # of its training
    files: dict[Path, tuple[Path, str]]  # here: there, SHA-256; the manifest last


def import_results(registry_file: Path, layout: Layout, source: Path) -> list[Imported]:
    """Takes over every finished run below `source` (a project's folder) and says what became of each.

    Further seeds of what the registry has are added to its file. Raises UserError if there are no results, or
    if the registry's file cannot be added to: then nothing is taken over.
    """
    registry, there = load(registry_file), Layout(source)
    folders = there.result_folders()
    if not folders or source.resolve() == layout.root.resolve():
        raise UserError(f"{source} is no other project with results: expected {there.results}/RUN/manifest.json.")
    outcomes: dict[str, Imported] = {}
    candidates: dict[str, _Candidate] = {}
    trainings = _trainings_here(registry, layout)
    new_data = _take_over_data(registry, layout, there)
    try:
        for folder in folders:
            try:
                candidate = _candidate(registry, layout, folder)
                _require_own_training(candidate, trainings)
                candidates[folder.name] = candidate
            except (NotAccepted, OSError, RecursionError) as refusal:
                outcomes[folder.name] = _not_imported(folder.name, refusal)
        further = [candidate.run for key, candidate in candidates.items() if key not in registry.runs]
        if further:
            add_runs(registry_file, further)
        for key, candidate in candidates.items():
            try:
                _copy(layout, key, candidate)
                outcomes[key] = Imported(key, "imported")
            except NotAccepted as refusal:
                outcomes[key] = _not_imported(key, refusal)
    finally:
        used = {candidate.run.dataset for key, candidate in candidates.items() if key in outcomes}
        for name in new_data - used:
            layout.data_manifest(name).unlink()
    return [outcomes[folder.name] for folder in folders]


def _not_imported(key: str, refusal: Exception) -> Imported:
    """What became of a run that was not taken over: short and printable, whatever was in its files."""
    if isinstance(refusal, OSError):
        refusal = NotAccepted(f"it cannot be read: {refusal.strerror}")
    elif not isinstance(refusal, NotAccepted):
        refusal = NotAccepted("its records are nested too deeply")
    reasons = refusal.reasons
    more = [f"and {len(reasons) - MOST_REASONS:,} more"] if len(reasons) > MOST_REASONS else []
    return Imported(key, refusal.outcome, (*map(shown, reasons[:MOST_REASONS]), *more))


def _read(path: Path) -> bytes | None:
    """The content of a file that may be anything; None if it is no file of the size of a document."""
    return path.read_bytes() if path.is_file() and path.stat().st_size <= LARGEST_DOCUMENT else None


def _parsed(content: bytes | None) -> dict[str, Any]:
    """The JSON document in a file; an empty one if it is none."""
    try:
        document = json.loads((content or b"").decode())  # as `read_json` does: UTF-8 and nothing else
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
        if is_sound and not is_known and data_manifest.is_accepted(manifest, data):
            data_manifest.write(layout, manifest)
            taken.add(name)
    return taken


def _trainings_here(registry: Registry, layout: Layout) -> dict[str, str]:
    """The runs that are done here, by the digest of their history: no two trainings have the same."""
    experiments = [registry.experiment(key, layout) for key in registry.runs]
    done = [experiment for experiment in experiments if state.state(experiment) == "done"]
    return {read_json(experiment.files.manifest)["history_sha256"]: experiment.key for experiment in done}


def _require_own_training(candidate: _Candidate, trainings: dict[str, str]) -> None:
    """Refuses a copy of another run under the name of a further seed."""
    other = trainings.setdefault(candidate.history_sha256, candidate.run.key)
    if other != candidate.run.key:
        raise NotAccepted(f"its history is that of {other}: one training under two names")


def _candidate(registry: Registry, layout: Layout, folder: Path) -> _Candidate:
    """The run in a folder. Raises NotAccepted, with every reason that was found at once, if it is not taken over."""
    key, here, other = folder.name, layout.run(folder.name), RunFiles(folder)
    if folder.is_symlink() or not folder.is_dir():
        raise NotAccepted("it is no folder")
    manifest_content, manifest = _document(other.manifest)
    metrics_content, metrics = _document(other.metrics)
    run = _run_of(manifest, key)
    if configuration(run) not in {configuration(other) for other in registry.runs.values()}:
        raise NotAccepted("it belongs to no configuration of the registry, whatever the seed")
    facts, numbers = checked(Manifest, manifest, key), checked(Metrics, metrics, key)
    experiment = registry.experiment_of(run, layout)
    reasons = [
        *_differences(facts, fingerprints.training_parts(experiment), "training", state.trained_on(manifest)),
        *_differences(numbers, fingerprints.evaluation_parts(facts.fingerprint), "evaluation"),
    ]
    if key in registry.runs and state.state(experiment) == "done":
        is_same = read_json(here.metrics) == metrics
        others = () if is_same else ("with other results; the ones here are kept", *reasons)
        raise NotAccepted(*others, outcome="already here")
    if numbers.model_sha256 != facts.model_sha256:
        reasons.append("metrics.json was measured on another network than manifest.json names")
    files = _files(here, other, facts, numbers)
    reasons += _unlike_their_records(files)
    reasons = reasons or contradictions(experiment, other, numbers)
    if reasons:
        raise NotAccepted(*reasons)
    files[here.metrics] = other.metrics, hashlib.sha256(metrics_content).hexdigest()
    files[here.manifest] = other.manifest, hashlib.sha256(manifest_content).hexdigest()
    return _Candidate(run, facts.history_sha256, layout.training_lock(facts.fingerprint), files)


def _files(here: RunFiles, other: RunFiles, facts: Manifest, numbers: Metrics) -> dict[Path, tuple[Path, str]]:
    """The tables of a run, and its networks where they are there: figures need none of them."""
    networks = {here.model: (other.model, facts.model_sha256), here.pruned: (other.pruned, numbers.pruned_sha256)}
    tables = {here.history: (other.history, facts.history_sha256), here.blocks: (other.blocks, facts.blocks_sha256)}
    return {path: found for path, found in networks.items() if found[0].exists()} | tables


def _unlike_their_records(files: dict[Path, tuple[Path, str]]) -> list[str]:
    missing = [f"{path.name} is missing" for path, _ in files.values() if not path.is_file()]
    altered = [path.name for path, expected in files.values() if path.is_file() and sha256(path) != expected]
    return [*missing, *(f"{name} was altered" for name in altered)]


def _document(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The content of a sealed document, and what is in it."""
    content = _read(path)
    if content is None:
        raise NotAccepted(f"it is not finished: there is no {path.name}")
    document = _parsed(content)
    if not is_sealed(document):
        raise NotAccepted(f"{path.name} was altered")
    return content, document


def _run_of(manifest: dict[str, Any], key: str) -> Run:
    try:
        run = Run.model_validate(manifest["made_from"]["run"])
    except (KeyError, TypeError, ValidationError):
        raise NotAccepted("manifest.json names no run") from None
    if run.key != key:
        raise NotAccepted(f"its manifest is that of {run.key}")
    return run


def _differences(document: Manifest | Metrics, now: dict[str, Any], layer: Layer, device: str = "cpu") -> list[str]:
    """Why something was not made from what is here; nothing if its fingerprint is the present one."""
    reasons = fingerprints.reasons(document.made_from, now, layer, device)
    is_of_it = document.fingerprint == digest(document.made_from)
    return reasons or ([] if is_of_it else ["its fingerprint is not of what it says"])


def _copy(layout: Layout, key: str, candidate: _Candidate) -> None:
    """Copies the files of a run, all compared once more; without its manifest, the last one, it does not count."""
    with held_if_free(candidate.lock) as is_free:
        if not is_free:
            raise NotAccepted(f"it is being trained or imported here by {owner_of(candidate.lock)}")
        for network in (layout.run(key).model, layout.run(key).pruned):
            if network not in candidate.files:
                network.unlink(missing_ok=True)  # of a former training
        for here, (there, expected) in candidate.files.items():
            write_atomically(here, partial(_copy_file, there, expected))


def _copy_file(there: Path, expected: str, temporary: Path) -> None:
    shutil.copyfile(there, temporary)
    if sha256(temporary) != expected:
        raise NotAccepted(f"{there.name} changed while it was read; import again when nothing writes there")
