"""Takes finished runs over from another clone or a cluster's folder, each once, if they were made from what is here.

A run counts if training and evaluation have the fingerprints that this project would give them: same recipe, code,
images. Which machine made it, its manifest says.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from eps_resnet import provenance
from eps_resnet.data import manifest as data_manifest
from eps_resnet.errors import UserError
from eps_resnet.files import is_sealed, read_json, sha256, write_atomically
from eps_resnet.further_runs import add_runs, configuration
from eps_resnet.layout import Layout
from eps_resnet.registry import Registry, Run, load
from eps_resnet.simulation import MARK

LARGEST_DOCUMENT = 2**20  # bytes of a manifest or of metrics; a real one has 3,000

Outcome = Literal["imported", "already here", "refused"]


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
    files: dict[Path, tuple[Path, str | None]]  # here: there, SHA-256; the manifest last


def import_results(registry_file: Path, layout: Layout, source: Path) -> list[Imported]:
    """Takes over every finished run below `source` (a project's folder) and says what became of each.

    Further seeds of what the registry has are added to its file. Raises UserError if there are no results, or
    if the registry's file cannot be added to: then nothing is taken over.
    """
    registry, there = load(registry_file), Layout(source)
    folders = sorted(there.result("").iterdir()) if there.result("").is_dir() else []
    if not folders or source.resolve() == layout.root.resolve():
        raise UserError(f"{source} is no other project with results: expected {there.result('')}/RUN/manifest.json.")
    _take_over_data(registry, layout, there)
    outcomes: dict[str, Imported] = {}
    candidates: dict[str, _Candidate] = {}
    for folder in folders:
        try:
            candidates[folder.name] = _candidate(registry, layout, there, folder)
        except _NotAccepted as refusal:
            outcomes[folder.name] = Imported(folder.name, refusal.outcome, refusal.reasons)
    further = [candidate.run for key, candidate in candidates.items() if key not in registry.runs]
    if further:
        add_runs(registry_file, further)
    for key, candidate in candidates.items():
        outcomes[key] = _copied(key, candidate)
    return [outcomes[folder.name] for folder in folders]


class _NotAccepted(Exception):  # noqa: N818  # no error: the other runs go on
    def __init__(self, outcome: Outcome, *reasons: str) -> None:
        super().__init__(reasons)
        self.outcome, self.reasons = outcome, reasons


def _take_over_data(registry: Registry, layout: Layout, there: Layout) -> None:
    """Takes over which copy of a data set the others had, where nothing of it is here: fingerprints are about it."""
    for name, data in registry.datasets.items():
        manifest = data_manifest.read(there, name)
        is_unknown = not layout.data_manifest(name).exists() and not layout.store(name).exists()
        if manifest and is_unknown and data_manifest.is_accepted(manifest, data) and not registry.simulated:
            data_manifest.write(layout, manifest)


def _candidate(registry: Registry, layout: Layout, there: Layout, folder: Path) -> _Candidate:
    """The run in a folder. Raises _NotAccepted, with every reason that was found at once, if it is not taken over."""
    key = folder.name
    if folder.is_symlink() or not folder.is_dir():
        raise _NotAccepted("refused", "it is no folder")
    manifest, metrics = _document(there.manifest(key)), _document(there.metrics(key))
    if MARK in manifest or MARK in metrics:
        raise _NotAccepted("refused", "it is simulated: its numbers are invented")
    run = _run_of(manifest, key)
    if key in registry.runs and provenance.state(registry, layout, key) == "done":
        is_same = read_json(layout.metrics(key)) == metrics
        raise _NotAccepted("already here", *(() if is_same else ("with other results; the ones here are kept",)))
    known = {configuration(other) for other in registry.runs.values()}
    if configuration(run) not in known:
        raise _NotAccepted("refused", "it belongs to no configuration of the registry, whatever the seed")
    ours = registry.model_copy(update={"runs": {**registry.runs, key: run}})
    reasons = [
        *provenance.reasons(manifest.get("made_from"), provenance.training_parts(ours, layout, key)),
        *provenance.reasons(metrics.get("made_from"), provenance.evaluation_parts(ours, layout, key)),
    ]
    if metrics.get("model_sha256") != manifest.get("model_sha256"):
        reasons.append("metrics.json was measured on another network than manifest.json names")
    expected = {
        layout.model(key): (there.model(key), manifest.get("model_sha256")),
        layout.pruned(key): (there.pruned(key), metrics.get("pruned_sha256")),
        layout.history(key): (there.history(key), manifest.get("history_sha256")),
        layout.blocks(key): (there.blocks(key), manifest.get("blocks_sha256")),
        layout.metrics(key): (there.metrics(key), sha256(there.metrics(key))),
        layout.manifest(key): (there.manifest(key), sha256(there.manifest(key))),
    }
    networks = (layout.model(key), layout.pruned(key))  # which may be absent
    files = {here: other for here, other in expected.items() if here not in networks or other[0].exists()}
    for path, digest in files.values():
        if path.is_symlink() or not path.is_file():
            reasons.append(f"{path.name} is missing")
        elif sha256(path) != digest:
            reasons.append(f"{path.name} was altered")
    if reasons:
        raise _NotAccepted("refused", *reasons)
    return _Candidate(run, files)


def _document(path: Path) -> dict[str, Any]:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_DOCUMENT:
        raise _NotAccepted("refused", f"it is not finished: there is no {path.name}")
    try:
        document = read_json(path)
    except RecursionError:
        document = None
    if not is_sealed(document):
        raise _NotAccepted("refused", f"{path.name} was altered")
    return document  # type: ignore[no-any-return]


def _run_of(manifest: dict[str, Any], key: str) -> Run:
    try:
        run = Run.model_validate(manifest["made_from"]["run"])
    except (KeyError, TypeError, ValidationError):
        raise _NotAccepted("refused", "manifest.json names no run") from None
    if run.key != key:
        raise _NotAccepted("refused", f"its manifest is that of {run.key}")
    return run


def _copied(key: str, candidate: _Candidate) -> Imported:
    """Copies the files of a run, all compared once more; without its manifest, the last one, it does not count."""
    for here, (there, digest) in candidate.files.items():

        def copy(temporary: Path, there: Path = there, digest: str | None = digest) -> None:
            shutil.copyfile(there, temporary)
            if sha256(temporary) != digest:
                raise UserError(f"{there} changed while it was read; import again when nothing writes there.")

        write_atomically(here, copy)
    return Imported(key, "imported")
