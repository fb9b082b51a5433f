"""Compares everything there is with what its manifest says: what is stale, altered, damaged or lost."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eps_resnet.data import manifest as data_manifest
from eps_resnet.evidence.figures import current
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import is_sealed, sha256
from eps_resnet.files.errors import UserError
from eps_resnet.provenance import fingerprints, lineage, state
from eps_resnet.provenance.code import Layer

TEXTS = {".csv", ".json", ".md", ".svg"}  # files that git may write with other line ends


@dataclass(frozen=True)
class Problem:
    """A file that is not what it should be, and what to do about it."""

    path: str
    problem: str
    remedy: str


@dataclass
class Verification:
    """What was found: files that are as they should be, files that are not here, and what is wrong."""

    verified: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    line_ends: list[str] = field(default_factory=list)  # files that differ from their records in CRLF for LF alone
    by_lineage: list[str] = field(default_factory=list)  # records made by other code, which the lineage leads on from

    def expect(self, path: Path, expected: str | None, remedy: str, may_be_absent: bool = False) -> None:
        """Compares a file with the SHA-256 it should have."""
        if not path.exists() and may_be_absent:
            self.absent.append(str(path))
        elif not path.exists():
            self.add(path, "is missing", remedy)
        elif sha256(path) == expected:
            self.verified.append(str(path))
        elif path.suffix in TEXTS and _with_lf(path) == expected:
            self.line_ends.append(str(path))
        else:
            self.add(path, "was altered: it has not the SHA-256 that is on record", remedy)

    def add(self, path: Path, problem: str, remedy: str) -> None:
        """Adds a problem."""
        self.problems.append(Problem(str(path), problem, remedy))


def _with_lf(path: Path) -> str:
    """The SHA-256 that a file would have if its lines ended in LF instead of CRLF."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def verify(registry: Registry, layout: Layout) -> Verification:
    """Reads every stored data set, result and table of the registry, and compares it with its record."""
    found = Verification()
    try:
        lineage.entries()
    except UserError as error:  # what is current hangs on it: nothing else can be said
        found.add(lineage.LINEAGE, "is not as it was written, so nothing else was looked at", str(error))
        return found
    for name in registry.datasets:
        _verify_data(found, registry, layout, name)
    for key in registry.runs:
        if layout.run(key).folder.exists():
            _verify_training(found, registry.experiment(key, layout))
            _verify_evaluation(found, registry.experiment(key, layout))
    for path in layout.result_folders():
        if path.name not in registry.runs:
            found.add(path, "belongs to no run of the registry", "add the run to the registry, or move the folder away")
    for name in registry.figures:
        if layout.tables(name).exists():
            _verify_figure(found, registry, layout, name)
    return found


def _verify_data(found: Verification, registry: Registry, layout: Layout, name: str) -> None:
    path, remedy = layout.data_manifest(name), f"`eps-resnet fetch {name}`"
    manifest = data_manifest.read(layout, name)
    if manifest is None:
        for there in (path, layout.store(name)):
            if there.exists():
                found.add(there, "is damaged or without its manifest", f"delete it, then {remedy}")
    elif not state.is_fetched(layout, name, registry.datasets[name]):
        found.add(path, "names a copy that the registry does not accept", remedy)
    else:
        found.verified.append(str(path))
        found.expect(layout.store(name), manifest.sha256, f"delete it, then `dvc checkout` or {remedy}", True)


def _verify_training(found: Verification, experiment: Experiment) -> None:
    key, files = experiment.key, experiment.files
    path = files.manifest
    manifest = _sealed(found, path, f"`git checkout` it, or train anew: `eps-resnet train {key}`")
    if manifest is None:
        return
    now = fingerprints.training_parts(experiment)
    _compare(found, path, manifest, now, "training", f"`eps-resnet why {key}` says what would be redone")
    remedy = "`git checkout` it, or delete manifest.json and train anew"
    found.expect(files.history, manifest.get("history_sha256"), remedy)
    found.expect(files.blocks, manifest.get("blocks_sha256"), remedy)
    remedy = "delete it; `dvc checkout` brings it back if DVC has it, else it is trained anew where it is needed"
    found.expect(files.model, manifest.get("model_sha256"), remedy, may_be_absent=True)


def _verify_evaluation(found: Verification, experiment: Experiment) -> None:
    key, files = experiment.key, experiment.files
    path = files.metrics
    remedy = f"`git checkout` it, or `eps-resnet evaluate {key}`"
    if not path.exists():
        found.absent.append(str(path))
        return
    metrics = _sealed(found, path, remedy)
    if metrics is None:
        return
    now = fingerprints.evaluation_parts(fingerprints.trained_fingerprint(experiment))
    _compare(found, path, metrics, now, "evaluation", remedy)
    if metrics.get("model_sha256") != (read_json(files.manifest) or {}).get("model_sha256"):
        found.add(path, "was measured on another network than manifest.json names", remedy)
    remedy = f"`git checkout` it if git has it, or delete it, then `eps-resnet prune {key}`"
    found.expect(files.pruned, metrics.get("pruned_sha256"), remedy, may_be_absent=True)


def _verify_figure(found: Verification, registry: Registry, layout: Layout, name: str) -> None:
    path, remedy = layout.table_manifest(name), f"`eps-resnet table {name}` and `eps-resnet draw {name}`"
    manifest = _sealed(found, path, remedy)
    if manifest is None:
        return
    if not found.line_ends:  # with them every table is of other bytes than it was made from
        _compare(found, path, manifest, current.table_parts(registry, layout, name), "tables", remedy)
    digests = manifest.get("files", {})
    for file in layout.figure_files(name):
        found.expect(file, digests.get(file.name), remedy)


def _sealed(found: Verification, path: Path, remedy: str) -> dict[str, Any] | None:
    """A sealed document, or None where it is missing or altered, which is a problem."""
    document = read_json(path)
    if not is_sealed(document):
        found.add(path, "was altered or is damaged" if path.exists() else "is missing", remedy)
        return None
    found.verified.append(str(path))
    return document  # type: ignore[no-any-return]


def _compare(
    found: Verification, path: Path, document: dict[str, Any], now: dict[str, Any], layer: Layer, remedy: str
) -> None:
    made_from: Any = document.get("made_from")
    if reasons := fingerprints.reasons(made_from, now, layer, state.trained_on(document)):
        found.add(path, "is stale: " + "; ".join(reasons), remedy)
    elif made_from["code"] != now["code"]:
        found.by_lineage.append(str(path))
